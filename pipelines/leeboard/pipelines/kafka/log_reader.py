"""Reading a topic beside the consumer group, in order and from a position of one's own."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from leeboard.pipelines.runtime.fold import Incoming

from .clients import aiokafka_client
from .settings import KafkaSettings

#: records of one read
READ_RECORDS = 500
#: a read that finds nothing ends after so long
WAIT_MS = 50
#: a broker that does not answer
TIMEOUT_S = 30.0


class ReadFailed(Exception):
    """The log could not be read this time."""


class LogReader:
    """Committed records of single partitions of a topic; one partition at a time is read without seeking."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._consumer: Any = None
        #: where the consumer stands: partition, and the offset after the record that came last
        self._stands: tuple[int, int] | None = None
        self._reading = asyncio.Lock()

    async def read(self, partition: int, offset: int) -> Sequence[Incoming]:
        """Records from an offset on (the log's beginning, if they are gone); none at the end. Raises ReadFailed."""
        async with self._reading:
            return await self._read(TopicPartition(self._topic, partition), partition, offset)

    async def _read(self, tp: Any, partition: int, offset: int) -> Sequence[Incoming]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._consumer is None:
                    await self._start()
                if self._stands is None or self._stands[0] != partition:
                    self._consumer.assign([tp])
                if self._stands != (partition, offset):
                    self._consumer.seek(tp, offset)
                batches = await self._consumer.getmany(tp, timeout_ms=WAIT_MS, max_records=READ_RECORDS)
        except (KafkaError, TimeoutError, OSError) as error:
            await self.stop()
            raise ReadFailed(f"{self._topic}/{partition}: {type(error).__name__}: {error}") from error
        records: list[Incoming] = batches.get(tp, [])
        self._stands = (partition, records[-1].offset + 1 if records else offset)
        return records

    async def stop(self) -> None:
        """Disconnect; the next `read` connects again."""
        consumer, self._consumer, self._stands = self._consumer, None, None
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
