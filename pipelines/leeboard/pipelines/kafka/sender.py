"""Sending measured calls: in batches, each partition in order, nothing after a batch that was not acknowledged."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from leeboard.pipelines.runtime.fold import Send

from .clients import aiokafka_client
from .settings import KafkaSettings

#: a batch of records of one partition; topics of ours take 1 MB
BATCH_BYTES = 512 << 10
MAX_REQUEST_BYTES = 1 << 20
#: a broker that restarts takes up to 12 s; then the worker gives up and its supervisor starts it again
REQUEST_TIMEOUT_MS = 20_000
CLOSE_TIMEOUT_S = 5.0


class SendFailed(Exception):
    """Some records did not arrive, or it is not known whether they did."""


class Sender:
    """An idempotent producer.

    Were a later batch of a partition sent after an earlier one failed, *watch* would take the earlier one's records,
    when they come again, for repeated ones. So every wave holds at most one batch of each partition, and the next wave
    waits for all of it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        self._producer = AIOKafkaProducer(
            **aiokafka_client(self._settings),
            enable_idempotence=True,
            acks="all",
            compression_type="lz4",
            linger_ms=0,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        await self._producer.start()

    async def deliver(self, sends: Sequence[Send], timestamps_ms: Sequence[int | None]) -> None:
        """All of them, acknowledged; `timestamps_ms`: of each, when it first reached Kafka. Raises SendFailed."""
        assert self._producer is not None
        placed: dict[tuple[str, int], list[tuple[Send, int | None]]] = {}
        loose: list[tuple[Send, int | None]] = []
        for send, timestamp_ms in zip(sends, timestamps_ms, strict=True):
            if send.partition is None:
                loose.append((send, timestamp_ms))
            else:
                placed.setdefault((send.topic, send.partition), []).append((send, timestamp_ms))
        try:
            chains = [[(key, batch) for batch in self._batches(records)] for key, records in placed.items()]
            for wave in zip_longest(*chains):
                acknowledged = [
                    await self._producer.send_batch(batch, topic, partition=partition)
                    for (topic, partition), batch in filter(None, wave)
                ]
                await asyncio.gather(*acknowledged)
            futures = [
                await self._producer.send(send.topic, send.value, send.key, headers=list(send.headers), timestamp_ms=at)
                for send, at in loose
            ]
            await asyncio.gather(*futures)
        except (KafkaError, OSError) as error:
            raise SendFailed(f"{type(error).__name__}: {error}") from error

    def _batches(self, records: Sequence[tuple[Send, int | None]]) -> Iterator[Any]:
        """Records of one partition, in batches."""
        assert self._producer is not None
        batch = self._producer.create_batch()
        for send, timestamp_ms in records:
            record = {
                "timestamp": timestamp_ms,
                "key": send.key,
                "value": send.value,
                "headers": list(send.headers),
            }
            if batch.append(**record) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(**record)
        batch.close()
        yield batch

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._producer.stop(), CLOSE_TIMEOUT_S)
