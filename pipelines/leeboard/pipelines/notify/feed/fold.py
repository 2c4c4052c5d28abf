"""The feed: from the topics `pages` and `alerts` to sinks, and offsets back when every sink is done with a record.

A pure machine: `step(event, now)` gives instructions, and whoever carries them out gives their answers back as events.
What must survive a restart is read back from the topics: router and sinks get the records before the committed offset
again, without sending them. After every change of the consumer group all that waits is forgotten, and the assigned
partitions restart from what is committed. Only the process with the partition of `pages` reports about leeboard itself.

    RoundStarted -> [CommitOffsets: stall check]
    Polled -> SendMessage, RecallMessage ... | a newer group: ClearQueues (restart)
    QueuesCleared -> WriteDeadLetter ... -> CommitOffsets -> ReadHistory ... -> following the newer group
    DeliveriesEnded -> WriteDeadLetter ...
    RoundEnded -> messages about leeboard itself, PausePartition, ResumePartition, CommitOffsets
"""

import hashlib
from collections import Counter, deque
from collections.abc import Collection, Hashable, Sequence
from typing import Literal

from leeboard.pipelines.notify.delivery.queue import MAX_QUEUE, Delivery
from leeboard.pipelines.notify.delivery.router import Router
from leeboard.pipelines.notify.messages.message import Message, Stream, read_message
from leeboard.pipelines.notify.messages.withhold import withhold
from leeboard.schemas import Refused
from msgspec import Struct

from . import instructions as do
from .dead_letters import DeadLetterQueue, undelivered, unreadable
from .events import (
    DeadLetterWritten,
    DeliveriesEnded,
    FeedEvent,
    FeedPartition,
    FeedRecord,
    GroupView,
    Heartbeat,
    HistoryBatch,
    HistoryFailed,
    HistoryRead,
    Instant,
    OffsetsCommitted,
    Polled,
    QueuesCleared,
    QueuesDrained,
    RecordRef,
    RoundEnded,
    RoundStarted,
    StopRequested,
)
from .offsets import GroupOffsets
from .progress import read_metadata
from .self_health import SelfHealth
from .settings import FeedSettings

#: most records of one poll; a topic is paused while a queue has less room than that
POLL_RECORDS = 50
#: what waits when the process is to end may still go out for so long; Kubernetes kills after 30 s
DRAIN_S = 10.0
#: a version that no group has
NO_GROUP = -1
CommitPurpose = Literal["routine", "stall check", "restart", "last"]


class _Restart(Struct):
    """A restart under way."""

    group: GroupView
    #: partitions that nobody else can have had meanwhile; what was done in them is committed first
    kept: frozenset[FeedPartition]
    #: still to be read back
    waiting: deque[FeedPartition]


class FeedFold:
    """See above. `may_send` may be asked by other threads; everything else belongs to one."""

    def __init__(self, settings: FeedSettings, now: Instant) -> None:
        self._settings = settings
        self.streams = settings.streams()
        self._router = Router(settings.notify)
        self._offsets = GroupOffsets(settings.notify.sinks)
        self._dead_letters = DeadLetterQueue()
        self._health = SelfHealth(settings.app_id, settings.notify.stalled_minutes, now)
        #: (sink, stream) -> messages that are queued there
        self._queued: Counter[tuple[str, Stream]] = Counter()
        self._paused: frozenset[FeedPartition] = frozenset()
        #: version of the group that is followed; nothing is sent while there is a newer one
        self._following = NO_GROUP
        #: of the group when partitions were assigned last
        self._generation = -1
        #: does this process report about leeboard itself? Until another process is known to have the pages
        self._reports_self = False
        self._restart: _Restart | None = None
        #: commits that are not answered
        self._commits: dict[int, CommitPurpose] = {}
        self._next_commit = 0
        self._commit_failing = False
        self._stopping = False
        #: monotonic clock: when the loop last came round, and until when attempts may begin without it
        self.round_s = self._alive_until_s = now.monotonic_s
        self._now = now
        self._out: list[do.Instruction] = []

    @property
    def partitions(self) -> list[FeedPartition]:
        """Those that are read."""
        return self._offsets.partitions

    @property
    def troubles(self) -> list[str]:
        """Troubles of leeboard itself that are open."""
        return [*self._health.troubles]

    def may_send(self, newest_version: int, now_s: float) -> bool:
        """May an attempt begin? Not if the process was frozen, or if another one may have its partitions."""
        return self._following == newest_version and now_s < self._alive_until_s

    def step(self, event: FeedEvent, now: Instant) -> list[do.Instruction]:
        """Apply an event; what has to be done, in this order."""
        self._now = now
        match event:
            case RoundStarted():
                self._start_round()
            case Polled():
                self._apply_poll(event)
            case DeliveriesEnded(deliveries):
                self._note_deliveries(deliveries)
                self._write_dead_letter()
            case RoundEnded(heartbeat):
                self._end_round(heartbeat)
            case OffsetsCommitted(number, error):
                self._note_commit(number, error)
            case DeadLetterWritten(error):
                self._note_dead_letter(error)
            case QueuesCleared(deliveries):
                self._note_deliveries(deliveries)
                self._queued.clear()
                self._router.forget()
                self._write_dead_letter()
            case HistoryBatch(_, values):
                self._recall_history(values)
            case HistoryRead():
                self._start_partition(event)
            case HistoryFailed(partition, error):
                self._log("warning", f"{partition.topic}/{partition.number} not read back, restarting again: {error}")
                self._offsets.keep(())
                self._restart = None
            case StopRequested():
                self._alive_until_s = now.monotonic_s + DRAIN_S
                self._out.append(do.DrainQueues(DRAIN_S))
            case QueuesDrained():
                self._finish_draining(event)
        out, self._out = self._out, []
        return out

    # ---- a round ----

    def _start_round(self) -> None:
        """A process that was frozen beyond its session may have been replaced: it asks the group before it goes on."""
        now_s = self._now.monotonic_s
        still_s = now_s - self.round_s
        self.round_s = now_s
        if still_s > self._settings.session_s and self._offsets.partitions:
            self._log("warning", f"the loop stood still for {still_s:.0f} s")
            self._commit("stall check")
        else:
            self._alive_until_s = now_s + self._settings.session_s

    def _apply_poll(self, polled: Polled) -> None:
        self._paused = polled.paused
        group = polled.group
        if group.version == self._following:
            for partition, records in polled.batches.items():
                for record in records:
                    self._apply_record(partition, record)
                self._offsets.advance(partition, polled.positions.get(partition, 0))
        elif group.partitions is not None or self._now.monotonic_s - group.since_s > self._settings.session_s:
            self._begin_restart(group)  # what was polled is read again

    def _apply_record(self, partition: FeedPartition, record: FeedRecord) -> None:
        """Hand one record to the sinks that it concerns."""
        if not self._offsets.is_next(partition, record.offset):
            return
        value = record.value or b""
        ref = RecordRef(partition, record.offset, hashlib.sha256(value).hexdigest(), len(value))
        try:
            message = read_message(value)
        except Refused as refused:
            letter = unreadable(value, refused, ref, payload=self._settings.keep_payload)
            if self._offsets.accept(ref, [letter.sink]):
                self._dead_letters.add(letter)
            return
        names = self._router.route(message)
        new = self._offsets.accept(ref, names)
        self._recall(message, [name for name in names if name not in new])
        self._send(message, new, ref, record.timestamp_ms / 1000)

    def _note_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Note what is done; what was dropped is done once its dead letter is written."""
        for delivery in deliveries:
            item, sink, outcome = delivery.item, delivery.sink, delivery.outcome
            message, ref = item.message, item.ticket
            self._queued[sink, message.stream] -= 1
            if outcome.result == "dropped":
                self._log("error", f"sink {sink}: {message.kind} {message.status} dropped: {outcome.reason}")
            if not isinstance(ref, RecordRef):  # about leeboard itself: in no topic
                continue
            if outcome.result == "dropped":
                self._dead_letters.add(undelivered(ref, sink, outcome))
            else:
                self._offsets.complete(ref, sink)

    def _end_round(self, heartbeat: Heartbeat) -> None:
        for message in self._health.step(heartbeat, self._now) if self._reports_self else []:
            self._log("warning", f"leeboard itself is {message.kind}: {message.status}")
            self._report_self(message)
        for partition in self._offsets.partitions:
            is_full = self._is_full(self.streams[partition.topic])
            if is_full and partition not in self._paused:
                self._log("warning", f"{partition.topic} is paused: a queue is full")
                self._out.append(do.PausePartition(partition))
            elif not is_full and partition in self._paused:
                self._out.append(do.ResumePartition(partition))
        is_pending = "routine" in self._commits.values()
        if not is_pending and self._offsets.due(self._noted_troubles(), self._now.monotonic_s):
            self._commit("routine")

    # ---- sending ----

    def _send(self, message: Message, sinks: Collection[str], ticket: Hashable, due_s: float) -> None:
        if sinks:
            self._queued.update((name, message.stream) for name in sinks)
            message = withhold(message, self._settings.notify.withhold)
            self._out.append(do.SendMessage(message, [*sinks], ticket, due_s))

    def _recall(self, message: Message, sinks: Collection[str]) -> None:
        if sinks:
            self._out.append(do.RecallMessage(withhold(message, self._settings.notify.withhold), [*sinks]))

    def _report_self(self, message: Message) -> None:
        self._send(message, self._router.route(message), None, self._now.wall_s)

    def _is_full(self, stream: Stream) -> bool:
        queued = [self._queued[name, stream] for name in self._settings.notify.sinks]
        return MAX_QUEUE - max([len(self._dead_letters), *queued]) < POLL_RECORDS

    def _write_dead_letter(self) -> None:
        """Write the first dead letter; in a restart, go on when there is none."""
        letter = self._dead_letters.first()
        if letter is not None:
            self._out.append(do.WriteDeadLetter(letter.reject))
        else:
            self._after_dead_letters()

    def _note_dead_letter(self, error: str | None) -> None:
        if error is not None:
            self._log("warning", f"dead letter not written, trying again: {error}")
            self._after_dead_letters()
            return
        letter = self._dead_letters.pop()
        self._offsets.complete(letter.ref, letter.sink)
        self._write_dead_letter()

    def _after_dead_letters(self) -> None:
        if self._restart is not None:
            self._commit_before_restart()
        elif self._stopping and self._offsets.partitions:
            self._commit("last")

    # ---- commits ----

    def _commit(self, purpose: CommitPurpose) -> None:
        number, self._next_commit = self._next_commit, self._next_commit + 1
        self._commits[number] = purpose
        offsets = self._offsets.commit(self._noted_troubles(), self._now.monotonic_s, self._now.wall_s)
        self._out.append(do.CommitOffsets(number, offsets, wait=purpose != "routine"))

    def _note_commit(self, number: int, error: str | None) -> None:
        purpose = self._commits.pop(number, None)
        if purpose is None:  # of before a restart
            return
        if error is not None:
            self._offsets.note_failure(self._now.monotonic_s)
        if purpose == "routine":
            if error is not None and not self._commit_failing:
                self._log("warning", f"offsets not committed, trying again: {error}")
            self._commit_failing = error is not None
        elif purpose == "stall check":
            # from the start of the round, not from now: the process may have been frozen since the group answered
            self._alive_until_s = self.round_s + self._settings.session_s
            if error is not None:
                self._log("warning", f"replaced meanwhile? restarting: {error}")
                self._following = NO_GROUP
        elif error is not None:
            self._log("warning", f"offsets not committed before the {purpose}: {error}")
        if purpose == "restart":
            self._read_back()

    def _noted_troubles(self) -> dict[FeedPartition, list[str]]:
        """What stands beside the offsets of the pages."""
        return {p: self.troubles for p in self._offsets.partitions if self.streams[p.topic] == "pages"}

    # ---- restart ----

    def _begin_restart(self, group: GroupView) -> None:
        """Forget everything; partitions of another group may have been somebody else's meanwhile.

        Between two assignments nothing is sent. When that lasts, a restart without partitions lets messages about
        leeboard itself go out.
        """
        partitions = group.partitions or frozenset()
        is_same = group.generation in (self._generation, self._generation + 1)
        self._restart = _Restart(group, partitions if is_same else frozenset(), deque(sorted(partitions)))
        self._commits.clear()
        self._out.append(do.ClearQueues())

    def _commit_before_restart(self) -> None:
        assert self._restart is not None
        self._offsets.keep(self._restart.kept)
        if self._offsets.partitions:
            self._commit("restart")
        else:
            self._read_back()

    def _read_back(self) -> None:
        """Restart from what is committed, one partition after the other."""
        assert self._restart is not None
        self._dead_letters.clear()
        self._offsets.keep(())
        self._next_partition()

    def _next_partition(self) -> None:
        assert self._restart is not None
        if self._restart.waiting:
            self._out.append(do.ReadHistory(self._restart.waiting[0]))
        else:
            self._follow(self._restart.group)

    def _recall_history(self, values: Sequence[bytes | None]) -> None:
        for value in values:
            try:
                message = read_message(value)
            except Refused:  # its dead letter was written when it was read first
                continue
            self._recall(message, self._router.route(message))

    def _start_partition(self, read: HistoryRead) -> None:
        assert self._restart is not None and read.partition == self._restart.waiting[0]
        metadata = read_metadata(read.metadata)
        self._offsets.start(read.partition, read.start, metadata)
        if self.streams[read.partition.topic] == "pages" and not self._reports_self:
            for message in self._health.restart(metadata.open, metadata.at, self._now):
                self._report_self(message)
        self._restart.waiting.popleft()
        self._next_partition()

    def _follow(self, group: GroupView) -> None:
        """The restart is done."""
        self._restart = None
        if group.partitions is not None:
            self._generation = group.generation
            self._reports_self = any(self.streams[partition.topic] == "pages" for partition in group.partitions)
            topics = sorted(partition.topic for partition in group.partitions)
            self._log("info", f"reporting {', '.join(topics) or 'nothing'}")
        if self._reports_self:
            for message in self._health.reminders(self._now):
                self._report_self(message)
        self._following = group.version

    # ---- the end ----

    def _finish_draining(self, drained: QueuesDrained) -> None:
        if not drained.empty:
            self._log("warning", "not everything could be sent in time; the rest is sent after the next start")
        self._alive_until_s = self._now.monotonic_s
        self._stopping = True
        self._note_deliveries(drained.deliveries)
        self._write_dead_letter()

    def _log(self, level: do.LogLevel, text: str) -> None:
        self._out.append(do.LogMessage(level, text))
