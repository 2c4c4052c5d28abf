"""`leeboard produce`: records of files to Kafka."""

import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click
from leeboard.pipelines.cli.common import (
    EXIT_NOT_MEASURED,
    config_option,
    console,
    errors,
    fail,
    json_option,
    print_json,
    read_config,
)
from leeboard.pipelines.cli.reading import records_of
from leeboard.pipelines.producer.feed import FeedError, RecordFeed
from leeboard.schemas import ModelCall, Record, Reject


@dataclass
class Sent:
    """What became of the records."""

    topic: str
    sent: int = 0
    #: refused by the broker (too large for its topic)
    failed: int = 0
    #: reason -> lines that are no such record
    refused: Counter[str] = field(default_factory=Counter)
    first: Reject | None = None


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@config_option
@click.option("--control", is_flag=True, help="Send control records (deploy/1, accept/1 ...) to their own topic.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Records a second at most.")
@json_option
def produce(files: tuple[str, ...], config_path: Path | None, control: bool, rate: float | None, as_json: bool) -> None:
    """Send calls to the first raw topic: JSONL, gzipped or not; - is standard input.

    Keyed by scope, each once, in their order; waits where the broker is slow. With --control: control records, to the
    control topic. What cannot be read is refused and counted. Exit code 2: no broker or no such topic; 3: nothing could
    be sent.
    """
    config = read_config(config_path)
    # what matters of it comes as an error of ours
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    topic = config.kafka.topics.control if control else config.kafka.topics.raw[0]
    result = Sent(topic)
    try:
        feed = RecordFeed(config.kafka, topic)
        send(feed, files, control, rate, result)
        stats = feed.finish()
    except FeedError as error:
        fail(str(error))
    result.sent, result.failed = stats.delivered, stats.failed
    if as_json:
        print_json({"topic": topic, "sent": result.sent, "failed": result.failed, "refused": dict(result.refused)})
    else:
        console.print(f"sent {result.sent:,} records to {topic}")
    warn_unsent(result)
    if result.sent == 0:
        sys.exit(EXIT_NOT_MEASURED)


def send(feed: RecordFeed, files: tuple[str, ...], control: bool, rate: float | None, result: Sent) -> None:
    """Send what is to be sent, and count what is not."""
    started = time.monotonic()
    handed = 0
    with records_of(files, "produce", allow_controls=control) as records:
        for record in records:
            if isinstance(record, Reject):
                result.refused[record.reason] += 1
                result.first = result.first or record
            elif control and isinstance(record, ModelCall):
                result.refused["not_a_control"] += 1
            else:
                handed += 1
                send_in_time(feed, record, started + handed / rate if rate else 0.0)


def send_in_time(feed: RecordFeed, record: Record, due: float) -> None:
    """Send a record when it is due."""
    if (early := due - time.monotonic()) > 0:
        time.sleep(early)
    feed.send(record)


def warn_unsent(result: Sent) -> None:
    """Say what was left out, and why."""
    if result.refused:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(result.refused.items()))
        first = f" (first: {result.first.position}: {result.first.detail})" if result.first else ""
        errors.print(f"refused {sum(result.refused.values()):,} records: {listed}{first}", markup=False, soft_wrap=True)
    if result.failed:
        errors.print(f"the broker refused {result.failed:,} records (max.message.bytes of {result.topic}?)")
