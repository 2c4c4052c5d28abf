"""Dead letters of notify that are not written yet: what no sink took, and what is no page or alert."""

from collections import deque

from leeboard.pipelines.notify.sinks import Outcome
from leeboard.schemas import Refused, Reject, reject
from msgspec import Struct

from .events import RecordRef
from .offsets import DEAD_LETTER_SINK


class PendingDeadLetter(Struct, frozen=True, eq=False):
    """A dead letter, and what is done once it is written."""

    reject: Reject
    ref: RecordRef
    sink: str


class DeadLetterQueue:
    """Dead letters in order. One that cannot be written stays first.

    Bounded: a dead letter ends a message, and nothing is read while a queue of a sink, or this one, is full.
    """

    def __init__(self) -> None:
        self._waiting: deque[PendingDeadLetter] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, letter: PendingDeadLetter) -> None:
        """Add one behind the others."""
        self._waiting.append(letter)

    def first(self) -> PendingDeadLetter | None:
        """The one to write next."""
        return self._waiting[0] if self._waiting else None

    def pop(self) -> PendingDeadLetter:
        """The first one is written."""
        return self._waiting.popleft()

    def clear(self) -> None:
        """Forget them: their records are not committed, so they will be read again."""
        self._waiting.clear()


def unreadable(value: bytes, refused: Refused, ref: RecordRef, *, payload: bool) -> PendingDeadLetter:
    """The dead letter of a record that is neither a page nor an alert; its bytes only where `payload` is true."""
    return PendingDeadLetter(reject(value, refused, ref.position, payload=payload), ref, DEAD_LETTER_SINK)


def undelivered(ref: RecordRef, sink: str, outcome: Outcome) -> PendingDeadLetter:
    """The dead letter of a message that a sink did not take."""
    letter = Reject(
        position=ref.position,
        reason="not_delivered",
        detail=f"sink {sink}: {outcome.reason}",
        sha256=ref.sha256,
        size=ref.size,
    )
    return PendingDeadLetter(letter, ref, sink)
