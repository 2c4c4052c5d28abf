"""What a stage with state is made of: a fold over the records of one partition, and the records that it writes.

A fold is a pure function over the records of one partition. It knows no broker and no clock. Its owner
(`ownership.PartitionOwner`) gives it records, and writes what `publish` and `state` return in one transaction. The
state of a fold can be rebuilt from the log and from the state records that it wrote.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from leeboard.pipelines.topics import RecordHeaders

#: header of records on `calls`: where the call came from, "<topic id>/<partition>/<offset>/<index in the record>"
SOURCE_HEADER = "leeboard-source"
#: header of records on `alerts`: partition and offset of the record of `calls` that caused it
POSITION_HEADER = "leeboard-position"
#: larger than every offset
BEYOND_ALL_OFFSETS = 2**62


class IncomingRecord(Protocol):
    """A record of a log, with the attributes that Kafka clients give it."""

    @property
    def offset(self) -> int:
        """Its offset in the partition."""

    @property
    def key(self) -> bytes | None:
        """The bytes of its key."""

    @property
    def value(self) -> bytes | None:
        """The bytes of its value."""

    @property
    def headers(self) -> RecordHeaders:
        """Its headers."""

    @property
    def timestamp(self) -> int:
        """When it was written, epoch ms."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to be written. Without a partition, the backend's default partitioner chooses one by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: RecordHeaders = ()


class EngineFailed(Exception):
    """The engine raised on records at these offsets; its memory can no longer be trusted."""

    def __init__(self, offsets: Sequence[int], cause: Exception) -> None:
        super().__init__(f"offsets {offsets[0]} to {offsets[-1]}: {type(cause).__name__}: {cause}")
        self.offsets = offsets


class UnreadableState(Exception):
    """What the state topic holds cannot be restored by this engine with this configuration."""


class Fold(Protocol):
    """The state of one partition, and what its records do to it."""

    #: offset of the next record to apply; None: the partition was neither restored nor begun
    next: int | None
    #: outputs of all records before this offset are published
    done: int
    #: is something to be published at once?
    urgent: bool

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Load what `publish` and `state` have written, oldest first. Raises UnreadableState."""

    def begin(self, first: int, done: int) -> None:
        """Begin a partition without state at `first`; outputs of records before `done` are left out."""

    def skip(self, first: int) -> None:
        """Continue at `first`: the log begins there, earlier records are gone."""

    def single_step(self, until: int, dead_letter: Iterable[int]) -> None:
        """Apply records before `until` one by one, and send those at the offsets `dead_letter` to the dead letters."""

    def contiguous_prefix(self, records: Sequence[IncomingRecord]) -> int:
        """How many of these records, from the first on, follow what was applied without a gap."""

    def apply(self, records: Sequence[IncomingRecord]) -> None:
        """Apply records in order; those that were applied before are left out. Raises EngineFailed."""

    def publish(self) -> list[OutgoingRecord]:
        """Everything not published yet, with the marker that says so; empty if there is nothing new."""

    def oldest_change(self) -> int:
        """Offset of the oldest change whose state is not written; BEYOND_ALL_OFFSETS if there is none."""

    def state(self, before: int, limit_bytes: int) -> list[OutgoingRecord]:
        """State that changed at offsets below `before`, oldest change first, about `limit_bytes`, with its marker.

        To be called only right after `publish`, for the same transaction: state must never be ahead of the outputs.
        """
