"""Kafka for the loop: the consumer of the group, the producer of dead letters, history and heartbeat."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import AuthorizationError, IllegalStateError, KafkaError
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.operate.reading import TopicUnreadable, consumer_of
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.notify.feed.events import (
    FeedPartition,
    FeedRecord,
    Heartbeat,
    HistoryBatch,
    HistoryFailed,
    HistoryRead,
    OffsetsCommitted,
    Polled,
)
from leeboard.pipelines.notify.feed.fold import POLL_RECORDS
from leeboard.pipelines.notify.feed.instructions import CommitOffsets
from leeboard.schemas import Reject, encode
from msgspec.structs import replace

from .heartbeat import HeartbeatReader
from .history import History
from .membership import Membership

log = logging.getLogger(__name__)
FEED_POLL_MS = 200
#: a request to a broker
REQUEST_MS = 5000
#: a dead letter that is not acknowledged by then is written again
ACKNOWLEDGED_S = 10.0
#: leaving the group; after the last commit
LEAVE_MS = 1000


class KafkaFeedBroker:
    """See `loop.FeedBroker`."""

    def __init__(self, kafka: KafkaSettings, topics: list[str], accept_days: float) -> None:
        """Raises TopicUnreadable, ClientError, kafka.errors.KafkaError where Kafka cannot be used."""
        self._dead_letters_topic = kafka.topics.dead_letters
        with ExitStack() as clients:
            self._consumer = _group_consumer(kafka)
            clients.callback(self._consumer.close, autocommit=False, timeout_ms=LEAVE_MS)
            self._producer = KafkaProducer(**python_client(kafka), acks="all", max_block_ms=REQUEST_MS)
            clients.callback(self._producer.close, timeout=LEAVE_MS / 1000)
            self._history = History(clients.enter_context(consumer_of(kafka)), kafka.topics.pages, accept_days)
            self._heartbeat = HeartbeatReader(clients.enter_context(consumer_of(kafka)), kafka.topics.summaries)
            self._clients = clients.pop_all()
        self._membership = Membership()
        #: numbers of commits, and their answers to come
        self._commits: list[tuple[int, Any]] = []
        self._consumer.subscribe(topics, listener=self._membership)

    def start(self) -> None:
        """See `loop.FeedBroker`."""
        self._heartbeat.start()

    def group_version(self) -> int:
        """See `loop.FeedBroker`."""
        return self._membership.view.version

    def poll(self) -> Polled:
        """See `loop.FeedBroker`; a broker that does not answer brings nothing."""
        batches: dict[TopicPartition, list[Any]] = {}
        try:
            batches = self._consumer.poll(timeout_ms=FEED_POLL_MS, max_records=POLL_RECORDS)
        except AuthorizationError:
            raise
        except KafkaError as error:
            log.warning("Kafka: %s", error)
            time.sleep(FEED_POLL_MS / 1000)
        view = self._membership.view
        positions = {}
        for partition in batches:
            with suppress(IllegalStateError):  # taken away since the poll: there is a newer view then
                positions[FeedPartition(*partition)] = self._consumer.position(partition) or 0
        return Polled(
            replace(view, generation=self._consumer.group_metadata().generation_id),
            {FeedPartition(*partition): list(map(_record, records)) for partition, records in batches.items()},
            positions,
            frozenset(FeedPartition(*partition) for partition in self._consumer.paused()),
        )

    def commit(self, request: CommitOffsets) -> str | None:
        """See `loop.FeedBroker`."""
        try:
            self._consumer.commit(_offsets(request), timeout_ms=REQUEST_MS)
        except KafkaError as error:
            return str(error)
        return None

    def commit_async(self, request: CommitOffsets) -> None:
        """See `loop.FeedBroker`."""
        self._commits.append((request.number, self._consumer.commit_async(_offsets(request))))

    def finished_commits(self) -> list[OffsetsCommitted]:
        """See `loop.FeedBroker`."""
        finished = [(number, future) for number, future in self._commits if future.is_done]
        self._commits = [(number, future) for number, future in self._commits if not future.is_done]
        return [OffsetsCommitted(n, str(future.exception) if future.failed() else None) for n, future in finished]

    def write_dead_letter(self, reject: Reject) -> str | None:
        """See `loop.FeedBroker`."""
        try:
            sent = self._producer.send(self._dead_letters_topic, encode(reject), reject.position.encode())
            sent.get(ACKNOWLEDGED_S)
        except KafkaError as error:
            return f"{reject.position}: {error}"
        return None

    def read_history(self, partition: FeedPartition) -> Iterator[HistoryBatch | HistoryRead | HistoryFailed]:
        """See `loop.FeedBroker`."""
        topic_partition = TopicPartition(*partition)
        try:
            committed = self._consumer.committed(topic_partition, metadata=True, timeout_ms=REQUEST_MS)
            begin, start = self._history.span(topic_partition, None if committed is None else committed.offset)
            for record in self._history.read(topic_partition, begin, start):
                yield HistoryBatch(partition, [record.value])
            self._consumer.seek(topic_partition, start)
        except (ValueError, KafkaError, TopicUnreadable) as error:  # the first: taken away meanwhile
            yield HistoryFailed(partition, str(error))
            return
        yield HistoryRead(partition, start, "" if committed is None else committed.metadata)

    def pause(self, partition: FeedPartition) -> None:
        """See `loop.FeedBroker`."""
        with suppress(KeyError):  # taken away meanwhile
            self._consumer.pause(TopicPartition(*partition))

    def resume(self, partition: FeedPartition) -> None:
        """See `loop.FeedBroker`."""
        with suppress(KeyError):
            self._consumer.resume(TopicPartition(*partition))

    def heartbeat(self) -> Heartbeat:
        """See `loop.FeedBroker`."""
        return self._heartbeat.reading

    def close(self) -> None:
        """See `loop.FeedBroker`."""
        self._heartbeat.stop()
        self._clients.close()


def _record(record: Any) -> FeedRecord:
    return FeedRecord(record.offset, record.value, record.timestamp)


def _offsets(request: CommitOffsets) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*partition): OffsetAndMetadata(offset, metadata, -1)
        for partition, (offset, metadata) in request.offsets.items()
    }


def _group_consumer(kafka: KafkaSettings) -> KafkaConsumer:
    """A consumer that reads what is committed and commits by hand."""
    return KafkaConsumer(
        **python_client(kafka),
        group_id=f"{kafka.app_id}-notify",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        session_timeout_ms=int(kafka.session_timeout_s * 1000),
        heartbeat_interval_ms=int(kafka.session_timeout_s * 1000 / 5),
    )
