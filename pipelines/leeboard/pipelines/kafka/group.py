"""The consumer group of a stage, by Faust: what a `Stage` needs of it, and the Faust app itself."""

import logging
import tempfile
from collections.abc import Sequence
from typing import Any, NoReturn

from faust.types import TP
from leeboard.pipelines.runtime.cluster import WriteFailed
from leeboard.pipelines.runtime.exits import leave
from leeboard.pipelines.runtime.fold import Incoming

from .clients import faust_credentials
from .log_reader import LogReader, ReadFailed
from .settings import KafkaSettings, Stage
from .transactions import Transactions, offsets_from, open_session, read_state
from .transport import BatchApp

log = logging.getLogger(__name__)

#: records given to a stage at once: 50 ms of the engine, so that timers stay in time; *normalise* sends and commits so
#: many together: .3 s with the static table, 40 s with a model that embeds 25 texts a second
MAX_POLL_RECORDS = {"normalise": 512, "watch": 2000, "gate": 2000}
#: a fetch of one partition: 2,000 measured calls with both texts
MAX_FETCH_BYTES = 4 << 20
REBALANCE_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 30.0
#: a topic whose metadata came late must not leave the group idle for five minutes (Faust's default)
METADATA_MAX_AGE_MS = 5000


def make_app(settings: KafkaSettings, stage: Stage, topics: Sequence[str]) -> BatchApp:
    """The Faust app of a stage that consumes some topics; its sinks are still to be set. Raises ClientError."""
    app = BatchApp(
        settings.group(stage),
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers],
        broker_credentials=faust_credentials(settings),
        # Faust makes this folder even where nothing is kept in it
        datadir=tempfile.mkdtemp(prefix="leeboard-"),
        store="memory://",
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # a held record must not block a rebalance for ever; without standby replicas tables play no part in assignments
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
    """Let the consumer read a topic: Faust reads those that some agent names, whose stream stays empty here."""
    channel = app.topic(
        topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", acks=False
    )

    @app.agent(channel, name=f"sink-{topic}")
    async def idle(stream: object) -> None:
        async for _ in stream:  # type: ignore[attr-defined]
            raise AssertionError("records go to the sink")


class FaustCluster:
    """A `Cluster` of `ownership`: one topic of a Faust app, whose state lies in another topic."""

    def __init__(
        self,
        app: BatchApp,
        settings: KafkaSettings,
        stage: Stage,
        topic: str,
        state_topic: str,
        warm_from_ms: int | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._stage: Stage = stage
        self._topic = topic
        self._state_topic = state_topic
        self._warm_from_ms = warm_from_ms
        self._reader = LogReader(settings, topic)

    def generation(self) -> int:
        """See `cluster.Cluster`."""
        return int(self._app.consumer_generation_id)

    def rebalancing(self) -> bool:
        """See `cluster.Cluster`."""
        return bool(self._app.rebalancing)

    async def open(self, partition: int) -> tuple[Transactions, list[tuple[bytes, bytes | None]]]:
        """See `cluster.Cluster`. The fence comes first: what is read after it is final."""
        session = await open_session(self._settings, self._stage, partition)
        try:
            return session, await read_state(self._settings, self._state_topic, partition)
        except BaseException:
            await session.close()
            raise

    async def read(self, partition: int, offset: int) -> Sequence[Incoming]:
        """See `cluster.Cluster`."""
        try:
            return await self._reader.read(partition, offset)
        except ReadFailed as error:
            raise WriteFailed(str(error)) from None

    async def close(self) -> None:
        """Disconnect what reads beside the group."""
        await self._reader.stop()

    async def first_offset(self, partition: int) -> int:
        """See `cluster.Cluster`."""
        tp = self._tp(partition)
        return int((await self._app.consumer.earliest_offsets(tp))[tp])

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """See `cluster.Cluster`: everything that the log holds, or from a time on with outputs left out."""
        if self._warm_from_ms is None:
            first = await self.first_offset(partition)
            return first, first
        return await offsets_from(self._settings, self._topic, partition, self._warm_from_ms)

    async def seek(self, partition: int, offset: int) -> None:
        """See `cluster.Cluster`."""
        await self._app.consumer.seek_wait({self._tp(partition): offset})

    async def commit(self, partition: int, offset: int) -> bool:
        """See `cluster.Cluster`."""
        return await self.commit_at(self._tp(partition), offset)

    async def commit_at(self, tp: TP, offset: int) -> bool:
        """Tell the group a position of any topic. False: it did not arrive. Never raises."""
        consumer: Any = self._app.consumer
        try:
            return tp in consumer.assignment() and bool(await consumer._commit({tp: offset}))
        except Exception as error:  # a position that did not arrive costs a longer way to the next start
            log.warning("%s/%d: offset %d was not committed: %r", tp.topic, tp.partition, offset, error)
            return False

    def highwater(self, tp: TP) -> int:
        """The end of a partition as far as it is known; 0 where it is not."""
        try:
            return int(self._app.consumer.highwater(tp) or 0)
        except AssertionError:  # the consumer's thread has lost the partition, which is to be told yet
            return 0

    def exit(self, code: int, why: str) -> NoReturn:
        """See `cluster.Cluster`."""
        leave(code, why)

    def _tp(self, partition: int) -> TP:
        return TP(self._topic, partition)


def own_partitions(tps: Sequence[TP], topic: str) -> set[int]:
    """Those partitions of an assignment that belong to a topic."""
    return {tp.partition for tp in tps if tp.topic == topic}
