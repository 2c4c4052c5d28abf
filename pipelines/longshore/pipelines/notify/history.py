"""What was told before this process began: read back from the topics, for there are no local files."""

import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from ..config import Config
from .brokers import ASK_MS, open_consumer, read_between

DAY_MS = 86_400_000
#: where a group that never ran begins in `alerts`, for chats: a day of notices; in `pages` it begins with the oldest
FIRST_NOTICES_MS = DAY_MS


class History:
    """The records before an offset, with a client of its own that lives as long as it is read."""

    def __init__(self, config: Config) -> None:
        self._kafka = config.kafka
        #: an incident ends after accept_days at the latest, in its own time; older alerts are about others
        self._notices_ms = int((config.watch.accept_days + 1.0) * DAY_MS)

    def span(self, consumer: KafkaConsumer, partition: TopicPartition, committed: int | None) -> tuple[int, int]:
        """(offset from which to read back, offset from which to tell).

        Pages are read back from the oldest: they are few. Alerts from so far back as an incident can be open.
        """
        first = consumer.beginning_offsets([partition], timeout_ms=ASK_MS)[partition]
        end = consumer.end_offsets([partition], timeout_ms=ASK_MS)[partition]
        if partition.topic == self._kafka.topics.pages:
            return first, committed if committed is not None and first <= committed <= end else first
        now_ms = time.time_ns() // 1_000_000
        if committed is None:
            committed = self._since(consumer, partition, now_ms - FIRST_NOTICES_MS, end)
        begin = self._since(consumer, partition, now_ms - self._notices_ms, end)
        return begin, committed if first <= committed <= end else first

    def read(self, partition: TopicPartition, begin: int, stop: int) -> Iterator[Any]:
        """The records from `begin` up to `stop`. Raises BrokerProblem."""
        if begin >= stop:
            return
        consumer = open_consumer(self._kafka)
        try:
            yield from read_between(consumer, partition, begin, stop)
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)

    def _since(self, consumer: KafkaConsumer, partition: TopicPartition, time_ms: int, end: int) -> int:
        found = consumer.offsets_for_times({partition: time_ms}, timeout_ms=ASK_MS)[partition]
        return end if found is None else int(found.offset)
