"""The thread of one sink: its queue, its order, its retries.

Messages go out in their order, pages before notices. One that was not taken goes behind the other incidents, and the
sink pauses; so one message that a receiver cannot stomach does not hold up the rest, and a receiver that is down is
asked once a pause. What has waited for its whole time when an attempt fails is given up.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from leeboard.pipelines.notify.messages.message import Message, Stream
from leeboard.pipelines.notify.sinks import Outcome, Sink
from msgspec import Struct

log = logging.getLogger(__name__)
#: messages that wait at a sink, of each stream: 1,000 x at most 100 KB = 100 MB; what is beyond stays in the topic.
#: Pages fill it in years; notices of 10,000 scopes (two a week and scope, some updates) in three hours
MAX_QUEUE = 1000
#: a thread that waits looks up so often
LOOK_S, MIN_WAIT_S = 0.2, 0.005


class Pace(Struct, frozen=True):
    """Pauses of a sink after failures in a row: first_s, then doubling up to most_s. A message has retry_s in all.

    No chance in it: a test and a person can foretell it, and one process asks one receiver.
    """

    retry_s: float
    first_s: float = 1.0
    #: a page waits at most so long after a receiver has come back
    most_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row, 1 or more."""
        return float(min(self.first_s * 2.0 ** min(failures - 1, 30), self.most_s))


class Item(Struct, eq=False):
    """A message that waits."""

    message: Message
    #: what the caller knows it by; told back when it is settled
    ticket: Hashable
    #: monotonic clock
    taken_s: float
    #: wall clock: since when it waits to be told, in this process or an earlier one
    since_s: float
    attempts: int = 0
    #: in the queue: the lowest of those that stand first in their incident goes next
    place: int = 0


class Observer(Protocol):
    """Is told of every attempt."""

    def attempted(self, sink: str, outcome: Outcome, seconds: float) -> None:
        """An attempt was made, or a message given up."""


Settled = Callable[[Item, str, Outcome], None]


class Worker(threading.Thread):
    """Delivers to one sink."""

    def __init__(
        self, name: str, sink: Sink, pace: Pace, settled: Settled, observer: Observer, may_send: Callable[[], bool]
    ) -> None:
        super().__init__(name=f"sink-{name}", daemon=True)
        self.sink_name = name
        self._sink = sink
        self._pace = pace
        self._settled = settled
        self._observer = observer
        self._may_send = may_send
        self._changed = threading.Condition()
        #: stream -> incident -> its messages
        self._waiting: dict[Stream, dict[str, deque[Item]]] = {"pages": {}, "notices": {}}
        self._places = itertools.count()
        self._counts: dict[Stream, int] = {"pages": 0, "notices": 0}
        self._sending = threading.Lock()
        self._failures = 0
        self._not_before_s = 0.0
        self._notices_next = False
        self._stopping = False
        self._refresh_at_s = time.monotonic() + sink.refresh_s if sink.refresh_s is not None else None

    def put(self, item: Item) -> None:
        """A message behind the others of its incident."""
        stream = item.message.stream
        with self._changed:
            item.place = next(self._places)
            self._waiting[stream].setdefault(item.message.key, deque()).append(item)
            self._counts[stream] += 1
            self._changed.notify_all()

    def depth(self, stream: Stream) -> int:
        """Messages of a stream that wait."""
        return self._counts[stream]

    def oldest_s(self) -> float | None:
        """Wall clock time since which the oldest message waits; None where none does."""
        with self._changed:
            times = [items[0].since_s for waiting in self._waiting.values() for items in waiting.values()]
        return min(times, default=None)

    def recall(self, message: Message) -> None:
        """See `Sink.recall`."""
        with self._sending:
            self._sink.recall(message)

    def forget(self) -> None:
        """Forget what waits, and what the sink remembers; an attempt that is being made is waited for, and settled."""
        with self._sending:
            with self._changed:
                for stream, waiting in self._waiting.items():
                    waiting.clear()
                    self._counts[stream] = 0
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
                    self._changed.wait(min(LOOK_S, max(self._not_before_s - time.monotonic(), MIN_WAIT_S)))
                    item = self._next()
                if self._stopping:
                    break
            with self._sending:
                if item is None:
                    self._refresh()
                else:
                    self._attempt(item)
        self._sink.close()

    def _next(self) -> Item | None:
        """The next message whose time has come."""
        if not self._may_send() or time.monotonic() < self._not_before_s:
            return None
        pages, notices = self._waiting["pages"], self._waiting["notices"]
        for waiting in (notices, pages) if self._notices_next else (pages, notices):
            if waiting:
                return min((items[0] for items in waiting.values()), key=lambda item: item.place)
        return None

    def _attempt(self, item: Item) -> None:
        """One attempt, and what follows from it."""
        with self._changed:
            first = self._waiting[item.message.stream].get(item.message.key, [None])[0]
            if first is not item:  # forgotten in between
                return
        item.attempts += 1
        began = time.monotonic()
        try:
            outcome = self._sink.deliver(item.message)
        except Exception as error:
            log.exception("sink %s: a defect of leeboard; the message is tried again", self.sink_name)
            outcome = Outcome("retry", f"defect: {type(error).__name__}")
        now = time.monotonic()
        given_up: list[Item] = []
        with self._changed:
            if outcome.result == "retry":
                if self._failures == 0:
                    log.warning("sink %s: %s; trying again", self.sink_name, outcome.reason)
                self._failures += 1
                self._not_before_s = now + max(self._pace.pause_s(self._failures), outcome.after_s)
                given_up = self._overdue(now)
                item.place = next(self._places)
            elif self._failures:
                log.info("sink %s answers again after %d failures", self.sink_name, self._failures)
                self._failures = 0
            self._notices_next = outcome.result == "retry" and item.message.stream == "pages"
        self._observer.attempted(self.sink_name, outcome, now - began)
        if outcome.result != "retry":
            self._done(item, outcome)
        for overdue in given_up:
            dropped = Outcome("dropped", f"given up after {overdue.attempts} attempts: {outcome.reason}")
            self._observer.attempted(self.sink_name, dropped, 0.0)
            self._done(overdue, dropped)

    def _overdue(self, now_s: float) -> list[Item]:
        """What has waited for its whole time at a sink that still takes nothing, in the order of each incident."""
        return [
            item
            for waiting in self._waiting.values()
            for items in waiting.values()
            for item in items
            if now_s - item.taken_s >= self._pace.retry_s
        ]

    def _done(self, item: Item, outcome: Outcome) -> None:
        """Settle a message, and only then take it from the queue: an empty queue is a settled one."""
        self._settled(item, self.sink_name, outcome)
        stream, key = item.message.stream, item.message.key
        with self._changed:
            items = self._waiting[stream][key]
            items.popleft()
            if not items:
                del self._waiting[stream][key]
            self._counts[stream] -= 1

    def _refresh_due(self) -> bool:
        return self._refresh_at_s is not None and time.monotonic() >= self._refresh_at_s and self._may_send()

    def _refresh(self) -> None:
        """Tell again what has to be; a failure is made good by the next time."""
        if not self._refresh_due():
            return
        assert self._sink.refresh_s is not None
        self._refresh_at_s = time.monotonic() + self._sink.refresh_s
        began = time.monotonic()
        try:
            outcome = self._sink.refresh()
        except Exception:
            log.exception("sink %s: a defect of leeboard", self.sink_name)
            return
        if outcome.result != "delivered":
            self._observer.attempted(self.sink_name, outcome, time.monotonic() - began)
