"""A world for `notify`: topics in memory, a consumer group, receivers, and processes that run the real loop and fold.

Every process has a thread of its own, but only one runs at a time: a process stops at every request to its broker and
goes on when the driver says so. So one seed gives one history, and anything can happen between any two steps.
"""

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics
from leeboard.pipelines.notify.delivery.queue import MAX_QUEUE, Backoff, QueuedMessage, SinkDelivery, SinkQueue
from leeboard.pipelines.notify.feed.events import (
    ClockReading,
    FeedPartition,
    FeedRecord,
    GroupView,
    Heartbeat,
    HistoryBatch,
    HistoryFailed,
    HistoryRead,
    OffsetsCommitted,
    Polled,
    RecordRef,
)
from leeboard.pipelines.notify.feed.fold import FeedFold
from leeboard.pipelines.notify.feed.instructions import CommitOffsets
from leeboard.pipelines.notify.feed.settings import FeedSettings
from leeboard.pipelines.notify.kafka.loop import FeedLoop
from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.sinks import DELIVERED, Outcome
from leeboard.schemas import Reject
from msgspec.structs import replace

RETRY_S = 600.0
#: records of one poll
MOST_POLLED = 7
#: a process stops so often while it reads history back
HISTORY_STOP = 16
#: real seconds after which a process that does not come back is stuck
STUCK_S = 60.0


class Killed(BaseException):
    """The process is gone."""


@dataclass(frozen=True)
class Arrival:
    """A message at a receiver."""

    process: int
    #: version of the group that the process followed: a higher one after every restart
    following: int
    message: Message
    ref: RecordRef | None


@dataclass
class Inbox:
    """A receiver, behind every process's sink of that name."""

    down: bool = False
    arrivals: list[Arrival] = field(default_factory=list)
    #: records that it never takes
    refused: frozenset[tuple[FeedPartition, int]] = frozenset()


class NotifyWorld:
    """Topics, the group, receivers, processes and the clocks."""

    def __init__(
        self,
        settings: FeedSettings,
        logs: dict[FeedPartition, list[FeedRecord]],
        inboxes: dict[str, Inbox],
        on_commit: Callable[["NotifyWorld", CommitOffsets], None],
        seed: int,
    ) -> None:
        self.settings = settings
        self.logs = logs
        #: partition -> how many of its records are there
        self.written = dict.fromkeys(logs, 0)
        self.inboxes = inboxes
        self.on_commit = on_commit
        self.random = Random(seed)
        self.monotonic_s = 1000.0
        self.wall_s = 1_800_000_000.0
        self.away = False
        self.summaries = 0
        self.generation = 0
        self.unassigned = False
        self.committed: dict[FeedPartition, tuple[int, str]] = {}
        self.letters: list[Reject] = []
        #: (sink, partition, offset) that a sink answered for, and its process has seen the answer
        self.acknowledged: set[tuple[str, FeedPartition, int]] = set()
        #: what some process has dropped, be its dead letter written or not
        self.dropped: set[tuple[str, FeedPartition, int]] = set()
        self.processes: list[NotifyProcess] = []
        self.started = 0
        self.baton = threading.Semaphore(0)

    def now(self) -> ClockReading:
        """Both clocks."""
        return ClockReading(self.monotonic_s, self.wall_s)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.monotonic_s += seconds
        self.wall_s += seconds

    def end(self, partition: FeedPartition) -> int:
        """The offset behind the newest record."""
        written = self.written[partition]
        return self.logs[partition][written - 1].offset + 1 if written else 0

    def records(self, partition: FeedPartition, first: int, most: int) -> list[FeedRecord]:
        """Records from an offset on."""
        there = self.logs[partition][: self.written[partition]]
        return [record for record in there if record.offset >= first][:most]

    def start(self) -> "NotifyProcess":
        """A new process, which joins the group."""
        self.started += 1
        process = NotifyProcess(self, self.started)
        self.processes.append(process)
        self.revoke()
        return process

    def kill(self, process: "NotifyProcess") -> None:
        """End a process where it stands."""
        process.dead = True
        process.go_on()
        self.processes.remove(process)
        self.revoke()

    def revoke(self) -> None:
        """A rebalance begins."""
        for process in self.processes:
            if process.silent_since_s is None:
                process.change(None)
        self.unassigned = True

    def assign(self) -> None:
        """The rebalance ends: partitions are dealt out; who is frozen or cut off is waited for, then thrown out."""
        self.generation += 1
        for process in self.processes:
            if process.silent_since_s is not None:
                late_s = process.silent_since_s + self.settings.session_s + 0.1 - self.monotonic_s
                self.advance(max(late_s, 0.0))
                process.is_member = False
        members = [process for process in self.processes if process.silent_since_s is None]
        self.random.shuffle(members)
        dealt: dict[int, set[FeedPartition]] = {process.number: set() for process in members}
        for place, partition in enumerate(sorted(self.logs)):
            if members:
                dealt[members[place % len(members)].number].add(partition)
        for process in members:
            process.is_member, process.known_generation = True, self.generation
            mine = dealt[process.number]
            process.positions = {p: self.committed.get(p, (0, ""))[0] for p in mine}
            process.paused &= mine
            process.change(frozenset(mine))
        self.unassigned = False


class SimulatedDeliveries:
    """Real queues, and attempts that the driver begins and ends. See `loop.Deliveries`."""

    def __init__(self, process: "NotifyProcess") -> None:
        self._process = process
        self._world = process.world
        self.queues = {name: SinkQueue(Backoff(RETRY_S)) for name in self._world.inboxes}
        #: sink -> an attempt that is being made
        self.attempts: dict[str, tuple[QueuedMessage, Outcome]] = {}
        self._ended: list[SinkDelivery] = []

    def start(self) -> None:
        """See `loop.Deliveries`."""

    def submit(self, message: Message, names: Iterable[str], ticket: Hashable, due_s: float | None) -> None:
        """See `loop.Deliveries`."""
        now = self._world.now()
        for name in names:
            self.queues[name].put(QueuedMessage(message, ticket, now.monotonic_s, due_s or now.wall_s))
            assert self.queues[name].depth(message.stream) <= MAX_QUEUE

    def recall(self, message: Message, names: Iterable[str]) -> None:
        """See `loop.Deliveries`; receivers here remember nothing of a process."""

    def deliveries(self) -> list[SinkDelivery]:
        """See `loop.Deliveries`."""
        found, self._ended = self._ended, []
        return found

    def clear(self) -> None:
        """See `loop.Deliveries`: attempts that are being made end first."""
        self._process.ask("clear")
        for name in self.queues:
            if name in self.attempts:
                self.finish(name)
            self.queues[name].clear()

    def drain(self, timeout_s: float) -> bool:
        """See `loop.Deliveries`."""
        until_s = self._world.monotonic_s + timeout_s
        while any(queue.depth("pages") + queue.depth("notices") for queue in self.queues.values()):
            if self._world.monotonic_s >= until_s:
                return False
            self._process.ask("drain")
        return True

    def alive(self) -> bool:
        """See `loop.Deliveries`."""
        return True

    def stop(self) -> None:
        """See `loop.Deliveries`: attempts that are being made end first."""
        for name in [*self.attempts] if not self._process.dead else []:
            self.finish(name)

    def begin(self, name: str) -> bool:
        """Begin an attempt if one is due: the message arrives, or does not; the answer is on its way."""
        process, world, inbox = self._process, self._world, self._world.inboxes[name]
        if name in self.attempts or not process.fold.may_send(process.view.version, world.monotonic_s):
            return False
        item = self.queues[name].next_due(world.monotonic_s)
        if item is None:
            return False
        ref = item.ticket if isinstance(item.ticket, RecordRef) else None
        outcome, arrives = self._answer(inbox, ref)
        if arrives:
            inbox.arrivals.append(Arrival(process.number, process.view.version, item.message, ref))
        self.attempts[name] = (item, outcome)
        return True

    def _answer(self, inbox: Inbox, ref: RecordRef | None) -> tuple[Outcome, bool]:
        """What the receiver answers, and whether the message arrives."""
        if ref is not None and (ref.partition, ref.offset) in inbox.refused:
            return Outcome("dropped", "HTTP 400"), False
        if inbox.down:
            return Outcome("retry", "no answer", answered=False), False
        chance = self._world.random.random()
        if chance < 0.05:
            return Outcome("retry", "no answer: the message has arrived", answered=False), True
        if chance < 0.10:
            return Outcome("retry", "HTTP 503"), False
        if chance < 0.12:
            return Outcome("retry", "HTTP 429", after_s=5.0), False
        return DELIVERED, True

    def finish(self, name: str) -> None:
        """The answer is there: as `SinkWorker` does."""
        item, outcome = self.attempts.pop(name)
        for ended, final in self.queues[name].note_outcome(item, outcome, self._world.monotonic_s):
            if isinstance(ended.ticket, RecordRef):
                world = self._world
                which = world.acknowledged if final.result == "delivered" else world.dropped
                which.add((name, ended.ticket.partition, ended.ticket.offset))
            self._ended.append(SinkDelivery(ended, name, final))
            self.queues[name].remove(ended)


class NotifyProcess:
    """A process of `leeboard notify`; to its loop it is the broker as well (`loop.FeedBroker`)."""

    def __init__(self, world: NotifyWorld, number: int) -> None:
        self.world = world
        self.number = number
        self.dead = self.frozen = self.cut = self.ended = False
        #: frozen or cut off, since when
        self.silent_since_s: float | None = None
        self.is_member = False
        self.known_generation = -1
        self.view = GroupView(0, None, world.monotonic_s)
        self.positions: dict[FeedPartition, int] = {}
        self.paused: set[FeedPartition] = set()
        #: the next request fails
        self.fails = False
        #: the next poll brings some records again
        self.repeats = 0
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.waits_for = "its start"
        self._turn = threading.Semaphore(0)
        self._commits: list[OffsetsCommitted] = []
        self.deliveries = SimulatedDeliveries(self)
        self.fold = FeedFold(world.settings, world.now())
        self.metrics = NotifyMetrics(world.inboxes)
        self._loop = FeedLoop(self.fold, self, self.deliveries, self.metrics, world.now)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self.dead:
                self._loop.run(self.stop)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.ended = True
        self.world.baton.release()

    def go_on(self) -> None:
        """Let the process go on to its next request, or to its end."""
        self._turn.release()
        assert self.world.baton.acquire(timeout=STUCK_S), f"process {self.number} is stuck after {self.waits_for}"
        if self.error is not None:
            raise AssertionError(f"process {self.number} failed") from self.error

    def ask(self, what: str) -> bool:
        """Wait until the driver lets the process go on; True if this request fails."""
        if self.dead:
            raise Killed
        self.waits_for = what
        self.world.baton.release()
        self._turn.acquire()
        if self.dead:
            raise Killed
        fails, self.fails = self.fails, False
        return fails or self.world.away or self.cut

    def change(self, partitions: frozenset[FeedPartition] | None) -> None:
        """The client learns what the group says."""
        self.view = GroupView(self.view.version + 1, partitions, self.world.monotonic_s)

    # ---- loop.FeedBroker ----

    def start(self) -> None:
        """See `loop.FeedBroker`."""

    def group_version(self) -> int:
        """See `loop.FeedBroker`."""
        return self.view.version

    def poll(self) -> Polled:
        """See `loop.FeedBroker`."""
        batches: dict[FeedPartition, list[FeedRecord]] = {}
        if self.ask("poll"):
            self.world.advance(0.2)
        elif not self.is_member:
            if self.view.partitions is not None:  # the group has gone on without it
                self.change(None)
            if not self.world.unassigned:
                self.world.revoke()
        else:
            for partition in sorted((self.view.partitions or frozenset()) - self.paused):
                first = max(self.positions[partition] - self.repeats, 0)
                records = self.world.records(partition, first, self.world.random.randint(1, MOST_POLLED))
                if records:
                    batches[partition] = records
                    self.positions[partition] = max(self.positions[partition], records[-1].offset + 1)
            self.repeats = 0
        polled = Polled(
            replace(self.view, generation=self.known_generation),
            batches,
            {p: self.positions[p] for p in batches},
            frozenset(self.paused),
        )
        self.ask("what it polled")
        return polled

    def commit(self, request: CommitOffsets) -> str | None:
        """See `loop.FeedBroker`; the group's coordinator takes it from its members only."""
        if self.ask("commit"):
            return "no broker answers"
        if not self.is_member or self.known_generation != self.world.generation:
            return "not a member of this generation"
        if self.world.unassigned and self.world.random.random() < 0.5:
            return "a rebalance is in progress"
        self.world.on_commit(self.world, request)
        self.world.committed |= request.offsets
        return "the answer is lost" if self.ask("the answer to a commit") else None

    def commit_async(self, request: CommitOffsets) -> None:
        """See `loop.FeedBroker`."""
        self._commits.append(OffsetsCommitted(request.number, self.commit(request)))

    def finished_commits(self) -> list[OffsetsCommitted]:
        """See `loop.FeedBroker`."""
        finished = [] if self.world.random.random() < 0.3 else self._commits
        self._commits = self._commits[len(finished) :]
        return finished

    def write_dead_letter(self, reject: Reject) -> str | None:
        """See `loop.FeedBroker`."""
        if self.ask("dead letter"):
            return "no broker answers"
        self.world.letters.append(reject)
        return "the answer is lost" if self.ask("the answer to a dead letter") else None

    def read_history(self, partition: FeedPartition) -> Iterator[HistoryBatch | HistoryRead | HistoryFailed]:
        """See `loop.FeedBroker`."""
        if self.ask("committed offsets"):
            yield HistoryFailed(partition, "no broker answers")
            return
        start, metadata = self.world.committed.get(partition, (0, ""))
        for place, record in enumerate(self.world.records(partition, 0, 1 << 20)):
            if record.offset >= start:
                break
            if place % HISTORY_STOP == 0 and self.ask("history"):
                yield HistoryFailed(partition, "nothing came")
                return
            yield HistoryBatch(partition, [record.value])
        self.ask("seek")
        if partition not in (self.view.partitions or ()):
            yield HistoryFailed(partition, "unassigned partition")
            return
        self.positions[partition] = start
        yield HistoryRead(partition, start, metadata)

    def pause(self, partition: FeedPartition) -> None:
        """See `loop.FeedBroker`."""
        self.paused.add(partition)

    def resume(self, partition: FeedPartition) -> None:
        """See `loop.FeedBroker`."""
        self.paused.discard(partition)

    def heartbeat(self) -> Heartbeat:
        """See `loop.FeedBroker`."""
        return Heartbeat(connected=not (self.world.away or self.cut), summaries=self.world.summaries)

    def close(self) -> None:
        """See `loop.FeedBroker`."""
