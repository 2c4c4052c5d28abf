"""The producer of an application: it emits calls without ever blocking or raising."""

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
from .direct import DirectDelivery

#: calls that wait or are in flight: 100 s of 100 calls a second
MAX_QUEUED_CALLS = 10_000
#: their bytes. As many again may be in kafka-python's batches: 128 MB for a broker that is away
MAX_QUEUED_BYTES = 64 << 20
#: how long the end of the process waits for calls to be delivered
EXIT_WAIT_S = 5.0


class Producer:
    """Sends calls to the first raw topic of `settings` in the background.

    `emit` and everything else here never blocks and never raises in the application, whatever the broker does (`flush`
    and `close` wait up to their timeout). Calls wait in a queue of `most_calls` and `most_bytes`. When it is full, new
    ones are dropped and counted. Delivery is in order for each scope, once while the process lives (idempotent).
    **What is in the queue or in flight when the process dies is lost**; a normal exit waits up to 5 s for it.

    One producer a process is enough: threads may share it. A forked child has a queue, a thread and counters of its
    own, and the parent delivers its calls itself.

    In tests of an application `sink` gets the calls instead of a broker, at once, on the thread that emits.
    """

    def __init__(
        self,
        settings: KafkaSettings | None = None,
        *,
        most_calls: int = MAX_QUEUED_CALLS,
        most_bytes: int = MAX_QUEUED_BYTES,
        sink: Callable[[ModelCall], object] | None = None,
    ) -> None:
        self._settings = settings or KafkaSettings()
        self._most_calls, self._most_bytes = most_calls, most_bytes
        self._sink = sink
        self._start()
        _producers.add(self)
        atexit.register(self.close)
        register_after_fork(self, Producer._close_with_child)
        self._close_with_child()

    def emit(self, call: ModelCall) -> bool:
        """Queue a call. False: it was dropped, and counted with its reason in `stats`.

        This needs a microsecond or two, however long the texts are. The call is encoded later, so its lists and dicts
        must not be changed any more. A call that cannot be encoded is dropped and counted with its reason, too. The
        workers send calls with fields of a wrong type to the dead letters.
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
        except Exception:  # no memory, or an interpreter that ends: the application must not see it
            return False

    def call(self, **fields: Any) -> Call:
        """A call that a `with` block makes and times; see `Call`. `fields`: those known beforehand."""
        return Call(self, fields)

    def observe(self, *, fill: Fill | None = None, **fields: Any) -> Callable[[AnyFunction], AnyFunction]:
        """Decorate a function, coroutine function, generator or asynchronous generator: each run emits a call.

        `fill(call, result)` may set fields from what the function returned; for generators it gets every item. The
        first item of a stream sets `ttft_ms`; its end, when it is exhausted or closed, sets `latency_ms`.
        """
        return lambda function: observed(function, lambda: self.call(**fields), fill)

    def refuse(self, reason: str) -> bool:
        """Count what did not become a call. Returns False."""
        return self._delivery.refuse(reason)

    def flush(self, timeout_s: float = EXIT_WAIT_S) -> bool:
        """Wait until everything emitted before is delivered or has failed. False: time is up."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = EXIT_WAIT_S) -> bool:
        """Deliver what waits and accept no more. False: calls were lost for lack of time, and counted as failed."""
        atexit.unregister(self.close)
        return self._delivery.close(timeout_s)

    def stats(self) -> Stats:
        """Counts of the outcomes of all calls so far, in this process."""
        return self._delivery.stats()

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        """Start with an empty queue; also in a forked child, since queue, lock and thread belong to the parent."""
        self._delivery: Delivery | DirectDelivery = (
            DirectDelivery(self._sink)
            if self._sink is not None
            else Delivery(self._settings, self._settings.topics.raw[0], self._most_calls, self._most_bytes)
        )

    def _close_with_child(self) -> None:
        """Close at the end of a child of `multiprocessing`, which does not run `atexit`."""
        if parent_process() is not None:
            Finalize(None, self.close, exitpriority=0)


_producers: weakref.WeakSet[Producer] = weakref.WeakSet()


def _restart_in_child() -> None:
    for producer in list(_producers):
        producer._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)
