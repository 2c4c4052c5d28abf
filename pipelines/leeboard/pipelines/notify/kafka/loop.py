"""The loop of `leeboard notify`: it carries out what the fold says, and gives it the answers. Knows no client library.

README.md says what happens when the process ends between any two steps.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Protocol

from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics
from leeboard.pipelines.notify.delivery.queue import Delivery
from leeboard.pipelines.notify.feed import instructions as do
from leeboard.pipelines.notify.feed.events import (
    DeadLetterWritten,
    DeliveriesEnded,
    FeedEvent,
    FeedPartition,
    Heartbeat,
    HistoryBatch,
    HistoryFailed,
    HistoryRead,
    Instant,
    OffsetsCommitted,
    Polled,
    QueuesCleared,
    QueuesDrained,
    RoundEnded,
    RoundStarted,
    StopRequested,
)
from leeboard.pipelines.notify.feed.fold import FeedFold
from leeboard.pipelines.notify.messages.message import Message
from leeboard.schemas import Reject

log = logging.getLogger(__name__)
#: a loop that has not come round for so long is stuck: an attempt that is waited for takes 20 s, a dead letter 10 s
LOOP_STUCK_S = 60.0
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class FeedBroker(Protocol):
    """What the loop asks of Kafka. Errors of requests are answers, so that the fold decides what follows."""

    def start(self) -> None:
        """Begin to read the heartbeat."""

    def group_version(self) -> int:
        """Version of the newest `GroupView`; any thread may ask."""

    def poll(self) -> Polled:
        """New records, and the group. Raises kafka.errors.AuthorizationError: a right is lost."""

    def commit(self, request: do.CommitOffsets) -> str | None:
        """Commit and wait; None, or why that failed, also because the partitions are not ours any more."""

    def commit_async(self, request: do.CommitOffsets) -> None:
        """Commit without waiting; `finished_commits` has the answer."""

    def finished_commits(self) -> list[OffsetsCommitted]:
        """Answers since the last call."""

    def write_dead_letter(self, reject: Reject) -> str | None:
        """Write and wait; None, or why it is not known to be written."""

    def read_history(self, partition: FeedPartition) -> Iterator[HistoryBatch | HistoryRead | HistoryFailed]:
        """The records before the committed offset; then the client goes on from there."""

    def pause(self, partition: FeedPartition) -> None:
        """Read nothing more from a partition for now."""

    def resume(self, partition: FeedPartition) -> None:
        """Read from it again."""

    def heartbeat(self) -> Heartbeat:
        """What is known of the rest of leeboard; any thread may ask."""

    def close(self) -> None:
        """Leave the group."""


class Deliveries(Protocol):
    """What the loop asks of the sinks' queues: see `delivery.dispatcher.Dispatcher`."""

    def start(self) -> None:
        """Begin to deliver."""

    def submit(self, message: Message, names: Iterable[str], ticket: Hashable, due_s: float | None) -> None:
        """Queue a message at sinks."""

    def recall(self, message: Message, names: Iterable[str]) -> None:
        """Let sinks take note of what was sent before."""

    def deliveries(self) -> list[Delivery]:
        """What was delivered or dropped since the last call."""

    def clear(self) -> None:
        """Forget what waits; attempts that are being made end first."""

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False if that took too long."""

    def alive(self) -> bool:
        """Does every sink still have its thread?"""

    def stop(self) -> None:
        """End; what waits is left."""


class FeedLoop:
    """`leeboard notify` in normal operation, on the thread that calls `run`."""

    def __init__(
        self,
        fold: FeedFold,
        broker: FeedBroker,
        deliveries: Deliveries,
        metrics: NotifyMetrics,
        clock: Callable[[], Instant],
    ) -> None:
        self._fold = fold
        self._broker = broker
        self._deliveries = deliveries
        self._metrics = metrics
        self._clock = clock

    def live(self) -> str | None:
        """None, or why the process should be restarted."""
        late_s = self._clock().monotonic_s - self._fold.round_s
        if late_s > LOOP_STUCK_S:
            return f"the loop has been stuck for {late_s:.0f} s"
        return None if self._deliveries.alive() else "the thread of a sink has ended"

    def ready(self) -> str | None:
        """None, or why nothing can be sent now."""
        if not self._broker.heartbeat().connected:
            return "no broker answers"
        return None if self._fold.partitions else "no partition is assigned"

    def run(self, stop: threading.Event) -> None:
        """Report until stopped; then let what waits go out, commit, leave.

        Raises kafka.errors.AuthorizationError: a right is lost.
        """
        self._deliveries.start()
        self._broker.start()
        try:
            while not stop.is_set():
                self.run_round()
            self.finish()
        finally:
            self._deliveries.stop()
            self._broker.close()

    def run_round(self) -> None:
        """Once round: a poll, what it brought, what became of what was sent before."""
        self._step(RoundStarted())
        self._step(self._broker.poll())
        self._step(DeliveriesEnded(self._deliveries.deliveries()))
        for answer in self._broker.finished_commits():
            self._step(answer)
        self._step(RoundEnded(self._broker.heartbeat()))
        self._metrics.stalled.set("stalled" in self._fold.troubles)
        self._metrics.unreachable.set("unreachable" in self._fold.troubles)

    def finish(self) -> None:
        """Let what waits go out, and commit; nothing new is read."""
        self._step(StopRequested())

    def _step(self, event: FeedEvent) -> None:
        """Apply an event, and after it the answers to what followed, in order.

        History comes lazily: a batch is applied before the next one is read.
        """
        waiting: deque[Iterator[FeedEvent]] = deque([iter((event,))])
        while waiting:
            current = next(waiting[0], None)
            if current is None:
                waiting.popleft()
                continue
            for instruction in self._fold.step(current, self._clock()):
                if answers := self._carry_out(instruction):
                    waiting.append(iter(answers))

    def _carry_out(self, instruction: do.Instruction) -> Iterable[FeedEvent]:
        """Do what the fold says; the answers to it."""
        answers: Iterable[FeedEvent] = ()
        match instruction:
            case do.SendMessage(message, sinks, ticket, due_s):
                self._deliveries.submit(message, sinks, ticket, due_s)
            case do.RecallMessage(message, sinks):
                self._deliveries.recall(message, sinks)
            case do.ClearQueues():
                self._deliveries.clear()
                answers = [QueuesCleared(self._deliveries.deliveries())]
            case do.DrainQueues(timeout_s):
                is_empty = self._deliveries.drain(timeout_s)
                answers = [QueuesDrained(is_empty, self._deliveries.deliveries())]
            case do.CommitOffsets(number, _, wait=True):
                answers = [OffsetsCommitted(number, self._broker.commit(instruction))]
            case do.CommitOffsets():
                self._broker.commit_async(instruction)
            case do.WriteDeadLetter(reject):
                error = self._broker.write_dead_letter(reject)
                if error is None:
                    self._metrics.dead_letters.labels(reject.reason).inc()
                answers = [DeadLetterWritten(error)]
            case do.ReadHistory(partition):
                answers = self._broker.read_history(partition)
            case do.PausePartition(partition):
                self._broker.pause(partition)
            case do.ResumePartition(partition):
                self._broker.resume(partition)
            case do.LogMessage(level, text):
                log.log(_LEVELS[level], "%s", text)
        return answers
