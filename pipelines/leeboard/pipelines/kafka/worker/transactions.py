"""Writes for one partition in transactions that fence its previous owner, and reads its state (aiokafka)."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced, TransactionalIdAuthorizationFailed
from leeboard.pipelines.kafka.clients import CLIENT_CLOSE_S, MAX_REQUEST_BYTES, aiokafka_client
from leeboard.pipelines.kafka.operate.rights import transactional_rights
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.backend import Fenced, Forbidden, WriteFailed
from leeboard.pipelines.runtime.fold import OutgoingRecord
from leeboard.pipelines.topics import StageName

#: a transaction is open only while it is written; that of a dead owner is ended by the next owner, or after this
TRANSACTION_TIMEOUT_MS = 10_000
TRANSACTION_REQUEST_MS = 10_000
#: longest time that a write may take before its partition is dropped: three requests
WRITE_TIMEOUT_S = 30.0
#: records of one partition that go in one batch
TRANSACTION_BATCH_BYTES = 256 << 10
#: how state is read: fetches of 4 MB, 5,000 records at a time
STATE_FETCH_BYTES = 4 << 20
STATE_READ_RECORDS = 5000
#: a state partition of 100 MB is read in 2 s; this is the limit for a broker that does not answer
STATE_READ_TIMEOUT_S = 120.0


class TransactionSession:
    """The `PartitionSession` of one partition."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def write(self, records: Sequence[OutgoingRecord]) -> None:
        """One transaction. Raises Fenced or WriteFailed."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                async with self._producer.transaction():
                    waiting = [await self._send(record) for record in records]
                    await asyncio.gather(*waiting)
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced(str(error)) from error
        except (KafkaError, TimeoutError) as error:
            raise WriteFailed(f"{type(error).__name__}: {error}") from error

    async def _send(self, record: OutgoingRecord) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = await self._producer.send(
            record.topic, record.value, record.key, record.partition, headers=list(record.headers)
        )
        return future

    async def close(self) -> None:
        """Stop the producer."""
        await _stop(self._producer)


async def open_session(settings: KafkaSettings, stage: StageName, partition: int) -> TransactionSession:
    """Begin to own a partition: its previous owner cannot write any more. Raises WriteFailed, Forbidden."""
    producer = AIOKafkaProducer(
        **aiokafka_client(settings),
        transactional_id=settings.transactional_id(stage, partition),
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        request_timeout_ms=TRANSACTION_REQUEST_MS,
        max_request_size=MAX_REQUEST_BYTES,
        max_batch_size=TRANSACTION_BATCH_BYTES,
        acks="all",
        linger_ms=0,
    )
    try:
        await asyncio.wait_for(producer.start(), WRITE_TIMEOUT_S)
    except TransactionalIdAuthorizationFailed:
        await _stop(producer)
        raise Forbidden(transactional_rights(settings, stage)) from None
    except (KafkaError, TimeoutError, OSError) as error:
        await _stop(producer)
        raise WriteFailed(f"{type(error).__name__}: {error}") from error
    return TransactionSession(producer)


async def offsets_from(settings: KafkaSettings, topic: str, partition: int, time_ms: int) -> tuple[int, int]:
    """The first offset of a partition written at or after a time, and the end of the partition. Raises WriteFailed."""
    consumer = AIOKafkaConsumer(**aiokafka_client(settings), enable_auto_commit=False)
    tp = TopicPartition(topic, partition)
    try:
        async with asyncio.timeout(STATE_READ_TIMEOUT_S):
            await consumer.start()
            consumer.assign([tp])
            end = int((await consumer.end_offsets([tp]))[tp])
            found = (await consumer.offsets_for_times({tp: time_ms}))[tp]
            return (int(found.offset) if found is not None else end), end
    except (KafkaError, TimeoutError, OSError) as error:
        raise WriteFailed(f"{topic}/{partition} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        await _stop(consumer)


async def _stop(client: Any) -> None:
    """Stop a client; errors do not matter any more."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.stop(), CLIENT_CLOSE_S)


async def read_state(settings: KafkaSettings, topic: str, partition: int) -> list[tuple[bytes, bytes | None]]:
    """Keys and values of a partition up to its end, committed ones only, oldest first. Raises WriteFailed."""
    consumer = AIOKafkaConsumer(
        **aiokafka_client(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=STATE_FETCH_BYTES,
        fetch_max_bytes=STATE_FETCH_BYTES,
        fetch_max_wait_ms=50,
        request_timeout_ms=TRANSACTION_REQUEST_MS,
    )
    try:
        async with asyncio.timeout(STATE_READ_TIMEOUT_S):
            await consumer.start()
            return await _read_all(consumer, TopicPartition(topic, partition))
    except (KafkaError, TimeoutError, OSError) as error:
        raise WriteFailed(f"{topic}/{partition} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        await _stop(consumer)


async def _read_all(consumer: AIOKafkaConsumer, tp: TopicPartition) -> list[tuple[bytes, bytes | None]]:
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    end = (await consumer.end_offsets([tp]))[tp]
    newest: dict[bytes, bytes | None] = {}
    while await consumer.position(tp) < end:  # the position also moves past the markers of transactions
        batch = await consumer.getmany(tp, timeout_ms=200, max_records=STATE_READ_RECORDS)
        for record in batch.get(tp, ()):
            newest.pop(record.key, None)
            if record.value is not None:
                newest[record.key] = record.value
    return list(newest.items())
