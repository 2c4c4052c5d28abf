"""What an application holds."""

import atexit
import os
import weakref
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.util import Finalize, register_after_fork
from types import TracebackType
from typing import Any

from leeboard.schemas import ModelCall

from ..kafka.settings import KafkaSettings
from .call import AnyFunction, Call, Fill, observed
from .delivery import Delivery, Stats, size_of
from .direct import Direct

#: calls that wait or are on the way: 100 s of 100 calls a second
MOST_CALLS = 10_000
#: their bytes. As many again may be in kafka-python's batches: 128 MB for a broker that is away
MOST_BYTES = 64 << 20
#: how long the end of the process waits for calls to be delivered
EXIT_S = 5.0


class Producer:
    """Sends calls to the first raw topic of `settings` in the background.

    `emit` and everything else here never blocks and never raises in the application, whatever the broker does (`flush`
    and `close` wait as long as they are told). Calls wait in a queue of `most_calls` and `most_bytes`; when it is full
    new ones are dropped and counted. Delivery is in order for each scope, once while the process lives (idempotent).
    **What is in the queue or on the way when the process dies is lost**; an exit in order waits up to 5 s for it.

    One producer a process is enough: it is safe for threads and in forked children, each of which has a queue, a thread
    and counters of its own. The parent's calls stay with the parent.

    In tests of an application `sink` takes the calls in place of a broker, at once, on the thread that emits.
    """

    def __init__(
        self,
        settings: KafkaSettings | None = None,
        *,
        most_calls: int = MOST_CALLS,
        most_bytes: int = MOST_BYTES,
        sink: Callable[[ModelCall], object] | None = None,
    ) -> None:
        self._settings = settings or KafkaSettings()
        self._most_calls, self._most_bytes = most_calls, most_bytes
        self._sink = sink
        self._begin()
        _producers.add(self)
        atexit.register(self.close)
        register_after_fork(self, Producer._close_with_child)
        self._close_with_child()

    def emit(self, call: ModelCall) -> bool:
        """Take a call; False: it was dropped, and counted with its reason in `stats`.

        It takes a microsecond or two whatever the texts are: the call is encoded later, so its lists and dicts must not
        be changed any more. What cannot be encoded then is dropped and counted with its reason, too. Fields of a wrong
        type that can be encoded are set aside by the workers, as dead letters.
        """
        delivery = self._delivery
        try:
            if not issubclass(type(call), ModelCall):  # `isinstance` may run code of the object
                return delivery.refuse("not_a_call")
            try:
                size = size_of(call)
            except Exception:
                return delivery.refuse("wrong_type")
            return delivery.put(call, size)
        except Exception:  # no memory, an interpreter that ends: nothing of that is the application's business
            return False

    def call(self, **fields: Any) -> Call:
        """A call to be made in a `with` block, which times it; see `Call`. `fields`: those known beforehand."""
        return Call(self, fields)

    def observe(self, *, fill: Fill | None = None, **fields: Any) -> Callable[[AnyFunction], AnyFunction]:
        """Decorate a function, coroutine function, generator function or asynchronous one: a call each time it runs.

        `fill(call, result)` may set fields from what the function returned; for generators it gets every item. A stream
        has its `ttft_ms` at the first item, and its end, with `latency_ms`, when it is exhausted or closed.
        """
        return lambda function: observed(function, lambda: self.call(**fields), fill)

    def refuse(self, reason: str) -> bool:
        """Count what did not become a call; False."""
        return self._delivery.refuse(reason)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until everything emitted before is delivered or given up. False: time is up."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = EXIT_S) -> bool:
        """Deliver what is there and take no more. False: some was lost for lack of time, and counted as failed."""
        atexit.unregister(self.close)
        return self._delivery.close(timeout_s)

    def stats(self) -> Stats:
        """What became of all calls so far, in this process."""
        return self._delivery.stats()

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Begin with nothing; again in a forked child, since queue, lock and thread are the parent's."""
        self._delivery: Delivery | Direct = (
            Direct(self._sink)
            if self._sink is not None
            else Delivery(self._settings, self._settings.topics.raw[0], self._most_calls, self._most_bytes)
        )

    def _close_with_child(self) -> None:
        """Close at the end of a child of `multiprocessing`, which runs nothing of `atexit`."""
        if parent_process() is not None:
            Finalize(None, self.close, exitpriority=0)


_producers: weakref.WeakSet[Producer] = weakref.WeakSet()


def _begin_again() -> None:
    for producer in list(_producers):
        producer._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
