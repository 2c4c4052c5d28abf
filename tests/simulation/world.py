"""A broker in memory, processes that die, and a driver that chooses by a seed what happens next."""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from leeboard.pipelines.kafka.settings import TopicSettings
from leeboard.pipelines.runtime.cluster import Fenced
from leeboard.pipelines.runtime.fold import Fold, Headers, Send
from leeboard.pipelines.runtime.metrics import Meters
from leeboard.pipelines.runtime.ownership import Intervals, Stage
from prometheus_client import CollectorRegistry

#: a process that waits longer than this many turns of the loop is stuck
QUIET_TURNS = 40
INTERVALS = Intervals(publish_s=3.0, state_s=8.0)
#: what one read gives at most
READ_RECORDS = 7


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a log, as `fold.Incoming` asks for."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = 0


class Exited(BaseException):
    """A process ended itself."""


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
    outputs: list[Send] = field(default_factory=list)
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
        #: no faults any more: every question is answered with yes
        self.calm = False

    async def ask(self, process: "Process", what: str) -> None:
        """Wait until the driver lets the process go on; who is dead does nothing any more."""
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
        """Let everything run that can."""
        for _ in range(QUIET_TURNS):
            await asyncio.sleep(0)

    def start(self) -> "Process":
        """A new process."""
        process = Process(self)
        self.processes.append(process)
        return process

    def kill(self, process: "Process") -> None:
        """End a process where it stands; what it has not committed is gone."""
        process.alive = False
        for task in process.tasks:
            task.cancel()
        for question in [q for q in self.questions if q.process is process]:
            self.questions.remove(question)
        self.processes.remove(process)

    def answer(self, question: Question, error: BaseException | None = None) -> None:
        """Let a process go on, or give it an error."""
        self.questions.remove(question)
        if not question.answer.done():
            if error is None:
                question.answer.set_result(None)
            else:
                question.answer.set_exception(error)

    def rebalance(self) -> None:
        """A new generation: partitions are dealt out among the processes that are there and awake."""
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
            process.run(process.stage.assigned(set(process.mine)))


class SimulatedSession:
    """The right to write for one partition, until somebody else opens it."""

    def __init__(self, world: World, process: "Process", partition: int, epoch: int) -> None:
        self._world = world
        self._process = process
        self._log = world.logs[partition]
        self._epoch = epoch

    async def write(self, sends: Sequence[Send]) -> None:
        """All or nothing, with everything that can happen on the way."""
        await self._world.ask(self._process, "begin")
        self._check()
        await self._world.ask(self._process, "send")
        self._check()
        for send in sends:
            if send.topic == self._world.state_topic:
                assert send.key is not None
                self._log.state.append((send.key, send.value))
            else:
                self._log.outputs.append(send)
        await self._world.ask(self._process, "committed")

    async def close(self) -> None:
        """Give it up."""

    def _check(self) -> None:
        if self._log.epoch != self._epoch:
            raise Fenced("somebody else has opened the partition")


class Process:
    """A worker process: a `Stage`, and itself as the stage's `Cluster`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.frozen = False
        self.forming = False
        self.known_generation = 0
        self.mine: set[int] = set()
        self.positions: dict[int, int] = {}
        self.busy: set[int] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self.exit_codes: list[int] = []
        meters = Meters("watch", TopicSettings(), CollectorRegistry())
        self.stage = Stage(self, world.make_fold, INTERVALS, meters, lambda: world.now_s, pulls=world.pulls)

    def generation(self) -> int:
        """See `cluster.Cluster`: what this process knows of it."""
        return self.known_generation

    def rebalancing(self) -> bool:
        """See `cluster.Cluster`."""
        return self.forming

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
        """See `cluster.Cluster`."""
        await self.world.ask(self, "read on")
        log = self.world.logs[partition]
        place = bisect_left(log.records, offset, key=lambda record: record.offset)
        return log.records[place : place + READ_RECORDS]

    async def first_offset(self, partition: int) -> int:
        """See `cluster.Cluster`."""
        await self.world.ask(self, "first_offset")
        return self.world.logs[partition].first

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """See `cluster.Cluster`."""
        first = self.world.logs[partition].first
        return first, first

    async def seek(self, partition: int, offset: int) -> None:
        """See `cluster.Cluster`."""
        await self.world.ask(self, "seek")
        self.positions[partition] = offset

    async def commit(self, partition: int, offset: int) -> bool:
        """See `cluster.Cluster`; the group's coordinator takes it from its members only."""
        await self.world.ask(self, "commit")
        taken = self.known_generation == self.world.generation and partition in self.mine
        if taken:
            self.world.logs[partition].committed = offset
        return taken

    def exit(self, code: int, why: str) -> NoReturn:
        """See `cluster.Cluster`."""
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
        """Give the stage the next records of a partition; `skip`: so many too late (a defect of consumers)."""
        log = self.world.logs[partition]
        at = max(self.positions.get(partition, 0), log.first)
        place = bisect_left(log.records, at, key=lambda record: record.offset) + skip
        batch = log.records[place : place + count]
        if not batch or partition in self.busy:
            return
        self.positions[partition] = batch[-1].offset + 1
        self.busy.add(partition)

        async def take() -> None:
            try:
                await self.stage.take(partition, batch, self.known_generation)
            finally:
                self.busy.discard(partition)

        self.run(take())
