"""What waits at one sink: its order, its retries, its pauses. Pure; time is an argument.

Messages go out in their order, pages before notices. One that was not taken goes behind the other incidents, and the
sink pauses. So a message that a receiver never takes does not hold up the rest, and a receiver that is down is asked
once a pause. A message that has waited for its whole time when an attempt fails is dropped.
"""

import itertools
from collections import deque
from collections.abc import Hashable

from leeboard.pipelines.notify.messages.message import Message, Stream
from leeboard.pipelines.notify.sinks import Outcome
from msgspec import Struct

#: messages that wait at a sink, of each stream: 1,000 x at most 100 KB = 100 MB; what is beyond stays in the topic.
#: Pages fill it in years; notices of 10,000 scopes (two a week and scope, some updates) in three hours
MAX_QUEUE = 1000


class Backoff(Struct, frozen=True):
    """Pauses of a sink after failures in a row: first_s, then doubling up to most_s. A message has retry_s in all.

    Without jitter: a test and a person can foretell it, and one process asks one receiver.
    """

    retry_s: float
    first_s: float = 1.0
    #: a page waits at most so long after a receiver has come back
    most_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row, 1 or more."""
        return float(min(self.first_s * 2.0 ** min(failures - 1, 30), self.most_s))


class QueuedMessage(Struct, eq=False):
    """A message that waits."""

    message: Message
    #: what the caller knows it by; comes back with its outcome
    ticket: Hashable
    #: monotonic clock: when this process queued it
    queued_s: float
    #: wall clock: when it was due, in this process or an earlier one
    due_s: float
    attempts: int = 0
    #: the lowest turn of those that are first in their incident goes next
    turn: int = 0


class Delivery(Struct, frozen=True, eq=False):
    """What became of a queued message at a sink: delivered or dropped."""

    item: QueuedMessage
    sink: str
    outcome: Outcome


class SinkQueue:
    """Messages of one sink. `next_due`, an attempt, `note_outcome`, and `remove` for each that this ends."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        #: stream -> incident -> its messages
        self._waiting: dict[Stream, dict[str, deque[QueuedMessage]]] = {"pages": {}, "notices": {}}
        self._turns = itertools.count()
        self._depth: dict[Stream, int] = {"pages": 0, "notices": 0}
        #: attempts in a row that failed
        self.failures = 0
        #: monotonic clock: no attempt before
        self.not_before_s = 0.0
        self._notices_first = False

    def put(self, item: QueuedMessage) -> None:
        """Queue a message behind the others of its incident."""
        item.turn = next(self._turns)
        stream = item.message.stream
        self._waiting[stream].setdefault(item.message.key, deque()).append(item)
        self._depth[stream] += 1

    def depth(self, stream: Stream) -> int:
        """Messages of a stream that wait, those of an attempt that is being made included."""
        return self._depth[stream]

    def oldest_s(self) -> float | None:
        """Wall clock time at which the oldest message was due; None if none waits."""
        return min((items[0].due_s for waiting in self._waiting.values() for items in waiting.values()), default=None)

    def next_due(self, now_s: float) -> QueuedMessage | None:
        """The message to attempt now; None while the sink pauses, or if none waits."""
        if now_s < self.not_before_s:
            return None
        pages, notices = self._waiting["pages"], self._waiting["notices"]
        for waiting in (notices, pages) if self._notices_first else (pages, notices):
            if waiting:
                return min((items[0] for items in waiting.values()), key=lambda item: item.turn)
        return None

    def holds(self, item: QueuedMessage) -> bool:
        """Is this still the first message of its incident? Not after `clear`."""
        items = self._waiting[item.message.stream].get(item.message.key)
        return items is not None and items[0] is item

    def note_outcome(self, item: QueuedMessage, outcome: Outcome, now_s: float) -> list[tuple[QueuedMessage, Outcome]]:
        """Note the outcome of an attempt; the messages that it ends, in the order of each incident."""
        item.attempts += 1
        is_retry = outcome.result == "retry"
        self._notices_first = is_retry and item.message.stream == "pages"
        if not is_retry:
            self.failures = 0
            return [(item, outcome)]
        self.failures += 1
        self.not_before_s = now_s + max(self._backoff.pause_s(self.failures), outcome.after_s)
        overdue = self._overdue(now_s)
        item.turn = next(self._turns)
        return [
            (each, Outcome("dropped", f"given up after {each.attempts} attempts: {outcome.reason}")) for each in overdue
        ]

    def remove(self, item: QueuedMessage) -> None:
        """Take a message out, once its outcome is reported: an empty queue has nothing left to report."""
        stream, key = item.message.stream, item.message.key
        items = self._waiting[stream][key]
        assert items[0] is item
        items.popleft()
        if not items:
            del self._waiting[stream][key]
        self._depth[stream] -= 1

    def clear(self) -> None:
        """Forget what waits. A pause goes on: the receiver is the same."""
        for stream, waiting in self._waiting.items():
            waiting.clear()
            self._depth[stream] = 0

    def _overdue(self, now_s: float) -> list[QueuedMessage]:
        """What has waited for its whole time at a sink that still takes nothing."""
        return [
            item
            for waiting in self._waiting.values()
            for items in waiting.values()
            for item in items
            if now_s - item.queued_s >= self._backoff.retry_s
        ]
