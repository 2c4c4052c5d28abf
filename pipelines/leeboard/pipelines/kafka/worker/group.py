"""The consumer group of a stage, by Faust: the Faust app, and the backend that `PartitionOwner` works on."""

import logging
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

from faust.types import TP
from leeboard.pipelines.kafka.clients import faust_credentials
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.backend import WriteFailed
from leeboard.pipelines.runtime.exits import exit_process
from leeboard.pipelines.runtime.fold import IncomingRecord
from leeboard.pipelines.topics import StageName

from .log_reader import LogReader, LogReadFailed
from .transactions import TransactionSession, offsets_from, open_session, read_state
from .transport import BatchApp

log = logging.getLogger(__name__)

#: records delivered to a stage at once: 50 ms of the engine, so that timers are not late; *normalise* sends and commits
#: so many together: .3 s with the static table, 40 s with a model that embeds 25 texts a second
MAX_POLL_RECORDS = {"normalise": 512, "watch": 2000, "gate": 2000}
#: a fetch of one partition: 2,000 measured calls with both texts
MAX_FETCH_BYTES = 4 << 20
REBALANCE_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 30.0
#: a topic whose metadata came late must not leave the group idle for five minutes (Faust's default)
METADATA_MAX_AGE_MS = 5000


def make_app(settings: KafkaSettings, stage: StageName, topics: Sequence[str]) -> BatchApp:
    """The Faust app of a stage that consumes some topics. Its sinks are set later. Raises ClientError."""
    app = BatchApp(
        settings.group(stage),
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers],
        broker_credentials=faust_credentials(settings),
        # Faust makes this folder even if nothing is kept in it
        datadir=tempfile.mkdtemp(prefix="leeboard-"),
        store="memory://",
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # a held record must not block a rebalance for ever; without standby replicas tables do not affect assignments
        stream_wait_empty=False,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id,
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        broker_max_poll_records=MAX_POLL_RECORDS[stage],
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 5,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_request_timeout=max(REQUEST_TIMEOUT_S, settings.session_timeout_s),
        producer_request_timeout=REQUEST_TIMEOUT_S,
    )
    for topic in topics:
        _subscribe(app, topic)
    return app


def _subscribe(app: BatchApp, topic: str) -> None:
    """Let the consumer read a topic. Faust reads the topics of its agents; the stream of this agent stays empty."""
    channel = app.topic(
        topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False
    )

    @app.agent(channel, name=f"sink-{topic}")
    async def idle(stream: object) -> None:
        async for _ in stream:  # type: ignore[attr-defined]
            raise AssertionError("records go to the sink")


class FaustBackend:
    """The `StageBackend` of one topic of a Faust app, with its state in another topic."""

    def __init__(
        self,
        app: BatchApp,
        settings: KafkaSettings,
        stage: StageName,
        topic: str,
        state_topic: str,
        warm_from_ms: int | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._stage: StageName = stage
        self._topic = topic
        self._state_topic = state_topic
        self._warm_from_ms = warm_from_ms
        self._reader = LogReader(settings, topic)

    def generation(self) -> int:
        """See `backend.StageBackend`."""
        return int(self._app.consumer_generation_id)

    def rebalancing(self) -> bool:
        """See `backend.StageBackend`."""
        return bool(self._app.rebalancing)

    async def open(self, partition: int) -> tuple[TransactionSession, list[tuple[bytes, bytes | None]]]:
        """See `backend.StageBackend`. The fence comes first: nobody changes what is read after it."""
        session = await open_session(self._settings, self._stage, partition)
        try:
            return session, await read_state(self._settings, self._state_topic, partition)
        except BaseException:
            await session.close()
            raise

    async def read(self, partition: int, offset: int) -> Sequence[IncomingRecord]:
        """See `backend.StageBackend`."""
        try:
            return await self._reader.read(partition, offset)
        except LogReadFailed as error:
            raise WriteFailed(str(error)) from None

    async def close(self) -> None:
        """Disconnect the reader that is not in the group."""
        await self._reader.stop()

    async def first_offset(self, partition: int) -> int:
        """See `backend.StageBackend`."""
        tp = self._tp(partition)
        return int((await self._app.consumer.earliest_offsets(tp))[tp])

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """See `backend.StageBackend`: the whole log, or from a time on with outputs left out."""
        if self._warm_from_ms is None:
            first = await self.first_offset(partition)
            return first, first
        return await offsets_from(self._settings, self._topic, partition, self._warm_from_ms)

    async def seek(self, partition: int, offset: int) -> None:
        """See `backend.StageBackend`."""
        await self._app.consumer.seek_wait({self._tp(partition): offset})

    async def commit(self, partition: int, offset: int) -> bool:
        """See `backend.StageBackend`."""
        return await self.commit_at(self._tp(partition), offset)

    async def commit_at(self, tp: TP, offset: int) -> bool:
        """Commit a position of any topic to the group. False: it failed. Never raises."""
        consumer: Any = self._app.consumer
        try:
            return tp in consumer.assignment() and bool(await consumer._commit({tp: offset}))
        except Exception as error:  # without it the next start only reads more
            log.warning("%s/%d: offset %d was not committed: %r", tp.topic, tp.partition, offset, error)
            return False

    def highwater(self, tp: TP) -> int:
        """The end of a partition as far as it is known; 0 if it is not."""
        try:
            return int(self._app.consumer.highwater(tp) or 0)
        except AssertionError:  # the consumer's thread has lost the partition; the event follows
            return 0

    def exit(self, code: int, why: str) -> NoReturn:
        """See `backend.StageBackend`."""
        exit_process(code, why)

    def _tp(self, partition: int) -> TP:
        return TP(self._topic, partition)


def own_partitions(tps: Sequence[TP], topic: str) -> set[int]:
    """Those partitions of an assignment that belong to a topic."""
    return {tp.partition for tp in tps if tp.topic == topic}
