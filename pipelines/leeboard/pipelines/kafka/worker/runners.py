"""How a worker runs each stage: which topics it consumes, what happens when, and what it counts."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from faust.types import TP
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.stage_topics import topics_of
from leeboard.pipelines.measure.measurer import CALLS_AT_ONCE
from leeboard.pipelines.runtime.exits import SEND_EXIT
from leeboard.pipelines.runtime.fold import Fold, IncomingRecord, OutgoingRecord
from leeboard.pipelines.runtime.gate import GateFold
from leeboard.pipelines.runtime.metrics import StageMetrics
from leeboard.pipelines.runtime.normalise import Normaliser, arrival_ms_of
from leeboard.pipelines.runtime.ownership import PartitionOwner, WriteIntervals
from leeboard.pipelines.runtime.watch import WatchFold
from leeboard.pipelines.topics import StageName

from .group import FaustBackend, own_partitions
from .sender import Sender, SendFailed, default_partition
from .summaries import SummaryReader
from .transport import RecordSink

#: the page gate has little state and few records: its position is saved this often
GATE_PUBLISH_S = 5.0


class StageRunner(Protocol):
    """What a worker calls in the course of a stage's life."""

    async def start(self) -> None:
        """Connect, before the group is joined."""

    async def assigned(self, tps: Sequence[TP]) -> None:
        """The group has assigned these partitions to this process."""

    async def revoked(self) -> None:
        """A rebalance begins."""

    async def tick(self) -> None:
        """Do what is due; called a few times a second."""

    async def stop(self) -> None:
        """The process ends; it is still a member of the group."""

    def refresh_gauges(self) -> None:
        """Set the gauges anew."""


class NormaliseRunner:
    """Raw records to measured calls. A thread measures, so that a slow embedder does not block the event loop."""

    def __init__(self, config: Config, backend: FaustBackend, metrics: StageMetrics, normaliser: Normaliser) -> None:
        self._backend = backend
        self._metrics = metrics
        self._normaliser = normaliser
        self._sender = Sender(config.kafka)
        self._next: dict[TP, int] = {}
        self._stopped = False

    async def start(self) -> None:
        """Connect the producer."""
        await self._sender.start()

    async def deliver(self, tp: TP, records: Sequence[IncomingRecord], generation: int) -> None:
        """Send what a batch becomes, and commit its position when all of it has arrived."""
        outputs: list[OutgoingRecord] = []
        timestamps_ms: list[int | None] = []
        for at in range(0, len(records), CALLS_AT_ONCE):
            if self._stopped or generation != self._backend.generation():
                return
            chunk = records[at : at + CALLS_AT_ONCE]
            made = await asyncio.to_thread(self._normaliser.outputs, tp.topic, tp.partition, chunk)
            for record, own in zip(chunk, made, strict=True):
                outputs += own
                timestamps_ms += [arrival_ms_of(record)] * len(own)
        if self._stopped or generation != self._backend.generation():
            return
        try:
            await self._sender.send(outputs, timestamps_ms)
        except SendFailed as error:
            self._backend.exit(SEND_EXIT, f"{tp.topic}/{tp.partition} from offset {records[0].offset}: {error}")
        self._metrics.records.inc(len(records))
        self._metrics.note_outputs(outputs)
        self._next[tp] = records[-1].offset + 1
        if generation == self._backend.generation() and not self._backend.rebalancing():
            await self._backend.commit_at(tp, self._next[tp])

    async def assigned(self, tps: Sequence[TP]) -> None:
        """Forget the positions of partitions that are assigned to others."""
        self._metrics.assigned.set(len(tps))
        self._next = {tp: offset for tp, offset in self._next.items() if tp in tps}

    async def revoked(self) -> None:
        """Do nothing: every delivered batch has been sent and committed."""

    async def tick(self) -> None:
        """Do nothing: no output waits."""

    async def stop(self) -> None:
        """Disconnect the producer; calls that are being measured are measured again by their next owner."""
        self._stopped = True
        await self._sender.stop()

    def refresh_gauges(self) -> None:
        """Lag, age, and what of the texts could not be measured."""
        self._metrics.note_texts(self._normaliser.counts)
        self._metrics.note_lag(self._backend.highwater(tp) - offset for tp, offset in self._next.items())
        self._metrics.note_age(self._normaliser.newest_time_ms)


class FoldRunner:
    """A stage with state: *watch* or *gate*."""

    def __init__(self, topic: str, backend: FaustBackend, metrics: StageMetrics, owner: PartitionOwner) -> None:
        self.owner = owner
        self._topic = topic
        self._backend = backend
        self._metrics = metrics

    async def start(self) -> None:
        """Do nothing: partitions are opened when they are needed."""

    async def deliver(self, tp: TP, records: Sequence[IncomingRecord], generation: int) -> None:
        """Apply records of one partition."""
        await self.owner.deliver(tp.partition, records, generation)

    async def assigned(self, tps: Sequence[TP]) -> None:
        """Keep or drop what is owned."""
        await self.owner.assigned(own_partitions(tps, self._topic))

    async def revoked(self) -> None:
        """Write what may help the next owner."""
        await self.owner.revoked()

    async def tick(self) -> None:
        """Write what is due."""
        await self.owner.tick()

    async def stop(self) -> None:
        """Write everything."""
        await self.owner.stop()

    def refresh_gauges(self) -> None:
        """Lag, and the age of what is written."""
        owned = list(self.owner.owned.values())
        now = time.monotonic()
        behind = (self._backend.highwater(TP(self._topic, one.partition)) - (one.fold.next or 0) for one in owned)
        self._metrics.note_lag(behind)
        self._metrics.checkpoint_age.set(max((now - one.published_s for one in owned), default=0.0))

    def folds(self) -> Iterator[Fold]:
        """The folds of the partitions that are owned."""
        return (owned.fold for owned in self.owner.owned.values())


class WatchRunner(FoldRunner):
    """Measured calls to alerts."""

    def refresh_gauges(self) -> None:
        """Also scopes, repeats, and how many records a restore would read again."""
        super().refresh_gauges()
        folds = [fold for fold in self.folds() if isinstance(fold, WatchFold)]
        self._metrics.scopes.set(sum(len(fold.engine.scopes) for fold in folds))
        self._metrics.state_age.set(max((max(fold.done - fold.base, 0) for fold in folds), default=0))
        self._metrics.note_age(max((fold.newest_time for fold in folds), default=0))
        for fold in folds:
            self._metrics.note_counts(fold.take_counts())


class GateRunner(FoldRunner):
    """Alerts to pages."""

    def __init__(
        self, config: Config, topic: str, backend: FaustBackend, metrics: StageMetrics, owner: PartitionOwner
    ) -> None:
        super().__init__(topic, backend, metrics, owner)
        self._reader = SummaryReader(config.kafka)

    async def tick(self) -> None:
        """Read new summaries, expire pages without any, then write what is due."""
        for fold in self.folds():
            if isinstance(fold, GateFold):
                now_ms = time.time_ns() // 1_000_000
                fold.note_summaries(await self._reader.read(), now_ms)
                fold.expire(now_ms)
        await super().tick()

    async def stop(self) -> None:
        """Also disconnect the readers."""
        await super().stop()
        await self._reader.stop()
        await self._backend.close()

    def refresh_gauges(self) -> None:
        """Also the ledger."""
        super().refresh_gauges()
        for fold in self.folds():
            if isinstance(fold, GateFold):
                self._metrics.note_ledger(fold.gate.ledger())


def make_runner(
    stage: StageName, config: Config, backend: FaustBackend, metrics: StageMetrics, topic_ids: dict[str, str]
) -> tuple[StageRunner, dict[str, RecordSink]]:
    """The runner of a stage, and its sinks by topic."""
    kafka, topics, keep_payload = config.kafka, config.kafka.topics, config.dead_letters.payload
    if stage == "normalise":
        normaliser = Normaliser(
            config.measure(), topics, topic_ids, kafka.partitions, default_partition, keep_payload=keep_payload
        )
        normalise = NormaliseRunner(config, backend, metrics, normaliser)
        return normalise, dict.fromkeys(topics_of(stage, topics), normalise.deliver)
    [topic] = topics_of(stage, topics)
    if stage == "watch":

        def make_watch_fold(partition: int) -> Fold:
            return WatchFold(config.engine(), topics, partition, keep_payload=keep_payload)

        intervals = WriteIntervals(kafka.publish_interval_s, kafka.state_interval_s)
        owner = PartitionOwner(backend, make_watch_fold, intervals, metrics, time.monotonic)
        watch = WatchRunner(topic, backend, metrics, owner)
        return watch, {topic: watch.deliver}

    def make_gate_fold(partition: int) -> Fold:
        return GateFold(config.budget, topics, partition, keep_payload=keep_payload)

    intervals = WriteIntervals(GATE_PUBLISH_S, kafka.state_interval_s)
    owner = PartitionOwner(backend, make_gate_fold, intervals, metrics, time.monotonic, pulls=True)
    gate = GateRunner(config, topic, backend, metrics, owner)
    return gate, {topic: gate.deliver}
