"""`leeboard alerts tail`: the alerts of the fleet, for a person or a pipe."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import get_args

import click
from leeboard.pipelines.cli.common import (
    config_option,
    errors,
    fail,
    json_option,
    read_config,
)
from leeboard.pipelines.cli.kafka.broker import reading
from leeboard.pipelines.cli.times import parse_time
from leeboard.pipelines.notify.kafka.tail import onward, past
from leeboard.pipelines.notify.messages.message import Message, read_message
from leeboard.schemas import Refused, Severity, encode, scope_parts

from .incidents import show_message


@click.group()
def alerts() -> None:
    """Alerts of the fleet."""


@alerts.command()
@config_option
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="TIME", default="1d", show_default=True, help="RFC 3339, or a number of days: 7d.")
@click.option("--app", "apps", multiple=True, metavar="PATTERN", help="Only these applications; may be repeated.")
@click.option("--severity", "severities", multiple=True, type=click.Choice(get_args(Severity)), help="The same.")
@json_option
def tail(
    config_path: Path | None,
    follow: bool,
    since: str,
    apps: tuple[str, ...],
    severities: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the alerts of the topic `alerts`: notices, and what led to pages. --json: one record a line.

    Exit codes: 0 fine, 2 configuration, or Kafka cannot be used.
    """
    kafka = read_config(config_path).kafka
    try:
        since_ms = max(parse_time(since), 0)
    except ValueError:
        fail(f"--since: {since!r} is neither a time (RFC 3339) nor a number of days such as 7d")
    refused = 0
    try:
        with reading(kafka) as consumer, until_stopped() as stop:
            topic = kafka.topics.alerts
            records = onward(consumer, [topic], stop, since_ms) if follow else past(consumer, topic, since_ms)
            for record in records:
                try:
                    message = read_message(record.value)
                except Refused:
                    refused += 1
                    continue
                if wanted(message, apps, severities):
                    print_message(message, as_json=as_json)
    except BrokenPipeError:  # the reader has had enough: `leeboard alerts tail | head`
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


def print_message(message: Message, *, as_json: bool) -> None:
    """Print at once: somebody may be following."""
    if as_json:
        sys.stdout.buffer.write(encode(message.record) + b"\n")
    else:
        show_message(message)
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
