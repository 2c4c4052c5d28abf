"""What a stage needs of the log that feeds it and stores its state. Kafka is one backend, a simulated broker another.

A backend that has one process only (SQLite) has one generation, never rebalances, and fences nobody.
"""

from collections.abc import Sequence
from typing import NoReturn, Protocol

from .fold import IncomingRecord, OutgoingRecord


class Fenced(Exception):
    """The partition has a new owner: this process must never write for it again."""


class WriteFailed(Exception):
    """A transaction did not commit; whether its records are there is not known."""


class Forbidden(Exception):
    """The login may not write for the partition; the message says what to grant."""


class PartitionSession(Protocol):
    """The exclusive right to write for one partition."""

    async def write(self, records: Sequence[OutgoingRecord]) -> None:
        """Write all of them or none. Raises Fenced or WriteFailed."""

    async def close(self) -> None:
        """End the session. Never raises."""


class StageBackend(Protocol):
    """What a stage needs of the log that feeds it."""

    def generation(self) -> int:
        """The current generation of the consumer group."""

    def rebalancing(self) -> bool:
        """Is the group rebalancing?"""

    async def open(self, partition: int) -> tuple[PartitionSession, list[tuple[bytes, bytes | None]]]:
        """Fence the previous owner of a partition, then read all of its state. Raises WriteFailed, Forbidden."""

    async def read(self, partition: int, offset: int) -> Sequence[IncomingRecord]:
        """Committed records from an offset on, in order and without waiting; none at the end. Raises WriteFailed."""

    async def first_offset(self, partition: int) -> int:
        """The first offset that the log of a partition still holds."""

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """Where a partition without state begins, and the offset before which its outputs are left out."""

    async def seek(self, partition: int, offset: int) -> None:
        """Let the next records come from this offset on."""

    async def commit(self, partition: int, offset: int) -> bool:
        """Commit a position to the group: a hint for lag and for the next start. False: it failed. Never raises."""

    def exit(self, code: int, why: str) -> NoReturn:
        """End the process at once; a supervisor starts it again."""
