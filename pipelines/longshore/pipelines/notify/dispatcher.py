"""Messages to sinks: at least once, in order within an incident, no sink delayed by another. Knows no Kafka."""

import threading
import time
from collections.abc import Hashable, Iterable, Mapping

from .message import Message, Stream
from .pace import Pace
from .sinks import Outcome, Sink
from .worker import MAX_QUEUE, Item, Observer, Settled, Worker

#: a queue that is looked at so often while it drains
DRAIN_LOOK_S = 0.02
#: a thread that is stopped is waited for so long: an attempt ends within its time-outs (connect, then read)
STOP_S = 25.0


class Dispatcher:
    """One worker thread a sink. `settled` is called on those threads, once for each message and sink."""

    def __init__(self, sinks: Mapping[str, Sink], pace: Pace, settled: Settled, observer: Observer) -> None:
        self._may_send = threading.Event()
        self._may_send.set()
        self._alive_until_s = float("inf")
        self._workers = {
            name: Worker(name, sink, pace, settled, observer, self._allowed) for name, sink in sinks.items()
        }

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers.values():
            worker.start()

    def submit(self, message: Message, names: Iterable[str], ticket: Hashable, since_s: float | None = None) -> None:
        """Hand a message to sinks; `since_s`: wall clock time at which it was due, None: now.

        There must be room: a queue takes what it is given.
        """
        now = time.time() if since_s is None else since_s
        for name in names:
            self._workers[name].put(Item(message, ticket, time.monotonic(), now))

    def room(self, stream: Stream) -> int:
        """How many messages of a stream every sink can still take."""
        return min((MAX_QUEUE - worker.depth(stream) for worker in self._workers.values()), default=MAX_QUEUE)

    def depth(self, name: str) -> int:
        """Messages that wait at a sink."""
        return self._workers[name].depth("pages") + self._workers[name].depth("notices")

    def oldest_s(self, name: str) -> float | None:
        """Wall clock time since which the oldest message of a sink waits; None where none does."""
        return self._workers[name].oldest_s()

    def recall(self, message: Message, names: Iterable[str]) -> None:
        """Sinks take note of what was told before."""
        for name in names:
            self._workers[name].recall(message)

    def forget(self) -> None:
        """Forget what waits, and what sinks remember; after it no message of before is settled any more."""
        for worker in self._workers.values():
            worker.forget()

    def hold(self) -> None:
        """Begin no further attempt."""
        self._may_send.clear()

    def release(self) -> None:
        """Attempts may begin again."""
        self._may_send.set()

    def alive_until(self, monotonic_s: float) -> None:
        """Begin no attempt after that moment: a process that was frozen may have been replaced meanwhile."""
        self._alive_until_s = monotonic_s

    def alive(self) -> bool:
        """Do all threads run?"""
        return all(worker.is_alive() for worker in self._workers.values())

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False where that took too long."""
        until = time.monotonic() + timeout_s
        while any(self.depth(name) for name in self._workers):
            if time.monotonic() >= until:
                return False
            time.sleep(DRAIN_LOOK_S)
        return True

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the threads; what waits is left."""
        until = time.monotonic() + timeout_s
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            if worker.ident is not None:
                worker.join(max(until - time.monotonic(), 0.0))

    def _allowed(self) -> bool:
        return self._may_send.is_set() and time.monotonic() < self._alive_until_s


__all__ = ["Dispatcher", "Observer", "Outcome"]
