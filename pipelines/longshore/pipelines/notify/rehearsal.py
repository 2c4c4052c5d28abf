"""What would be sent, without sending: the same fold over the same topics, with sinks that only compose."""

import threading
from collections.abc import Iterator
from typing import Any

from kafka import TopicPartition
from longshore.schemas import Alert, Page, Refused, decode_result
from msgspec import Struct

from ..config import Config
from .brokers import ASK_MS, open_consumer, partitions_of
from .message import Message, message_of
from .router import Router
from .settings import NotifySettings
from .sinks import Sink, make_sink
from .withhold import withhold

POLL_MS = 200


class Rehearsed(Struct):
    """A message, and what each sink would be sent; with no sink at all the message stands for itself."""

    message: Message
    bodies: list[tuple[str, Any]]


class Rehearsal:
    """Folds messages as `notify` would."""

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._router = Router(settings)
        self._sinks: dict[str, Sink] = {name: make_sink(sink, None) for name, sink in settings.sinks.items()}

    def take(self, message: Message) -> Rehearsed:
        """The next message."""
        names = self._router.route(message)
        message = withhold(message, self._settings.withhold)
        bodies = []
        for name in names:
            bodies.append((name, self._sinks[name].compose(message)))
            self._sinks[name].recall(message)
        return Rehearsed(message, bodies)


def follow(
    config: Config, topics: list[str], stop: threading.Event, *, since_ms: int | None = None, to_end: bool = False
) -> Iterator[Any]:
    """Records of topics as they stand in them, without a group: nothing is committed, nobody is disturbed.

    From the oldest, or from `since_ms`; until `stop` is set, or with `to_end` what was there at the beginning.
    Raises BrokerProblem.
    """
    consumer = open_consumer(config.kafka)
    try:
        partitions = [p for found in partitions_of(consumer, topics).values() for p in found]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions, timeout_ms=ASK_MS)
        for partition, offset in _starts(consumer, partitions, since_ms, ends).items():
            consumer.seek(partition, offset)
        while not stop.is_set():
            batches = consumer.poll(timeout_ms=POLL_MS)
            records = [record for batch in batches.values() for record in batch]
            for record in sorted(records, key=lambda record: (record.timestamp, record.topic, record.offset)):
                if not to_end or record.offset < ends[TopicPartition(record.topic, record.partition)]:
                    yield record
            if to_end and all((consumer.position(partition) or 0) >= ends[partition] for partition in partitions):
                return
    finally:
        consumer.close(autocommit=False, timeout_ms=1000)


def _starts(
    consumer: Any, partitions: list[TopicPartition], since_ms: int | None, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    if since_ms is None:
        first: dict[TopicPartition, int] = consumer.beginning_offsets(partitions, timeout_ms=ASK_MS)
        return first
    found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms), timeout_ms=ASK_MS)
    return {p: ends[p] if found[p] is None else found[p].offset for p in partitions}


def read_message(value: bytes | None) -> Message | None:
    """The message of a record; None where it is neither a page nor an alert."""
    try:
        found = decode_result(value or b"")
    except Refused:
        return None
    return message_of(found) if isinstance(found, Page | Alert) else None
