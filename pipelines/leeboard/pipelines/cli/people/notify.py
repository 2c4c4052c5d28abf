"""`leeboard notify`: pages and notices to pagers and chats."""

import logging
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
from leeboard.pipelines.cli.common import (
    EXIT_FINDING,
    EXIT_NOT_MEASURED,
    config_option,
    console,
    errors,
    fail,
    json_option,
    print_json,
    read_config,
)
from leeboard.pipelines.cli.kafka.broker import explained, reading
from leeboard.pipelines.config import Config
from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics, StatusServer
from leeboard.pipelines.notify.delivery.rehearsal import Rehearsal, RehearsedMessage
from leeboard.pipelines.notify.kafka.service import open_feed
from leeboard.pipelines.notify.kafka.tail import onward
from leeboard.pipelines.notify.messages.message import read_message
from leeboard.pipelines.notify.messages.own import own_message
from leeboard.pipelines.notify.settings import SecretError, secrets_of
from leeboard.pipelines.notify.sinks import MessageSink, Outcome, make_sink
from leeboard.schemas import Refused
from rich.text import Text

from .alerts import until_stopped
from .incidents import show_message


@click.command()
@config_option
@click.option("--rehearse", is_flag=True, help="Print what would be sent, from the oldest page on; send nothing.")
@click.option(
    "--test", "test", is_flag=True, help="Send a marked test, and its end, through every sink; no Kafka needed."
)
@json_option
def notify(config_path: Path | None, rehearse: bool, test: bool, as_json: bool) -> None:
    """Feed pagers and chats from the topics `pages` and `alerts`, until SIGTERM or Ctrl-C.

    Exit codes: 0 stopped in order, or every sink took the test; 1 a sink refused the test; 2 configuration, a secret is
    missing, or Kafka cannot be used; 3 the test could not be delivered to a sink.
    """
    if rehearse and test:
        fail("--rehearse sends nothing, --test does: give one of them")
    config = read_config(config_path)
    if rehearse:
        run_rehearsal(config, as_json=as_json)
    elif test:
        run_test(config, as_json=as_json)
    elif as_json:
        fail("--json belongs to --rehearse and --test")
    else:
        run_notify(config)


def sinks_of(config: Config) -> dict[str, MessageSink]:
    """The sinks with their secrets; ends with the path of what is missing."""
    if not config.notify.sinks:
        fail("notify.sinks: there is none; docs/NOTIFY.md shows some. `leeboard notify --rehearse` prints without any")
    try:
        secrets = secrets_of(config.notify.sinks)
    except SecretError as error:
        fail(str(error))
    sinks = {}
    for name, settings in config.notify.sinks.items():
        try:
            sinks[name] = make_sink(settings, secrets[name])
        except ValueError:  # its text may show the secret
            secret = settings.needs.field if settings.needs else ""
            fail(f"notify.sinks.{name}.{secret}: not of the form that {secret} has")
    return sinks


def run_notify(config: Config) -> None:
    """Normal operation."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("leeboard").setLevel(logging.INFO)
    sinks = sinks_of(config)
    metrics = NotifyMetrics(sinks)
    with ExitStack() as stack:
        stack.enter_context(explained(config.kafka))
        stop = stack.enter_context(until_stopped())
        feed = open_feed(config, sinks, metrics)
        host, port = config.notify.http_host, config.notify.http_port
        if port:
            try:
                status = StatusServer(host, port, metrics.registry, feed.live, feed.ready)
            except OSError as error:
                fail(f"notify.http_port: {host}:{port}: {error.strerror}")
            stack.callback(status.close)
        feed.run(stop)


def run_rehearsal(config: Config, *, as_json: bool) -> None:
    """Print what would be sent, history first, then what comes."""
    rehearsal = Rehearsal(config.notify)
    topics = [config.kafka.topics.pages, config.kafka.topics.alerts]
    try:
        with reading(config.kafka) as consumer, until_stopped() as stop:
            for record in onward(consumer, topics, stop, since_ms=0):
                try:
                    message = read_message(record.value)
                except Refused as refused:
                    where = f"{record.topic}/{record.partition}/{record.offset}"
                    errors.print(f"{where} would be a dead letter: {refused}", markup=False, soft_wrap=True)
                    continue
                show_rehearsed(rehearsal.add(message), config, as_json=as_json)
                sys.stdout.flush()
    except BrokenPipeError:  # the reader has had enough
        sys.stderr.close()


def show_rehearsed(rehearsed: RehearsedMessage, config: Config, *, as_json: bool) -> None:
    """Print what each sink would be sent; without sinks, pages and notices as a person reads them."""
    sinks = config.notify.sinks
    if as_json:
        bodies = rehearsed.bodies if sinks else [(None, rehearsed.message.record)]
        for name, body in bodies:
            sys.stdout.buffer.write(msgspec.json.encode({"sink": name, "body": body}) + b"\n")
        return
    if not sinks:
        show_message(rehearsed.message)
    for name, body in rehearsed.bodies:
        kind = msgspec.to_builtins(sinks[name])["type"]
        console.print(Text(f"to {name} ({kind})", style="bold"))
        console.print(Text(msgspec.json.format(msgspec.json.encode(body)).decode()), soft_wrap=True)


def run_test(config: Config, *, as_json: bool) -> None:
    """One marked trigger and its end through every sink."""
    results = {name: trial(sink, config.kafka.app_id) for name, sink in sinks_of(config).items()}
    if as_json:
        print_json(results)
    else:
        for name, outcome in results.items():
            took = outcome.result == "delivered"
            console.print(
                f"{name}: {'took the test' if took else outcome.reason}",
                style=None if took else "bold red",
                markup=False,
            )
    failed = [outcome for outcome in results.values() if outcome.result != "delivered"]
    if any(outcome.answered for outcome in failed):
        sys.exit(EXIT_FINDING)
    sys.exit(EXIT_NOT_MEASURED if failed else 0)


def trial(sink: MessageSink, app_id: str) -> Outcome:
    """A test and its end at one sink; the first failure counts. The end is sent in any case."""
    now_ms = time.time_ns() // 1_000_000
    began = sink.deliver(own_message("test", "trigger", app_id, now_ms))
    ended = sink.deliver(own_message("test", "resolve", app_id, now_ms))
    sink.close()
    return ended if began.result == "delivered" else began
