"""Lists dead letters, and sends the original records again.

A dead letter holds the position of its record, not the content. As long as the log keeps the record it can be sent
again, for example when a new version reads what the old one refused.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer, TopicPartition
from leeboard.pipelines.kafka.clients import OPERATOR_SEND_S, python_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.schemas import Refused, Reject, decode_result

from .reading import TopicUnreadable, read_span, read_topic


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter, and when it was written (epoch ms)."""

    reject: Reject
    time_ms: int


@dataclass(slots=True)
class ReplayedDeadLetters:
    """What `replay_dead_letters` did: positions sent again, and why others were not."""

    sent: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def list_dead_letters(
    consumer: Any, settings: KafkaSettings, reasons: Sequence[str], since_ms: int
) -> Iterator[StoredDeadLetter]:
    """Dead letters with one of these reasons (any, if there are none), oldest first within a partition."""
    for record in read_topic(consumer, settings.topics.dead_letters):
        try:
            found = decode_result(record.value or b"")
        except Refused:
            continue
        if isinstance(found, Reject) and record.timestamp >= since_ms and (not reasons or found.reason in reasons):
            yield StoredDeadLetter(found, record.timestamp)


def replay_dead_letters(
    consumer: Any, settings: KafkaSettings, chosen: Sequence[StoredDeadLetter], *, dry_run: bool
) -> ReplayedDeadLetters:
    """Send the original records again, to the topics where they stood. Raises kafka.errors.KafkaError."""
    done = ReplayedDeadLetters()
    producer = None if dry_run else KafkaProducer(**python_client(settings), acks="all")
    sources = {*settings.topics.raw, settings.topics.control}
    try:
        for letter in chosen:
            position = letter.reject.position
            if position in done.sent:
                continue
            topic, partition, offset = split_position(position)
            if topic not in sources:
                done.left[position] = "not from a raw or control topic: rebuilding its scope takes it again"
                continue
            record = _original(consumer, topic, partition, offset)
            if record is None or hashlib.sha256(record.value or b"").hexdigest() != letter.reject.sha256:
                done.left[position] = "the record is gone from its topic"
                continue
            if producer is not None:
                producer.send(topic, record.value, record.key, headers=record.headers).get(OPERATOR_SEND_S)
            done.sent.append(position)
    finally:
        if producer is not None:
            producer.close()
    return done


def split_position(position: str) -> tuple[str, int, int]:
    """Topic, partition and offset of a position; an empty topic if it is no position."""
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
