"""Reads whole topics with kafka-python: for commands and other readers without a group, not for workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.settings import KafkaSettings

SCAN_RECORDS = 5000
#: one poll. At the end of a topic that is written in transactions each partition costs one poll without records: their
#: markers move the position, but do not end the poll
SCAN_POLL_MS = 100
#: a broker that delivers nothing for so long, although the log holds more, is gone
SCAN_TIMEOUT_MS = 30_000


class TopicUnreadable(Exception):
    """The topic is missing, or stopped answering."""


@contextmanager
def consumer_of(settings: KafkaSettings) -> Iterator[Any]:
    """A consumer without a group that reads committed records. Raises kafka.errors.KafkaError, ClientError."""
    consumer = KafkaConsumer(
        **python_client(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_poll_records=SCAN_RECORDS,
    )
    try:
        yield consumer
    finally:
        consumer.close()


def partitions_of(consumer: Any, topic: str) -> list[Any]:
    """The partitions of a topic. Raises TopicUnreadable."""
    found = consumer.partitions_for_topic(topic)
    if not found:
        raise TopicUnreadable(f"topic {topic} does not exist, or may not be read")
    return [TopicPartition(topic, partition) for partition in sorted(found)]


def read_span(consumer: Any, tp: Any, first: int, end: int) -> Iterator[Any]:
    """Records of one partition from offset `first` up to and without `end`. Raises TopicUnreadable."""
    consumer.assign([tp])
    consumer.seek(tp, first)
    silent_ms = 0
    while (at := consumer.position(tp)) < end:
        batch = consumer.poll(SCAN_POLL_MS).get(tp, [])
        silent_ms = silent_ms + SCAN_POLL_MS if consumer.position(tp) == at else 0
        if silent_ms >= SCAN_TIMEOUT_MS:
            raise TopicUnreadable(f"{tp.topic}/{tp.partition}: nothing came for {SCAN_TIMEOUT_MS // 1000} s")
        yield from (record for record in batch if record.offset < end)


def read_topic(consumer: Any, topic: str) -> Iterator[Any]:
    """All records of a topic as it is now, partition by partition. Raises TopicUnreadable."""
    partitions = partitions_of(consumer, topic)
    begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for tp in partitions:
        yield from read_span(consumer, tp, begins[tp], ends[tp])
