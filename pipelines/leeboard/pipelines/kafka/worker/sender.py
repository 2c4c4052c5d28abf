"""Sends measured calls in batches: each partition in order, nothing after a batch that was not acknowledged."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from leeboard.pipelines.kafka.clients import CLIENT_CLOSE_S, MAX_REQUEST_BYTES, aiokafka_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.fold import OutgoingRecord

#: a batch of records of one partition
SENDER_BATCH_BYTES = 512 << 10
#: a broker that restarts takes up to 12 s; after this the worker exits and its supervisor starts it again
SENDER_TIMEOUT_MS = 20_000


class SendFailed(Exception):
    """Some records did not arrive, or it is not known whether they did."""


def default_partition(key: bytes, partitions: int) -> int:
    """The partition of a key by Kafka's default partitioner."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class Sender:
    """An idempotent producer.

    If a later batch of a partition arrived although an earlier one had failed, *watch* would later drop the earlier
    one's records as repeats. So a wave holds at most one batch of each partition, and the next wave waits for it.
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
            request_timeout_ms=SENDER_TIMEOUT_MS,
            max_batch_size=SENDER_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        await self._producer.start()

    async def send(self, records: Sequence[OutgoingRecord], timestamps_ms: Sequence[int | None]) -> None:
        """Send all of them and wait for the acknowledgements. Raises SendFailed.

        `timestamps_ms`: when the source of each record first reached Kafka.
        """
        assert self._producer is not None
        by_partition: dict[tuple[str, int], list[tuple[OutgoingRecord, int | None]]] = {}
        unpartitioned: list[tuple[OutgoingRecord, int | None]] = []
        for record, timestamp_ms in zip(records, timestamps_ms, strict=True):
            if record.partition is None:
                unpartitioned.append((record, timestamp_ms))
            else:
                by_partition.setdefault((record.topic, record.partition), []).append((record, timestamp_ms))
        try:
            chains = [[(key, batch) for batch in self._batches(own)] for key, own in by_partition.items()]
            for wave in zip_longest(*chains):
                acknowledged = [
                    await self._producer.send_batch(batch, topic, partition=partition)
                    for (topic, partition), batch in filter(None, wave)
                ]
                await asyncio.gather(*acknowledged)
            futures = [
                await self._producer.send(
                    record.topic, record.value, record.key, headers=list(record.headers), timestamp_ms=timestamp_ms
                )
                for record, timestamp_ms in unpartitioned
            ]
            await asyncio.gather(*futures)
        except (KafkaError, OSError) as error:
            raise SendFailed(f"{type(error).__name__}: {error}") from error

    def _batches(self, records: Sequence[tuple[OutgoingRecord, int | None]]) -> Iterator[Any]:
        """Records of one partition, in batches."""
        assert self._producer is not None
        batch = self._producer.create_batch()
        for record, timestamp_ms in records:
            arguments = {
                "timestamp": timestamp_ms,
                "key": record.key,
                "value": record.value,
                "headers": list(record.headers),
            }
            if batch.append(**arguments) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(**arguments)
        batch.close()
        yield batch

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._producer.stop(), CLIENT_CLOSE_S)
