"""What a stage with state is made of: a pure fold over the records of one partition, and the records that it writes.

A fold knows no broker and no clock. Its owner (`ownership.Stage`) gives it records, and writes what `publish` and
`state` return in one transaction. All of it can be made again from the log and the records of its state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes]]
#: header of records on `calls`: where the call came from, "<topic id>/<partition>/<offset>/<index in the record>"
SOURCE = "leeboard-source"
#: header of records on `alerts`: partition and offset of the record of `calls` that caused it
POSITION = "leeboard-position"
#: beyond every offset
NEVER = 2**62


class Incoming(Protocol):
    """A record as Kafka clients give it."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def key(self) -> bytes | None:
        """The bytes of its key."""

    @property
    def value(self) -> bytes | None:
        """The bytes of its value."""

    @property
    def headers(self) -> Headers:
        """Its headers."""

    @property
    def timestamp(self) -> int:
        """When it was written, epoch ms."""


@dataclass(frozen=True, slots=True)
class Send:
    """A record to be written. Without a partition, Kafka's default partitioner takes the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()


class EngineFailed(Exception):
    """The engine raised on records at these offsets; its memory can no longer be trusted."""

    def __init__(self, offsets: Sequence[int], cause: Exception) -> None:
        super().__init__(f"offsets {offsets[0]} to {offsets[-1]}: {type(cause).__name__}: {cause}")
        self.offsets = offsets


class UnreadableState(Exception):
    """What the state topic holds cannot be taken over by this engine and configuration."""


class Fold(Protocol):
    """The state of one partition, and what its records do to it."""

    #: offset of the next record to take; None: nothing was ever taken
    next: int | None
    #: outputs of all records before this offset are published
    done: int
    #: is something to be published at once?
    urgent: bool

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take over what `publish` and `state` have written, newest last. Raises UnreadableState."""

    def begin(self, first: int, done: int) -> None:
        """Begin a partition that has no state: at `first`, with the outputs of what stands before `done` left out."""

    def skip(self, first: int) -> None:
        """Go on at `first`: the log begins there, what stood before it is gone."""

    def be_careful(self, until: int, set_aside: Iterable[int]) -> None:
        """Take records before `until` one by one, and set those at `set_aside` aside."""

    def reach(self, records: Sequence[Incoming]) -> int:
        """How many of these records, from the first on, may follow what was taken; before the next ones some miss."""

    def take(self, records: Sequence[Incoming]) -> None:
        """Apply records in order; those taken before are left out. Raises EngineFailed."""

    def publish(self) -> list[Send]:
        """Everything that was not published yet, with the marker that says so; empty if there is nothing new."""

    def oldest_change(self) -> int:
        """Offset of the oldest change whose state is not written; beyond every offset where there is none."""

    def state(self, before: int, limit_bytes: int) -> list[Send]:
        """State that changed at offsets below `before` first, about so many bytes of it, with its marker.

        Only right after `publish`, in the same transaction: state must never run ahead of what is published.
        """
