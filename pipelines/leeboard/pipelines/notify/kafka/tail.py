"""Pages and alerts as they stand in their topics, for people: without a group, so nothing is committed."""

import threading
from collections.abc import Iterator
from typing import Any

from kafka import TopicPartition
from leeboard.pipelines.kafka.operate.reading import partitions_of, read_span

TAIL_POLL_MS = 200


def past(consumer: Any, topic: str, since_ms: int) -> Iterator[Any]:
    """Records since a time (epoch ms) up to what is there now. Raises TopicUnreadable, kafka.errors.KafkaError."""
    partitions = partitions_of(consumer, topic)
    ends = consumer.end_offsets(partitions)
    for partition, first in _starts(consumer, partitions, since_ms).items():
        yield from read_span(consumer, partition, first, ends[partition])


def onward(consumer: Any, topics: list[str], stop: threading.Event, since_ms: int) -> Iterator[Any]:
    """Records since a time (epoch ms), and those that come until `stop` is set. Raises as `past` does."""
    partitions = [partition for topic in topics for partition in partitions_of(consumer, topic)]
    starts = _starts(consumer, partitions, since_ms)
    consumer.assign(partitions)
    for partition, first in starts.items():
        consumer.seek(partition, first)
    while not stop.is_set():
        records = [record for batch in consumer.poll(TAIL_POLL_MS).values() for record in batch]
        yield from sorted(records, key=lambda record: (record.timestamp, record.topic, record.offset))


def _starts(consumer: Any, partitions: list[TopicPartition], since_ms: int) -> dict[TopicPartition, int]:
    """The first offsets that are not older; the ends where all are."""
    ends = consumer.end_offsets(partitions)
    found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    return {p: ends[p] if found[p] is None else found[p].offset for p in partitions}
