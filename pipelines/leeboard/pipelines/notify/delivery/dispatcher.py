"""Messages to sinks: at least once, in order within an incident, no sink delayed by another. Knows no Kafka."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping

from leeboard.pipelines.notify.messages.message import Message, Stream
from leeboard.pipelines.notify.sinks import Sink

from .worker import MAX_QUEUE, Item, Observer, Pace, Settled, Worker

#: a queue that is looked at so often while it drains
DRAIN_LOOK_S = 0.02
#: a thread that is stopped is waited for so long: an attempt ends within its time-outs (connect, then read)
STOP_S = 25.0


class Dispatcher:
    """One worker thread a sink. `settled` is called on those threads, once for each message and sink.

    No attempt begins while `may_send` says no.
    """

    def __init__(
        self,
        sinks: Mapping[str, Sink],
        pace: Pace,
        settled: Settled,
        observer: Observer,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._workers = {name: Worker(name, sink, pace, settled, observer, may_send) for name, sink in sinks.items()}

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
        """Forget what waits, and what sinks remember. Attempts that are being made are waited for, and settled."""
        for worker in self._workers.values():
            worker.forget()

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
