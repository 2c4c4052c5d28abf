"""The thread of one sink: it takes messages from the sink's queue, makes the attempts, and reports outcomes."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from leeboard.pipelines.notify.messages.message import Message, Stream
from leeboard.pipelines.notify.sinks import MessageSink, Outcome

from .queue import Backoff, Delivery, QueuedMessage, SinkQueue

log = logging.getLogger(__name__)
#: a thread that waits checks so often, by the real clock
WAKE_S, MIN_WAIT_S = 0.2, 0.005


class AttemptObserver(Protocol):
    """Is called for every attempt."""

    def attempted(self, sink: str, outcome: Outcome, seconds: float) -> None:
        """An attempt was made, or a message given up."""


class SinkWorker(threading.Thread):
    """Delivers to one sink. No attempt begins while `may_send` says no; `clock` is monotonic."""

    def __init__(
        self,
        name: str,
        sink: MessageSink,
        backoff: Backoff,
        report: Callable[[Delivery], None],
        observer: AttemptObserver,
        may_send: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(name=f"sink-{name}", daemon=True)
        self.sink_name = name
        self._sink = sink
        self._report = report
        self._observer = observer
        self._may_send = may_send
        self._clock = clock
        self._changed = threading.Condition()
        #: guarded by `_changed`
        self._queue = SinkQueue(backoff)
        #: held while an attempt is made
        self._attempting = threading.Lock()
        self._stopping = False
        self._refresh_at_s = clock() + sink.refresh_s if sink.refresh_s is not None else None

    def put(self, item: QueuedMessage) -> None:
        """Queue a message behind the others of its incident."""
        with self._changed:
            self._queue.put(item)
            self._changed.notify_all()

    def depth(self, stream: Stream) -> int:
        """Messages of a stream that wait."""
        return self._queue.depth(stream)

    def oldest_s(self) -> float | None:
        """Wall clock time at which the oldest message was due; None if none waits."""
        with self._changed:
            return self._queue.oldest_s()

    def recall(self, message: Message) -> None:
        """See `MessageSink.recall`."""
        with self._attempting:
            self._sink.recall(message)

    def clear(self) -> None:
        """Forget what waits, and what the sink remembers; an attempt that is being made ends first, and is reported."""
        with self._attempting:
            with self._changed:
                self._queue.clear()
            self._sink.forget()

    def stop(self) -> None:
        """End after the attempt that is being made."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        """Deliver until stopped."""
        while True:
            with self._changed:
                item = self._next()
                while item is None and not self._stopping and not self._refresh_due():
                    self._changed.wait(min(WAKE_S, max(self._queue.not_before_s - self._clock(), MIN_WAIT_S)))
                    item = self._next()
                if self._stopping:
                    break
            with self._attempting:
                if item is None:
                    self._refresh()
                else:
                    self._attempt(item)
        self._sink.close()

    def _next(self) -> QueuedMessage | None:
        return self._queue.next_due(self._clock()) if self._may_send() else None

    def _attempt(self, item: QueuedMessage) -> None:
        """One attempt, and what follows from it."""
        with self._changed:
            if not self._queue.holds(item):  # cleared in between
                return
        began_s = self._clock()
        try:
            outcome = self._sink.deliver(item.message)
        except Exception as error:
            log.exception("sink %s: a defect of leeboard; the message is tried again", self.sink_name)
            outcome = Outcome("retry", f"defect: {type(error).__name__}")
        now_s = self._clock()
        with self._changed:
            failed_before = self._queue.failures
            ended = self._queue.note_outcome(item, outcome, now_s)
        if outcome.result == "retry" and failed_before == 0:
            log.warning("sink %s: %s; trying again", self.sink_name, outcome.reason)
        elif outcome.result != "retry" and failed_before:
            log.info("sink %s answers again after %d failures", self.sink_name, failed_before)
        self._observer.attempted(self.sink_name, outcome, now_s - began_s)
        for each, final in ended:
            if final is not outcome:
                self._observer.attempted(self.sink_name, final, 0.0)
            self._report(Delivery(each, self.sink_name, final))
            with self._changed:
                self._queue.remove(each)

    def _refresh_due(self) -> bool:
        return self._refresh_at_s is not None and self._clock() >= self._refresh_at_s and self._may_send()

    def _refresh(self) -> None:
        """Send again what has to be repeated; a failure is made good by the next time."""
        if not self._refresh_due():
            return
        assert self._sink.refresh_s is not None
        began_s = self._clock()
        self._refresh_at_s = began_s + self._sink.refresh_s
        try:
            outcome = self._sink.refresh()
        except Exception:
            log.exception("sink %s: a defect of leeboard", self.sink_name)
            return
        if outcome.result != "delivered":
            self._observer.attempted(self.sink_name, outcome, self._clock() - began_s)
