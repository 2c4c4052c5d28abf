"""`longshore alerts tail`: the alerts of the fleet, for a person or a pipe."""

import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import click
from longshore.pipelines.notify.brokers import BrokerProblem
from longshore.pipelines.notify.message import Message
from longshore.pipelines.notify.rehearsal import follow, read_message
from longshore.schemas import Severity, encode, scope_parts

from .common import config_option, errors, fail, json_option, log_to_stderr, read_config
from .incidents import show

SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Since(click.ParamType):
    """A span back from now (90m, 12h, 3d), or a moment (RFC 3339, UTC where it names no zone)."""

    name = "since"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Epoch milliseconds."""
        span = SPAN.fullmatch(value)
        now_ms = time.time_ns() // 1_000_000
        if span:
            return max(now_ms - int(float(span[1]) * SECONDS[span[2]] * 1000), 0)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a span (90m, 12h, 3d) nor a time (2026-01-05T09:30:00Z)", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(int(moment.timestamp() * 1000), 0)


@click.group()
def alerts() -> None:
    """Alerts of the fleet."""


@alerts.command()
@config_option
@click.option("--follow", "-f", "onward", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", type=Since(), default="1d", show_default=True, help="A span (90m, 12h, 3d) or a time.")
@click.option("--app", "apps", multiple=True, metavar="PATTERN", help="Only these applications; repeat.")
@click.option("--severity", "severities", multiple=True, type=click.Choice(get_args(Severity)), help="Repeat.")
@json_option
def tail(
    config_path: Path | None,
    onward: bool,
    since: int,
    apps: tuple[str, ...],
    severities: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the alerts of the topic `alerts`: notices, and what led to pages. --json: one record a line.

    Exit codes: 0 fine, 2 configuration, or Kafka cannot be used.
    """
    config = read_config(config_path)
    log_to_stderr()
    refused = 0
    try:
        with until_stopped() as stop:
            topics = [config.kafka.topics.alerts]
            for record in follow(config, topics, stop, since_ms=since, to_end=not onward):
                message = read_message(record.value)
                if message is None:
                    refused += 1
                elif wanted(message, apps, severities):
                    tell(message, as_json=as_json)
    except BrokerProblem as error:
        fail(str(error))
    except BrokenPipeError:  # the reader has had enough: `longshore alerts tail | head`
        sys.stderr.close()
    if refused:
        errors.print(f"{refused:,} records of the topic are no alerts")


def wanted(message: Message, apps: tuple[str, ...], severities: tuple[str, ...]) -> bool:
    """Does a message pass the options?"""
    try:
        app = scope_parts(message.alert.scope)[1]
    except ValueError:
        app = message.alert.scope
    return (not severities or message.alert.severity in severities) and (
        not apps or any(fnmatchcase(app, pattern) for pattern in apps)
    )


def tell(message: Message, *, as_json: bool) -> None:
    """Print at once: somebody may be following."""
    if as_json:
        sys.stdout.buffer.write(encode(message.record) + b"\n")
    else:
        show(message)
    sys.stdout.flush()


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
