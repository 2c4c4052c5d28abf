"""Which partitions are ours: what the consumer group says, on the client's own thread, for the thread that tells."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from msgspec import Struct


class Standing(Struct, frozen=True):
    """The group at one moment."""

    #: changes so far
    changes: int
    #: None between a revocation and the next assignment
    assigned: frozenset[TopicPartition] | None
    #: the change by which partitions were last taken away without asking: somebody else may have had them since
    lost: int


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Calls `hold` at once when partitions come or go: from then on somebody else may tell what is in them."""

    def __init__(self, hold: Callable[[], None]) -> None:
        self._hold = hold
        self._lock = threading.Lock()
        self._standing = Standing(0, None, 0)

    def standing(self) -> Standing:
        """The newest word of the group."""
        with self._lock:
            return self._standing

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:  # noqa: ARG002
        """The group is being divided anew."""
        self._note(None, lost=False)

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:  # noqa: ARG002
        """The group has gone on without us."""
        self._note(None, lost=True)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """These are ours."""
        self._note(frozenset(assigned), lost=False)

    def _note(self, assigned: frozenset[TopicPartition] | None, *, lost: bool) -> None:
        self._hold()
        with self._lock:
            changes = self._standing.changes + 1
            self._standing = Standing(changes, assigned, changes if lost else self._standing.lost)
