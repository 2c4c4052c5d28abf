"""Who owns a partition, and what an owner does: restore, apply, publish, write state, and stop at the right moment.

    unowned --first record--> restoring --state read--> owned
    owned --another generation than the next one--> unowned (memory is dropped: somebody else may have written)
    owned --fenced, or a write failed--> dropped; exit, if this process believes that it owns the partition still
    owned --records are missing before the next one--> owned, and a seek back to where they should be
    owned --the engine raised--> restored again; the record is found, dead-lettered, and its scope marked degraded

Nothing here trusts a position of the consumer group: the markers that were written with the state are the truth. All
that touches a broker is behind `backend.StageBackend`, so that the same code runs against a simulated one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .backend import Fenced, Forbidden, PartitionSession, StageBackend, WriteFailed
from .exits import CHECKPOINT_EXIT, ENGINE_EXIT, FENCED_EXIT, SEEK_EXIT, USAGE_EXIT
from .fold import EngineFailed, Fold, IncomingRecord, UnreadableState
from .metrics import StageMetrics

log = logging.getLogger(__name__)

#: urgent outputs (alerts) of a partition are published at most so often
URGENT_INTERVAL_S = 0.5
#: bytes of state in one transaction: about 40 busy scopes, or 8 with texts; 100 ms to write
SLICE_BYTES = 4 << 20
#: state of a partition is written at most so often
SLICE_INTERVAL_S = 1.0
#: the position of a partition is committed to the group at most so often
COMMIT_INTERVAL_S = 1.0
#: partitions whose transactions are written at the same time
MAX_WRITERS = 8
#: how long records may take to come after a seek; then it is repeated, at most so often
SEEK_PATIENCE_S = 2.0
MAX_SEEKS = 5
#: dead letters in a row because the engine raised: more mean that the engine is broken, not the record
MAX_FAILURES = 3
#: time to write state when partitions are revoked, and when the worker stops
REVOKE_BUDGET_S = 5.0
STOP_BUDGET_S = 20.0


@dataclass(slots=True)
class OwnedPartition:
    """One partition that this process owns, for one unbroken ownership."""

    partition: int
    generation: int
    fold: Fold
    session: PartitionSession
    #: one transaction at a time
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    dropped: bool = False
    published_s: float = 0.0
    state_s: float = 0.0
    #: outputs before it are published
    published: int = 0
    #: the position that was committed to the group, and the time of the last attempt
    committed: int = 0
    commit_s: float = 0.0
    #: (time, next offset) at every tick: from it follows how old a change is
    ticks: deque[tuple[float, int]] = field(default_factory=deque)
    #: the offset that the consumer was sent back to, when, and how often
    seek_offset: int | None = None
    seek_s: float = 0.0
    seeks: int = 0


@dataclass(frozen=True, slots=True)
class WriteIntervals:
    """How often outputs and state are written, seconds."""

    publish_s: float
    state_s: float


class PartitionOwner:
    """All partitions of one stage that this process owns.

    `pulls`: the log is written in transactions, so its offsets have holes, and they do not show whether the group's
    consumer left a record out. Then a delivery only says that there is something to read, and partitions are restored
    when they are assigned, not when their first record comes.
    """

    def __init__(
        self,
        backend: StageBackend,
        make_fold: Callable[[int], Fold],
        intervals: WriteIntervals,
        metrics: StageMetrics,
        clock: Callable[[], float],
        *,
        pulls: bool = False,
    ) -> None:
        self.owned: dict[int, OwnedPartition] = {}
        self._backend = backend
        self._make_fold = make_fold
        self._intervals = intervals
        self._metrics = metrics
        self._clock = clock
        self._pulls = pulls
        self._assigned: set[int] = set()
        self._opening: dict[int, asyncio.Lock] = {}
        #: partition -> (offset before which records are applied one by one, offsets of dead letters)
        self._single_step: dict[int, tuple[int, set[int]]] = {}
        self._failures: dict[int, int] = {}
        self._writers = asyncio.Semaphore(MAX_WRITERS)

    async def deliver(self, partition: int, records: Sequence[IncomingRecord], generation: int) -> None:
        """Apply records of a partition, as the consumer of this generation delivers them."""
        if not records or generation != self._backend.generation():
            return
        owned = await self._acquire(partition, generation)
        if owned is None:
            return
        if self._pulls:
            await self._pull(owned)
            return
        count = owned.fold.contiguous_prefix(records)
        if count:
            owned.seek_offset, owned.seeks = None, 0
            await self._apply(owned, records[:count])
        if count < len(records) and self.owned.get(partition) is owned:
            await self._seek_back(owned)

    async def _pull(self, owned: OwnedPartition) -> None:
        """Read the log from the fold's position to its end."""
        while not owned.dropped and owned.fold.next is not None:
            try:
                records = await self._backend.read(owned.partition, owned.fold.next)
            except WriteFailed as error:
                log.warning("partition %d: %s", owned.partition, error)
                return
            if not records or owned.dropped:
                return
            await self._apply(owned, records)

    async def assigned(self, partitions: set[int]) -> None:
        """The group has a new generation, which assigns these partitions to this process."""
        generation = self._backend.generation()
        self._assigned = partitions
        for partition, owned in list(self.owned.items()):
            if partition in partitions and owned.generation in (generation - 1, generation):
                owned.generation = generation  # nobody else can have owned it in between
            else:
                await self._drop(owned)
        self._metrics.assigned.set(len(partitions))

    async def revoked(self) -> None:
        """A rebalance begins: write what may help the next owner. Its end decides which partitions are kept."""
        await self._flush(REVOKE_BUDGET_S)

    async def stop(self) -> None:
        """Write everything; the process ends."""
        await self._flush(STOP_BUDGET_S)
        for owned in list(self.owned.values()):
            if owned.generation == self._backend.generation() and not self._backend.rebalancing():
                await self._commit(owned)
            await self._drop(owned)

    async def tick(self) -> None:
        """Write outputs and state that are due, repeat seeks without effect. To be called a few times a second."""
        if self._pulls and not self._backend.rebalancing():
            for partition in sorted(self._assigned - self.owned.keys()):
                await self._acquire(partition, self._backend.generation())
        now = self._clock()
        due: list[tuple[OwnedPartition, int | None]] = []
        for owned in list(self.owned.values()):
            fold = owned.fold
            if fold.next is None or owned.generation != self._backend.generation() or self._backend.rebalancing():
                continue
            if now - owned.commit_s >= COMMIT_INTERVAL_S:
                owned.commit_s = now
                await self._commit(owned)
            owned.ticks.append((now, fold.next))
            if self._pulls:
                await self._pull(owned)
            if owned.seek_offset == fold.next and now - owned.seek_s >= SEEK_PATIENCE_S:
                await self._seek_back(owned)
            before = self._state_due_before(owned, now)
            if before is not None and fold.oldest_change() >= before:
                before = None
            waited = now - owned.published_s
            urgent = fold.urgent and waited >= URGENT_INTERVAL_S
            if before is not None or urgent or waited >= self._intervals.publish_s:
                due.append((owned, before))
        await asyncio.gather(*(self._write(owned, before) for owned, before in due))

    def _state_due_before(self, owned: OwnedPartition, now: float) -> int | None:
        """The offset below which changes are so old that their state is to be written; None: none is."""
        if now - owned.state_s < SLICE_INTERVAL_S:
            return None
        before = None
        while owned.ticks and owned.ticks[0][0] <= now - self._intervals.state_s / 2:
            before = owned.ticks.popleft()[1]
        if before is not None:
            owned.ticks.appendleft((now - self._intervals.state_s / 2, before))
        return before

    async def _acquire(self, partition: int, generation: int) -> OwnedPartition | None:
        """The partition, restored if need be; None if it has another owner by now."""
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

    async def _restore(self, partition: int, generation: int) -> OwnedPartition | None:
        started = self._clock()
        try:
            session, items = await self._backend.open(partition)
        except Forbidden as error:
            self._backend.exit(USAGE_EXIT, str(error))
        except (Fenced, WriteFailed) as error:
            if generation == self._backend.generation():
                self._backend.exit(CHECKPOINT_EXIT, f"partition {partition}: its state cannot be read: {error}")
            return None
        fold, published = self._make_fold(partition), 0
        try:
            fold.restore(items)
        except UnreadableState as error:
            self._backend.exit(USAGE_EXIT, f"partition {partition}: {error}")
        if fold.next is None:
            first, done = await self._backend.start_offsets(partition)
            fold.begin(first, done)
        else:
            published = fold.done
        if partition in self._single_step:
            fold.single_step(*self._single_step[partition])
        if generation != self._backend.generation():
            await session.close()
            return None
        now = self._clock()
        self._metrics.restores.inc()
        self._metrics.restore_seconds.observe(now - started)
        log.info("partition %d: restored at offset %s in %.2f s", partition, fold.next, now - started)
        return OwnedPartition(partition, generation, fold, session, published_s=now, state_s=now, published=published)

    async def _apply(self, owned: OwnedPartition, records: Sequence[IncomingRecord]) -> None:
        before = owned.fold.next or 0
        try:
            owned.fold.apply(records)
        except EngineFailed as failure:
            await self._isolate(owned, failure)
            return
        applied = max((owned.fold.next or 0) - before, 0)
        self._metrics.records.inc(applied)
        until = self._single_step.get(owned.partition, (0, set()))[0]
        if applied and (owned.fold.next or 0) > until:
            self._single_step.pop(owned.partition, None)
            self._failures.pop(owned.partition, None)

    async def _isolate(self, owned: OwnedPartition, failure: EngineFailed) -> None:
        """Restore the partition and apply its records one by one; a record known to be bad becomes a dead letter."""
        log.error("partition %d: the engine raised at %s", owned.partition, failure, exc_info=failure.__cause__)
        self._metrics.engine_failures.inc()
        until, dead_letter = self._single_step.get(owned.partition, (0, set()))
        if len(failure.offsets) == 1:
            dead_letter = dead_letter | {failure.offsets[0]}
            self._failures[owned.partition] = self._failures.get(owned.partition, 0) + 1
            if self._failures[owned.partition] >= MAX_FAILURES:
                why = f"partition {owned.partition}: the engine raised on {MAX_FAILURES} records in a row"
                self._backend.exit(ENGINE_EXIT, why)
        self._single_step[owned.partition] = (max(until, failure.offsets[-1] + 1), dead_letter)
        generation = owned.generation
        await self._drop(owned)
        restored = await self._acquire(owned.partition, generation)
        if restored is not None and restored.fold.next is not None:
            await self._backend.seek(restored.partition, restored.fold.next)

    async def _seek_back(self, owned: OwnedPartition) -> None:
        """Records are missing before those that came: send the consumer back, or accept that they are gone."""
        expected, now = owned.fold.next, self._clock()
        assert expected is not None
        if owned.seek_offset == expected and now - owned.seek_s < SEEK_PATIENCE_S:
            return
        if owned.seek_offset == expected:
            first = await self._backend.first_offset(owned.partition)
            if self.owned.get(owned.partition) is not owned:
                return
            if first > expected:  # only the log itself shows that records are gone
                log.error("partition %d: offsets %d to %d are gone from the log", owned.partition, expected, first - 1)
                self._metrics.lost_records.inc(first - expected)
                owned.fold.skip(first)
                owned.seek_offset = None
                await self._backend.seek(owned.partition, first)
                return
            owned.seeks += 1
            if owned.seeks > MAX_SEEKS:
                why = f"partition {owned.partition}: the consumer does not go back to offset {expected}"
                self._backend.exit(SEEK_EXIT, why)
        owned.seek_offset, owned.seek_s = expected, now
        self._metrics.seeks.inc()
        await self._backend.seek(owned.partition, expected)

    async def _write(self, owned: OwnedPartition, state_before: int | None) -> bool:
        """One transaction: outputs with their marker, and a slice of state changed below an offset. Was it written?"""
        async with self._writers, owned.writing:
            if owned.dropped or owned.generation != self._backend.generation():
                return False
            fold, started = owned.fold, self._clock()
            records = fold.publish()
            owned.published_s = started
            if state_before is not None:
                owned.state_s = started
                records += fold.state(state_before, SLICE_BYTES)
            if not records:
                return False
            done = fold.done
            try:
                await owned.session.write(records)
            except (Fenced, WriteFailed) as error:
                await self._write_failed(owned, error)
                return False
            except BaseException:  # cancelled meanwhile: the next owner finds out whether it is published
                self._forget(owned)
                raise
            owned.published = done
            self._metrics.note_write(records, self._clock() - started)
            return True

    async def _commit(self, owned: OwnedPartition) -> None:
        """Commit what is published to the group. During a rebalance, or without its broker, this fails until later."""
        position = owned.published
        if position > owned.committed and await self._backend.commit(owned.partition, position):
            owned.committed = position

    async def _write_failed(self, owned: OwnedPartition, error: Exception) -> None:
        fenced = isinstance(error, Fenced)
        log.warning("partition %d: %s", owned.partition, error)
        await self._drop(owned)
        if owned.generation == self._backend.generation() and not self._backend.rebalancing():
            why = f"partition {owned.partition} belongs to another owner" if fenced else f"a write failed: {error}"
            self._backend.exit(FENCED_EXIT if fenced else CHECKPOINT_EXIT, why)

    async def _flush(self, budget_s: float) -> None:
        """Publish everything, and write as much state as time allows."""
        deadline = self._clock() + budget_s
        for owned in list(self.owned.values()):
            await self._write(owned, None)
        for owned in list(self.owned.values()):
            while self._clock() < deadline and owned.fold.oldest_change() < owned.fold.done:
                if not await self._write(owned, owned.fold.done):
                    break

    async def _drop(self, owned: OwnedPartition) -> None:
        """Forget a partition and end its session."""
        self._forget(owned)
        await owned.session.close()

    def _forget(self, owned: OwnedPartition) -> None:
        """Drop the partition's state from memory: it is no longer valid."""
        owned.dropped = True
        if self.owned.get(owned.partition) is owned:
            del self.owned[owned.partition]
