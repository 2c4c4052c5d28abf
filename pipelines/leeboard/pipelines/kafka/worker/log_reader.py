"""Reads a topic without a consumer group, in order and from a given position."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from leeboard.pipelines.kafka.clients import aiokafka_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.fold import IncomingRecord

#: records of one read
LOG_READ_RECORDS = 500
#: a read that finds nothing ends after so long
LOG_WAIT_MS = 50
#: a read that a broker does not answer fails after so long
LOG_READ_TIMEOUT_S = 30.0


class LogReadFailed(Exception):
    """The log could not be read this time."""


class LogReader:
    """Committed records of single partitions of a topic; one partition at a time is read without seeking."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._consumer: Any = None
        #: position of the consumer: partition, and the offset after the last record
        self._position: tuple[int, int] | None = None
        self._reading = asyncio.Lock()

    async def read(self, partition: int, offset: int) -> Sequence[IncomingRecord]:
        """Records from an offset, or from the log's beginning if later; none at the end. Raises LogReadFailed."""
        async with self._reading:
            return await self._read(TopicPartition(self._topic, partition), partition, offset)

    async def _read(self, tp: Any, partition: int, offset: int) -> Sequence[IncomingRecord]:
        try:
            async with asyncio.timeout(LOG_READ_TIMEOUT_S):
                if self._consumer is None:
                    await self._start()
                if self._position is None or self._position[0] != partition:
                    self._consumer.assign([tp])
                if self._position != (partition, offset):
                    self._consumer.seek(tp, offset)
                batches = await self._consumer.getmany(tp, timeout_ms=LOG_WAIT_MS, max_records=LOG_READ_RECORDS)
        except (KafkaError, TimeoutError, OSError) as error:
            await self.stop()
            raise LogReadFailed(f"{self._topic}/{partition}: {type(error).__name__}: {error}") from error
        records: list[IncomingRecord] = batches.get(tp, [])
        self._position = (partition, records[-1].offset + 1 if records else offset)
        return records

    async def stop(self) -> None:
        """Disconnect; the next `read` connects again."""
        consumer, self._consumer, self._position = self._consumer, None, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await consumer.stop()

    async def _start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            **aiokafka_client(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await self._consumer.start()
