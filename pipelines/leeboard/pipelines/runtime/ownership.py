"""Who owns a partition, and what an owner does: restore, take, publish, write state, and stop at the right moment.

    unowned --first record--> restoring --state read--> owned
    owned --another generation than the next one--> unowned (memory is dropped: somebody else may have written)
    owned --fenced, or a write failed--> dropped; exit, if this process believes that it owns the partition still
    owned --records are missing before the next one--> owned, and a seek back to where they should be
    owned --the engine raised--> restored again; the record is found, set aside, and its scope marked degraded

Nothing here trusts a position that the consumer group tells: the markers that were written with the state are the
truth. All that touches a broker is behind `cluster.Cluster`, so that the same code runs against a simulated one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .cluster import Cluster, Fenced, Forbidden, Session, WriteFailed
from .exits import CHECKPOINT_EXIT, ENGINE_EXIT, FENCED_EXIT, SEEK_EXIT, USAGE_EXIT
from .fold import EngineFailed, Fold, Incoming, UnreadableState
from .metrics import Meters

log = logging.getLogger(__name__)

#: outputs that are urgent (alerts) are published at most so often a partition
URGENT_INTERVAL_S = 0.5
#: bytes of state in one transaction: about 40 busy scopes, or 8 with texts; 100 ms to write
SLICE_BYTES = 4 << 20
#: state of a partition is written at most so often
SLICE_INTERVAL_S = 1.0
#: the group is told the position of a partition at most so often
TELL_INTERVAL_S = 1.0
#: partitions whose transactions are written at the same time
MAX_WRITERS = 8
#: after a seek so long may pass until the records come; then it is repeated, at most so often
SEEK_PATIENCE_S = 2.0
MAX_SEEKS = 5
#: records set aside in a row because the engine raised: more mean that the engine is broken, not the record
MAX_FAILURES = 3
#: last chance to write state when partitions are revoked, and when the worker stops
REVOKE_BUDGET_S = 5.0
STOP_BUDGET_S = 20.0


@dataclass(slots=True)
class Owned:
    """One partition that this process owns, for one unbroken ownership."""

    partition: int
    generation: int
    fold: Fold
    session: Session
    #: one transaction at a time
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    dropped: bool = False
    published_s: float = 0.0
    state_s: float = 0.0
    #: outputs before it are published
    published: int = 0
    #: the position that the group knows, and when it was told last
    told: int = 0
    told_s: float = 0.0
    #: (time, next offset) at every tick: what was dirty then is old now
    clock: deque[tuple[float, int]] = field(default_factory=deque)
    #: where the consumer was told to go back to, when, and how often
    wanted: int | None = None
    sought_s: float = 0.0
    seeks: int = 0


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often things are written, seconds."""

    publish_s: float
    state_s: float


class Stage:
    """All partitions of one stage that this process owns.

    `pulls`: the log has holes (it is written in transactions), so that nobody can tell from offsets whether the
    consumer of the group has left something out. What it gives only says that there is something to read, and
    partitions are restored when they are assigned, not when their first record comes.
    """

    def __init__(
        self,
        cluster: Cluster,
        make_fold: Callable[[int], Fold],
        intervals: Intervals,
        meters: Meters,
        clock: Callable[[], float],
        *,
        pulls: bool = False,
    ) -> None:
        self.owned: dict[int, Owned] = {}
        self._cluster = cluster
        self._make_fold = make_fold
        self._intervals = intervals
        self._meters = meters
        self._clock = clock
        self._pulls = pulls
        self._mine: set[int] = set()
        self._opening: dict[int, asyncio.Lock] = {}
        #: partition -> (offset before which records are taken one by one, offsets to set aside)
        self._careful: dict[int, tuple[int, set[int]]] = {}
        self._failures: dict[int, int] = {}
        self._writers = asyncio.Semaphore(MAX_WRITERS)

    async def take(self, partition: int, records: Sequence[Incoming], generation: int) -> None:
        """Records of a partition as the consumer of this generation gives them."""
        if not records or generation != self._cluster.generation():
            return
        owned = await self._own(partition, generation)
        if owned is None:
            return
        if self._pulls:
            await self._pull(owned)
            return
        fits = owned.fold.reach(records)
        if fits:
            owned.wanted, owned.seeks = None, 0
            await self._apply(owned, records[:fits])
        if fits < len(records) and self.owned.get(partition) is owned:
            await self._go_back(owned)

    async def _pull(self, owned: Owned) -> None:
        """Read the log from where the fold stands to its end."""
        while not owned.dropped and owned.fold.next is not None:
            try:
                records = await self._cluster.read(owned.partition, owned.fold.next)
            except WriteFailed as error:
                log.warning("partition %d: %s", owned.partition, error)
                return
            if not records or owned.dropped:
                return
            await self._apply(owned, records)

    async def assigned(self, partitions: set[int]) -> None:
        """The group has a new generation, in which these partitions are ours."""
        generation = self._cluster.generation()
        self._mine = partitions
        for partition, owned in list(self.owned.items()):
            if partition in partitions and owned.generation in (generation - 1, generation):
                owned.generation = generation  # nobody else can have owned it in between
            else:
                await self._drop(owned)
        self._meters.assigned.set(len(partitions))

    async def revoked(self) -> None:
        """The group forms anew: write what may help the next owner. What is kept is decided when it has formed."""
        await self._flush(REVOKE_BUDGET_S)

    async def stop(self) -> None:
        """Write everything; the process ends."""
        await self._flush(STOP_BUDGET_S)
        for owned in list(self.owned.values()):
            if owned.generation == self._cluster.generation() and not self._cluster.rebalancing():
                await self._tell(owned)
            await self._drop(owned)

    async def tick(self) -> None:
        """Whatever is due: outputs, state, and seeks that led to nothing. To be called a few times a second."""
        if self._pulls and not self._cluster.rebalancing():
            for partition in sorted(self._mine - self.owned.keys()):
                await self._own(partition, self._cluster.generation())
        now = self._clock()
        due: list[tuple[Owned, int | None]] = []
        for owned in list(self.owned.values()):
            fold = owned.fold
            if fold.next is None or owned.generation != self._cluster.generation() or self._cluster.rebalancing():
                continue
            if now - owned.told_s >= TELL_INTERVAL_S:
                owned.told_s = now
                await self._tell(owned)
            owned.clock.append((now, fold.next))
            if self._pulls:
                await self._pull(owned)
            if owned.wanted is not None and owned.wanted == fold.next and now - owned.sought_s >= SEEK_PATIENCE_S:
                await self._go_back(owned)
            before = self._old(owned, now)
            if before is not None and fold.oldest_change() >= before:
                before = None
            waited = now - owned.published_s
            urgent = fold.urgent and waited >= URGENT_INTERVAL_S
            if before is not None or urgent or waited >= self._intervals.publish_s:
                due.append((owned, before))
        await asyncio.gather(*(self._write(owned, before) for owned, before in due))

    def _old(self, owned: Owned, now: float) -> int | None:
        """The offset below which changes are so old that their state is written; None: none is due."""
        if now - owned.state_s < SLICE_INTERVAL_S:
            return None
        before = None
        while owned.clock and owned.clock[0][0] <= now - self._intervals.state_s / 2:
            before = owned.clock.popleft()[1]
        if before is not None:
            owned.clock.appendleft((now - self._intervals.state_s / 2, before))
        return before

    async def _own(self, partition: int, generation: int) -> Owned | None:
        """The partition, restored if need be; None where it has another owner by now."""
        async with self._opening.setdefault(partition, asyncio.Lock()):
            owned = self.owned.get(partition)
            if owned is not None and owned.generation == generation:
                return owned
            if owned is not None:
                await self._drop(owned)
            owned = await self._restore(partition, generation)
            if owned is None:
                return None
            self.owned[partition] = owned
            return owned

    async def _restore(self, partition: int, generation: int) -> Owned | None:
        started = self._clock()
        try:
            session, items = await self._cluster.open(partition)
        except Forbidden as error:
            self._cluster.exit(USAGE_EXIT, str(error))
        except (Fenced, WriteFailed) as error:
            if generation == self._cluster.generation():
                self._cluster.exit(CHECKPOINT_EXIT, f"partition {partition}: its state cannot be read: {error}")
            return None
        fold, published = self._make_fold(partition), 0
        try:
            fold.restore(items)
        except UnreadableState as error:
            self._cluster.exit(USAGE_EXIT, f"partition {partition}: {error}")
        if fold.next is None:
            first, done = await self._cluster.start_offsets(partition)
            fold.begin(first, done)
        else:
            published = fold.done
        if partition in self._careful:
            fold.be_careful(*self._careful[partition])
        if generation != self._cluster.generation():
            await session.close()
            return None
        now = self._clock()
        self._meters.restores.inc()
        self._meters.restore_seconds.observe(now - started)
        log.info("partition %d: restored at offset %s in %.2f s", partition, fold.next, now - started)
        return Owned(partition, generation, fold, session, published_s=now, state_s=now, published=published)

    async def _apply(self, owned: Owned, records: Sequence[Incoming]) -> None:
        before = owned.fold.next or 0
        try:
            owned.fold.take(records)
        except EngineFailed as failure:
            await self._set_aside(owned, failure)
            return
        taken = max((owned.fold.next or 0) - before, 0)
        self._meters.records.inc(taken)
        until = self._careful.get(owned.partition, (0, set()))[0]
        if taken and (owned.fold.next or 0) > until:
            self._careful.pop(owned.partition, None)
            self._failures.pop(owned.partition, None)

    async def _set_aside(self, owned: Owned, failure: EngineFailed) -> None:
        """Start the partition again from its state; a single bad record is left out this time."""
        log.error("partition %d: the engine raised at %s", owned.partition, failure, exc_info=failure.__cause__)
        self._meters.engine_failures.inc()
        until, aside = self._careful.get(owned.partition, (0, set()))
        if len(failure.offsets) == 1:
            aside = aside | {failure.offsets[0]}
            self._failures[owned.partition] = self._failures.get(owned.partition, 0) + 1
            if self._failures[owned.partition] >= MAX_FAILURES:
                why = f"partition {owned.partition}: the engine raised on {MAX_FAILURES} records in a row"
                self._cluster.exit(ENGINE_EXIT, why)
        self._careful[owned.partition] = (max(until, failure.offsets[-1] + 1), aside)
        generation = owned.generation
        await self._drop(owned)
        again = await self._own(owned.partition, generation)
        if again is not None and again.fold.next is not None:
            await self._cluster.seek(again.partition, again.fold.next)

    async def _go_back(self, owned: Owned) -> None:
        """Records are missing before those that came: have the consumer go back, or accept that they are gone."""
        wanted, now = owned.fold.next, self._clock()
        assert wanted is not None
        if owned.wanted == wanted and now - owned.sought_s < SEEK_PATIENCE_S:
            return
        if owned.wanted == wanted:
            first = await self._cluster.first_offset(owned.partition)
            if self.owned.get(owned.partition) is not owned:
                return
            if first > wanted:  # only the log itself may say that records are gone
                log.error("partition %d: offsets %d to %d are gone from the log", owned.partition, wanted, first - 1)
                self._meters.lost_records.inc(first - wanted)
                owned.fold.skip(first)
                owned.wanted = None
                await self._cluster.seek(owned.partition, first)
                return
            owned.seeks += 1
            if owned.seeks > MAX_SEEKS:
                why = f"partition {owned.partition}: the consumer does not go back to offset {wanted}"
                self._cluster.exit(SEEK_EXIT, why)
        owned.wanted, owned.sought_s = wanted, now
        self._meters.seeks.inc()
        await self._cluster.seek(owned.partition, wanted)

    async def _write(self, owned: Owned, state_before: int | None) -> bool:
        """One transaction: outputs with their marker, and a slice of state changed below an offset. Was it written?"""
        async with self._writers, owned.writing:
            if owned.dropped or owned.generation != self._cluster.generation():
                return False
            fold, started = owned.fold, self._clock()
            sends = fold.publish()
            owned.published_s = started
            if state_before is not None:
                owned.state_s = started
                sends += fold.state(state_before, SLICE_BYTES)
            if not sends:
                return False
            done = fold.done
            try:
                await owned.session.write(sends)
            except (Fenced, WriteFailed) as error:
                await self._write_failed(owned, error)
                return False
            except BaseException:  # cancelled on the way: whether it is published is for the next owner to find out
                self._forget(owned)
                raise
            owned.published = done
            self._meters.note_write(sends, self._clock() - started)
            return True

    async def _tell(self, owned: Owned) -> None:
        """Tell the group what is published. While it forms, or its broker is away, it cannot be told: then later."""
        position = owned.published
        if position > owned.told and await self._cluster.commit(owned.partition, position):
            owned.told = position

    async def _write_failed(self, owned: Owned, error: Exception) -> None:
        fenced = isinstance(error, Fenced)
        log.warning("partition %d: %s", owned.partition, error)
        await self._drop(owned)
        if owned.generation == self._cluster.generation() and not self._cluster.rebalancing():
            why = f"partition {owned.partition} belongs to another owner" if fenced else f"a write failed: {error}"
            self._cluster.exit(FENCED_EXIT if fenced else CHECKPOINT_EXIT, why)

    async def _flush(self, budget_s: float) -> None:
        """Publish everything, and write as much state as time allows."""
        deadline = self._clock() + budget_s
        for owned in list(self.owned.values()):
            await self._write(owned, None)
        for owned in list(self.owned.values()):
            while self._clock() < deadline and owned.fold.oldest_change() < owned.fold.done:
                if not await self._write(owned, owned.fold.done):
                    break

    async def _drop(self, owned: Owned) -> None:
        """Forget a partition, and give up the right to write for it."""
        self._forget(owned)
        await owned.session.close()

    def _forget(self, owned: Owned) -> None:
        """What is in memory of a partition is worth nothing any more."""
        owned.dropped = True
        if self.owned.get(owned.partition) is owned:
            del self.owned[owned.partition]
