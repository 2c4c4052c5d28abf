"""Dead letters: listing them, and giving the original records another chance.

A letter holds no content, but says where its record stood; as long as the log keeps that record, it can be sent again,
for example when a new version reads what the old one refused.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer, TopicPartition
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.schemas import Refused, Reject, decode_result

from .reading import TopicUnreadable, read_span, read_topic

SEND_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and when it was written (epoch ms)."""

    reject: Reject
    time_ms: int


@dataclass(slots=True)
class Replayed:
    """What `replay` did: positions sent again, and why others were not."""

    sent: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def letters(consumer: Any, settings: KafkaSettings, reasons: Sequence[str], since_ms: int) -> Iterator[Letter]:
    """Dead letters with one of these reasons (any, if there are none), oldest first within a partition."""
    for record in read_topic(consumer, settings.topics.dead_letters):
        try:
            found = decode_result(record.value or b"")
        except Refused:
            continue
        if isinstance(found, Reject) and record.timestamp >= since_ms and (not reasons or found.reason in reasons):
            yield Letter(found, record.timestamp)


def replay(consumer: Any, settings: KafkaSettings, chosen: Sequence[Letter], *, dry_run: bool) -> Replayed:
    """Send the original records again, to the topics where they stood. Raises kafka.errors.KafkaError."""
    done = Replayed()
    producer = None if dry_run else KafkaProducer(**python_client(settings), acks="all")
    sources = {*settings.topics.raw, settings.topics.control}
    try:
        for letter in chosen:
            position = letter.reject.position
            if position in done.sent:
                continue
            topic, partition, offset = split(position)
            if topic not in sources:
                done.left[position] = "not from a raw or control topic: rebuilding its scope takes it again"
                continue
            record = _original(consumer, topic, partition, offset)
            if record is None or hashlib.sha256(record.value or b"").hexdigest() != letter.reject.sha256:
                done.left[position] = "the record is gone from its topic"
                continue
            if producer is not None:
                producer.send(topic, record.value, record.key, headers=record.headers).get(SEND_TIMEOUT_S)
            done.sent.append(position)
    finally:
        if producer is not None:
            producer.close()
    return done


def split(position: str) -> tuple[str, int, int]:
    """Topic, partition and offset of a position; an empty topic where it is none."""
    try:
        topic, partition, offset = position.rsplit("/", 2)
        return topic, int(partition), int(offset)
    except ValueError:
        return "", 0, 0


def _original(consumer: Any, topic: str, partition: int, offset: int) -> Any:
    tp = TopicPartition(topic, partition)
    try:
        begin, end = consumer.beginning_offsets([tp])[tp], consumer.end_offsets([tp])[tp]
        if not begin <= offset < end:
            return None
        return next((r for r in read_span(consumer, tp, offset, offset + 1) if r.offset == offset), None)
    except TopicUnreadable:
        return None
