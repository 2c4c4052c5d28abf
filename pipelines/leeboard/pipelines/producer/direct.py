"""Calls to a function instead of a broker, for tests of an application."""

import threading
from collections.abc import Callable

from leeboard.schemas import ModelCall, Refused, decode

from .delivery import Stats, encoded


class DirectDelivery:
    """`Delivery` without queue and thread. A call is encoded and decoded as by the workers, so wrong types show."""

    def __init__(self, sink: Callable[[ModelCall], object]) -> None:
        self._sink = sink
        self._lock = threading.RLock()
        self._emitted = self._delivered = self._failed = 0
        self._dropped: dict[str, int] = {}
        self._closed = False

    def put(self, call: ModelCall, size: int) -> bool:  # noqa: ARG002
        """Pass a call to the function. False: it was dropped."""
        if self._closed:
            return self.refuse("closed")
        try:
            decoded = decode(encoded(call)[1])
        except Refused as refused:
            return self.refuse(refused.reason)
        assert isinstance(decoded, ModelCall)
        with self._lock:
            self._emitted += 1
            try:
                self._sink(decoded)
            except Exception:
                self._failed += 1
            else:
                self._delivered += 1
        return True

    def refuse(self, reason: str) -> bool:
        """Count a call that is not kept; False."""
        with self._lock:
            self._emitted += 1
            self._dropped[reason] = self._dropped.get(reason, 0) + 1
        return False

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002
        """True: nothing waits."""
        return True

    def close(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Accept no more calls."""
        self._closed = True
        return True

    def stats(self) -> Stats:
        """Everything that was counted."""
        with self._lock:
            return Stats(self._emitted, dict(self._dropped), self._delivered, self._failed, 0, None)
