"""Scopes and times of the newest summaries, for the page gate; read without a consumer group."""

import contextlib
import logging
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from leeboard.pipelines.kafka.clients import aiokafka_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from msgspec import Struct

log = logging.getLogger(__name__)

#: summaries read at once: one each of 5,000 scopes
SUMMARY_READ_RECORDS = 5000


class SummaryTime(Struct):
    """The fields of a summary that the page gate needs."""

    scope: str
    time: int


_decoder = msgspec.json.Decoder(SummaryTime)


class SummaryReader:
    """Reads `summaries` from now on, without a group, so that every gate process reads all of them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: Any = None

    async def read(self) -> list[tuple[str, int]]:
        """Scopes and event times (epoch ms) of the summaries since the last call; none while they cannot be read."""
        try:
            if self._consumer is None:
                await self._start()
            batches = await self._consumer.getmany(timeout_ms=0, max_records=SUMMARY_READ_RECORDS)
        except (KafkaError, OSError) as error:
            log.warning("summaries cannot be read: %r", error)
            await self.stop()
            return []
        found = []
        for records in batches.values():
            for record in records:
                with contextlib.suppress(msgspec.MsgspecError):
                    summary = _decoder.decode(record.value or b"")
                    found.append((summary.scope, summary.time))
        return found

    async def _start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            self._settings.topics.summaries,
            **aiokafka_client(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            isolation_level="read_committed",
        )
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect; the next `read` connects again."""
        if self._consumer is not None:
            with contextlib.suppress(Exception):
                await self._consumer.stop()
            self._consumer = None
