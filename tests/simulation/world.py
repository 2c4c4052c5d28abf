"""A simulated broker in memory, and worker processes that can be killed at every await."""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from leeboard.pipelines.runtime.backend import Fenced
from leeboard.pipelines.runtime.fold import Fold, OutgoingRecord
from leeboard.pipelines.runtime.metrics import StageMetrics
from leeboard.pipelines.runtime.ownership import PartitionOwner, WriteIntervals
from leeboard.pipelines.topics import RecordHeaders, TopicSettings
from prometheus_client import CollectorRegistry

#: turns of the event loop until every process waits for the driver
SETTLE_TURNS = 40
INTERVALS = WriteIntervals(publish_s=3.0, state_s=8.0)
#: most records of one read
READ_RECORDS = 7


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a log, with the attributes of `fold.IncomingRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders = ()
    timestamp: int = 0


class Exited(BaseException):
    """A process has called `exit`."""


@dataclass(slots=True)
class Question:
    """A point at which a process waits for the driver."""

    what: str
    process: "Process"
    answer: "asyncio.Future[None]"


@dataclass
class Log:
    """One partition: its records, its state as committed, and who may write."""

    records: list[Record]
    first: int = 0
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    outputs: list[OutgoingRecord] = field(default_factory=list)
    epoch: int = 0
    committed: int = 0


class World:
    """Logs by partition, processes, and the clock."""

    def __init__(
        self,
        logs: dict[int, list[Record]],
        make_fold: Callable[[int], Fold],
        seed: int,
        state_topic: str,
        *,
        pulls: bool = False,
    ) -> None:
        self.logs = {partition: Log(records) for partition, records in logs.items()}
        self.make_fold = make_fold
        self.random = random.Random(seed)
        self.state_topic = state_topic
        self.pulls = pulls
        self.now_s = 0.0
        self.generation = 0
        self.questions: list[Question] = []
        self.processes: list[Process] = []
        #: no faults any more: every question is answered at once
        self.calm = False

    async def ask(self, process: "Process", what: str) -> None:
        """Wait until the driver lets the process go on; a dead process is cancelled."""
        if not process.alive:
            raise asyncio.CancelledError
        if self.calm and not process.frozen:
            await asyncio.sleep(0)
            return
        question = Question(what, process, asyncio.get_running_loop().create_future())
        self.questions.append(question)
        await question.answer
        if not process.alive:
            raise asyncio.CancelledError

    async def settle(self) -> None:
        """Run every task until it waits."""
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    def start(self) -> "Process":
        """A new process."""
        process = Process(self)
        self.processes.append(process)
        return process

    def kill(self, process: "Process") -> None:
        """End a process at its current await; what it has not committed is gone."""
        process.alive = False
        for task in process.tasks:
            task.cancel()
        for question in [q for q in self.questions if q.process is process]:
            self.questions.remove(question)
        self.processes.remove(process)

    def answer(self, question: Question, error: BaseException | None = None) -> None:
        """Let a process go on, or raise an error in it."""
        self.questions.remove(question)
        if not question.answer.done():
            if error is None:
                question.answer.set_result(None)
            else:
                question.answer.set_exception(error)

    def rebalance(self) -> None:
        """Start a new generation: partitions are assigned to the processes that are not frozen."""
        self.generation += 1
        members = [process for process in self.processes if not process.frozen]
        self.random.shuffle(members)
        for process in self.processes:
            if not process.frozen:
                process.known_generation = self.generation
                process.mine = set()
        for k, partition in enumerate(sorted(self.logs)):
            if members:
                owner = members[k % len(members)]
                owner.mine.add(partition)
        for process in members:
            process.positions = {p: self.logs[p].committed for p in process.mine}
            process.run(process.owner.assigned(set(process.mine)))


class SimulatedSession:
    """The `PartitionSession` of one partition, until somebody else opens it."""

    def __init__(self, world: World, process: "Process", partition: int, epoch: int) -> None:
        self._world = world
        self._process = process
        self._log = world.logs[partition]
        self._epoch = epoch

    async def write(self, records: Sequence[OutgoingRecord]) -> None:
        """Write all or nothing; the driver may let it fail at three points."""
        await self._world.ask(self._process, "begin")
        self._check()
        await self._world.ask(self._process, "send")
        self._check()
        for record in records:
            if record.topic == self._world.state_topic:
                assert record.key is not None
                self._log.state.append((record.key, record.value))
            else:
                self._log.outputs.append(record)
        await self._world.ask(self._process, "committed")

    async def close(self) -> None:
        """Do nothing: the next `open` fences this session."""

    def _check(self) -> None:
        if self._log.epoch != self._epoch:
            raise Fenced("somebody else has opened the partition")


class Process:
    """A worker process: a `PartitionOwner`, and itself as its `StageBackend`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.frozen = False
        self.in_rebalance = False
        self.known_generation = 0
        self.mine: set[int] = set()
        self.positions: dict[int, int] = {}
        self.busy: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self.exit_codes: list[int] = []
        metrics = StageMetrics("watch", TopicSettings(), CollectorRegistry())
        self.owner = PartitionOwner(self, world.make_fold, INTERVALS, metrics, lambda: world.now_s, pulls=world.pulls)

    def generation(self) -> int:
        """See `backend.StageBackend`: the generation that this process knows."""
        return self.known_generation

    def rebalancing(self) -> bool:
        """See `backend.StageBackend`."""
        return self.in_rebalance

    async def open(self, partition: int) -> tuple[SimulatedSession, list[tuple[bytes, bytes | None]]]:
        """Fence, then read."""
        await self.world.ask(self, "open")
        log = self.world.logs[partition]
        log.epoch += 1
        epoch = log.epoch
        await self.world.ask(self, "read")
        newest: dict[bytes, bytes | None] = {}
        for key, value in log.state:
            newest.pop(key, None)
            if value is not None:
                newest[key] = value
        return SimulatedSession(self.world, self, partition, epoch), list(newest.items())

    async def read(self, partition: int, offset: int) -> list[Record]:
        """See `backend.StageBackend`."""
        await self.world.ask(self, "read on")
        log = self.world.logs[partition]
        index = bisect_left(log.records, offset, key=lambda record: record.offset)
        return log.records[index : index + READ_RECORDS]

    async def first_offset(self, partition: int) -> int:
        """See `backend.StageBackend`."""
        await self.world.ask(self, "first_offset")
        return self.world.logs[partition].first

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """See `backend.StageBackend`."""
        first = self.world.logs[partition].first
        return first, first

    async def seek(self, partition: int, offset: int) -> None:
        """See `backend.StageBackend`."""
        await self.world.ask(self, "seek")
        self.positions[partition] = offset

    async def commit(self, partition: int, offset: int) -> bool:
        """See `backend.StageBackend`; the group's coordinator accepts it from its members only."""
        await self.world.ask(self, "commit")
        accepted = self.known_generation == self.world.generation and partition in self.mine
        if accepted:
            self.world.logs[partition].committed = offset
        return accepted

    def exit(self, code: int, why: str) -> NoReturn:
        """See `backend.StageBackend`."""
        self.exit_codes.append(code)
        raise Exited(f"{code}: {why}")

    def run(self, coroutine: Coroutine[None, None, None]) -> None:
        """Start something that this process does; when it exits, the process is gone."""

        async def guarded() -> None:
            try:
                await coroutine
            except Exited:
                if self in self.world.processes:
                    self.world.kill(self)
            except asyncio.CancelledError:
                pass

        self.tasks.append(asyncio.get_running_loop().create_task(guarded()))

    def deliver(self, partition: int, count: int, skip: int = 0) -> None:
        """Deliver the next records of a partition; `skip`: so many are left out before them (a defect of consumers)."""
        log = self.world.logs[partition]
        at = max(self.positions.get(partition, 0), log.first)
        index = bisect_left(log.records, at, key=lambda record: record.offset) + skip
        batch = log.records[index : index + count]
        if not batch or partition in self.busy:
            return
        self.positions[partition] = batch[-1].offset + 1
        self.busy.add(partition)

        async def deliver_batch() -> None:
            try:
                await self.owner.deliver(partition, batch, self.known_generation)
            finally:
                self.busy.discard(partition)

        self.run(deliver_batch())
