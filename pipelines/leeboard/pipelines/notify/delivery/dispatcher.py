"""Messages to sinks: at least once, in order within an incident, no sink delayed by another. Knows no Kafka."""

import queue
import time
from collections.abc import Callable, Hashable, Iterable, Mapping

from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.sinks import MessageSink

from .queue import Backoff, Delivery, QueuedMessage
from .worker import AttemptObserver, SinkWorker

#: a queue that drains is checked so often
DRAIN_CHECK_S = 0.02
#: a thread that is stopped is waited for so long: an attempt ends within its time-outs (connect, then read)
WORKERS_STOP_S = 25.0


class Dispatcher:
    """One worker thread a sink; `deliveries` has each message of each sink once, when it is delivered or dropped.

    No attempt begins while `may_send` says no. `clock`: monotonic, `wall_clock`: epoch seconds.
    """

    def __init__(
        self,
        sinks: Mapping[str, MessageSink],
        backoff: Backoff,
        observer: AttemptObserver,
        may_send: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        #: bounded by the queues of the sinks
        self._deliveries: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._clock = clock
        self._wall_clock = wall_clock
        self._workers = {
            name: SinkWorker(name, sink, backoff, self._deliveries.put, observer, may_send, clock)
            for name, sink in sinks.items()
        }

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers.values():
            worker.start()

    def submit(self, message: Message, names: Iterable[str], ticket: Hashable, due_s: float | None = None) -> None:
        """Hand a message to sinks; `due_s`: wall clock time at which it was due, None: now.

        The caller keeps to `queue.MAX_QUEUE`: a queue takes what it is given.
        """
        due_s = self._wall_clock() if due_s is None else due_s
        for name in names:
            self._workers[name].put(QueuedMessage(message, ticket, self._clock(), due_s))

    def deliveries(self) -> list[Delivery]:
        """What was delivered or dropped since the last call."""
        found = []
        while not self._deliveries.empty():
            found.append(self._deliveries.get())
        return found

    def depth(self, name: str) -> int:
        """Messages that wait at a sink."""
        return self._workers[name].depth("pages") + self._workers[name].depth("notices")

    def oldest_s(self, name: str) -> float | None:
        """Wall clock time at which the oldest message of a sink was due; None if none waits."""
        return self._workers[name].oldest_s()

    def recall(self, message: Message, names: Iterable[str]) -> None:
        """Let sinks take note of what was sent before."""
        for name in names:
            self._workers[name].recall(message)

    def clear(self) -> None:
        """Forget what waits, and what sinks remember. Attempts that are being made end first, and are reported."""
        for worker in self._workers.values():
            worker.clear()

    def alive(self) -> bool:
        """Do all threads run?"""
        return all(worker.is_alive() for worker in self._workers.values())

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False if that took too long."""
        until_s = time.monotonic() + timeout_s
        while any(self.depth(name) for name in self._workers):
            if time.monotonic() >= until_s:
                return False
            time.sleep(DRAIN_CHECK_S)
        return True

    def stop(self, timeout_s: float = WORKERS_STOP_S) -> None:
        """End the threads; what waits is left."""
        until_s = time.monotonic() + timeout_s
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            if worker.ident is not None:
                worker.join(max(until_s - time.monotonic(), 0.0))
