"""What was sent before this process began: read back from the topics, for there are no local files."""

import time
from collections.abc import Iterator
from typing import Any

from kafka import TopicPartition
from leeboard.pipelines.kafka.operate.reading import read_span
from leeboard.pipelines.units import DAY_MS

#: where a group that never ran begins in `alerts`, for chats: a day of notices; in `pages` it begins with the oldest
FIRST_NOTICES_MS = DAY_MS


class RecordHistory:
    """The records before an offset, with a client of its own."""

    def __init__(self, consumer: Any, pages_topic: str, accept_days: float) -> None:
        self._consumer = consumer
        self._pages_topic = pages_topic
        #: an incident ends after accept_days at the latest, in its own time; older alerts are about others
        self._notices_ms = int((accept_days + 1.0) * DAY_MS)

    def span(self, partition: TopicPartition, committed: int | None) -> tuple[int, int]:
        """Where to read back from, and where to go on. Raises kafka.errors.KafkaError.

        Pages are read back from the oldest: they are few. Alerts from so far back as an incident can be open.
        """
        first = self._consumer.beginning_offsets([partition])[partition]
        end = self._consumer.end_offsets([partition])[partition]
        if committed is not None and not first <= committed <= end:  # the topic is another one, or was cut short
            committed = first
        if partition.topic == self._pages_topic:
            return first, first if committed is None else committed
        start = self._since(partition, FIRST_NOTICES_MS, end) if committed is None else committed
        return self._since(partition, self._notices_ms, end), start

    def read(self, partition: TopicPartition, begin: int, stop: int) -> Iterator[Any]:
        """The records from `begin` up to `stop`. Raises TopicUnreadable, kafka.errors.KafkaError."""
        return read_span(self._consumer, partition, begin, stop)

    def _since(self, partition: TopicPartition, age_ms: int, end: int) -> int:
        """The first offset that is no older; the end if all are."""
        time_ms = time.time_ns() // 1_000_000 - age_ms
        found = self._consumer.offsets_for_times({partition: time_ms})[partition]
        return end if found is None else int(found.offset)
