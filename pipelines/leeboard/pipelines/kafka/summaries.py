"""Signs of life for the page gate: scopes and times of the newest summaries, read beside the consumer group."""

import contextlib
import logging
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from msgspec import Struct

from .clients import aiokafka_client
from .settings import KafkaSettings

log = logging.getLogger(__name__)

#: summaries taken at once: one each of 5,000 scopes
READ_RECORDS = 5000


class Sign(Struct):
    """What of a summary is a sign of life."""

    scope: str
    time: int


_decoder = msgspec.json.Decoder(Sign)


class SummaryReader:
    """Reads `summaries` from now on, without a group: every gate process may read all of it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: Any = None

    async def read(self) -> list[tuple[str, int]]:
        """Scopes and event times (epoch ms) of the summaries since the last call; none while they cannot be read."""
        try:
            if self._consumer is None:
                await self._start()
            batches = await self._consumer.getmany(timeout_ms=0, max_records=READ_RECORDS)
        except (KafkaError, OSError) as error:
            log.warning("summaries cannot be read: %r", error)
            await self.stop()
            return []
        signs = []
        for records in batches.values():
            for record in records:
                with contextlib.suppress(msgspec.MsgspecError):
                    sign = _decoder.decode(record.value or b"")
                    signs.append((sign.scope, sign.time))
        return signs

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
