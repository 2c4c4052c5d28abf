"""The three stages as parts of a worker: which topics each takes, what runs when, and what it counts."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from faust.types import TP
from leeboard.pipelines.runtime.exits import SEND_EXIT
from leeboard.pipelines.runtime.fold import Fold, Incoming, Send
from leeboard.pipelines.runtime.gate import GateFold
from leeboard.pipelines.runtime.metrics import Meters
from leeboard.pipelines.runtime.normalise import Normaliser, arrival_ms_of
from leeboard.pipelines.runtime.ownership import Intervals, Stage
from leeboard.pipelines.runtime.watch import WatchFold

from ..config import Config
from ..measure import CALLS_AT_ONCE
from .group import FaustCluster, own_partitions
from .sender import Sender, SendFailed
from .settings import Stage as StageName
from .stage_topics import topics_of
from .summaries import SummaryReader
from .transport import Sink

#: the page gate has little state and is asked rarely: its position is saved this often
GATE_PUBLISH_S = 5.0


class Part(Protocol):
    """What a worker runs for a stage."""

    async def start(self) -> None:
        """Connect what needs it, before the group is joined."""

    async def assigned(self, tps: Sequence[TP]) -> None:
        """The group has given these partitions to this process."""

    async def revoked(self) -> None:
        """The group forms anew."""

    async def tick(self) -> None:
        """A few times a second."""

    async def stop(self) -> None:
        """The process ends; the group still counts it in."""

    def note(self) -> None:
        """Renew the gauges."""


class NormalisePart:
    """Raw records to measured calls. Measuring runs on a thread: the loop goes on while an embedder takes its time."""

    def __init__(self, config: Config, cluster: FaustCluster, meters: Meters, normaliser: Normaliser) -> None:
        self._cluster = cluster
        self._meters = meters
        self._normaliser = normaliser
        self._sender = Sender(config.kafka)
        self._next: dict[TP, int] = {}
        self._stopped = False

    async def start(self) -> None:
        """Connect the producer."""
        await self._sender.start()

    async def take(self, tp: TP, records: Sequence[Incoming], generation: int) -> None:
        """Send what a batch becomes; its position is committed when all of it has arrived."""
        sends: list[Send] = []
        timestamps_ms: list[int | None] = []
        for at in range(0, len(records), CALLS_AT_ONCE):
            if self._stopped or generation != self._cluster.generation():
                return
            some = records[at : at + CALLS_AT_ONCE]
            made = await asyncio.to_thread(self._normaliser.sends, tp.topic, tp.partition, some)
            for record, own in zip(some, made, strict=True):
                sends += own
                timestamps_ms += [arrival_ms_of(record)] * len(own)
        if self._stopped or generation != self._cluster.generation():
            return
        try:
            await self._sender.deliver(sends, timestamps_ms)
        except SendFailed as error:
            self._cluster.exit(SEND_EXIT, f"{tp.topic}/{tp.partition} from offset {records[0].offset}: {error}")
        self._meters.records.inc(len(records))
        self._meters.note_sends(sends)
        self._next[tp] = records[-1].offset + 1
        if generation == self._cluster.generation() and not self._cluster.rebalancing():
            await self._cluster.commit_at(tp, self._next[tp])

    async def assigned(self, tps: Sequence[TP]) -> None:
        """Nothing is kept of a partition but its position."""
        self._meters.assigned.set(len(tps))
        self._next = {tp: offset for tp, offset in self._next.items() if tp in tps}

    async def revoked(self) -> None:
        """All that was taken has been sent and committed."""

    async def tick(self) -> None:
        """Nothing waits."""

    async def stop(self) -> None:
        """Disconnect the producer; what is being measured is measured again by whoever comes next."""
        self._stopped = True
        await self._sender.stop()

    def note(self) -> None:
        """Lag, age, and what of the texts could not be measured."""
        self._meters.note_texts(self._normaliser.counts)
        self._meters.note_lag(self._cluster.highwater(tp) - offset for tp, offset in self._next.items())
        self._meters.note_age(self._normaliser.newest_time_ms)


class FoldPart:
    """A stage with state: *watch* or *gate*."""

    def __init__(self, topic: str, cluster: FaustCluster, meters: Meters, stage: Stage) -> None:
        self.stage = stage
        self._topic = topic
        self._cluster = cluster
        self._meters = meters

    async def start(self) -> None:
        """Partitions are opened when their first record comes."""

    async def take(self, tp: TP, records: Sequence[Incoming], generation: int) -> None:
        """Records of one partition."""
        await self.stage.take(tp.partition, records, generation)

    async def assigned(self, tps: Sequence[TP]) -> None:
        """Keep or drop what is owned."""
        await self.stage.assigned(own_partitions(tps, self._topic))

    async def revoked(self) -> None:
        """Write what may help the next owner."""
        await self.stage.revoked()

    async def tick(self) -> None:
        """Write what is due."""
        await self.stage.tick()

    async def stop(self) -> None:
        """Write everything."""
        await self.stage.stop()

    def note(self) -> None:
        """Lag and the age of what is written."""
        owned = list(self.stage.owned.values())
        now = time.monotonic()
        behind = (self._cluster.highwater(TP(self._topic, one.partition)) - (one.fold.next or 0) for one in owned)
        self._meters.note_lag(behind)
        self._meters.checkpoint_age.set(max((now - one.published_s for one in owned), default=0.0))

    def folds(self) -> Iterator[Fold]:
        """The folds of the partitions that are owned."""
        return (owned.fold for owned in self.stage.owned.values())


class WatchPart(FoldPart):
    """Measured calls to alerts."""

    def note(self) -> None:
        """Also scopes, repeats and how far a restore would go back."""
        super().note()
        folds = [fold for fold in self.folds() if isinstance(fold, WatchFold)]
        self._meters.scopes.set(sum(len(fold.engine.scopes) for fold in folds))
        self._meters.state_age.set(max((max(fold.done - fold.base, 0) for fold in folds), default=0))
        self._meters.note_age(max((fold.newest_time for fold in folds), default=0))
        for fold in folds:
            self._meters.note_counts(fold.take_counts())


class GatePart(FoldPart):
    """Alerts to pages."""

    def __init__(self, config: Config, topic: str, cluster: FaustCluster, meters: Meters, stage: Stage) -> None:
        super().__init__(topic, cluster, meters, stage)
        self._reader = SummaryReader(config.kafka)

    async def tick(self) -> None:
        """Listen for signs of life, then write what is due."""
        for fold in self.folds():
            if isinstance(fold, GateFold):
                now_ms = time.time_ns() // 1_000_000
                fold.hear(await self._reader.read(), now_ms)
                fold.expire(now_ms)
        await super().tick()

    async def stop(self) -> None:
        """Also disconnect the reader."""
        await super().stop()
        await self._reader.stop()
        await self._cluster.close()

    def note(self) -> None:
        """Also the ledger."""
        super().note()
        for fold in self.folds():
            if isinstance(fold, GateFold):
                self._meters.note_ledger(fold.gate.ledger())


def make_part(
    stage: StageName, config: Config, cluster: FaustCluster, meters: Meters, topic_ids: dict[str, str]
) -> tuple[Part, dict[str, Sink]]:
    """The part of a stage, and its sinks by topic."""
    kafka, topics = config.kafka, config.kafka.topics
    if stage == "normalise":
        normalise = NormalisePart(config, cluster, meters, Normaliser(config, topic_ids, kafka.partitions))
        return normalise, dict.fromkeys(topics_of(stage, topics), normalise.take)
    [topic] = topics_of(stage, topics)
    if stage == "watch":
        intervals = Intervals(kafka.publish_interval_s, kafka.state_interval_s)
        owner = Stage(cluster, lambda n: WatchFold(config, topics, n), intervals, meters, time.monotonic)
        watch = WatchPart(topic, cluster, meters, owner)
        return watch, {topic: watch.take}
    intervals = Intervals(GATE_PUBLISH_S, kafka.state_interval_s)
    owner = Stage(cluster, lambda n: GateFold(config, topics, n), intervals, meters, time.monotonic, pulls=True)
    gate = GatePart(config, topic, cluster, meters, owner)
    return gate, {topic: gate.take}
