"""What a stage needs of Kafka, so that the same code runs against a real cluster (`group`) and a simulated one."""

from collections.abc import Sequence
from typing import NoReturn, Protocol

from .fold import Incoming, Send


class Fenced(Exception):
    """Another owner of the partition has begun: this one must never write again."""


class WriteFailed(Exception):
    """A transaction did not commit; whether its records are there is not known."""


class Forbidden(Exception):
    """The login may not write for the partition; the message says what to grant."""


class Session(Protocol):
    """The exclusive right to write for one partition."""

    async def write(self, sends: Sequence[Send]) -> None:
        """All of them or none. Raises Fenced or WriteFailed."""

    async def close(self) -> None:
        """Give the right up. Never raises."""


class Cluster(Protocol):
    """What a stage needs of Kafka."""

    def generation(self) -> int:
        """The generation of the consumer group as it is now."""

    def rebalancing(self) -> bool:
        """Is the group forming a new generation?"""

    async def open(self, partition: int) -> tuple[Session, list[tuple[bytes, bytes | None]]]:
        """Fence the previous owner of a partition, then read all of its state. Raises WriteFailed, Forbidden."""

    async def read(self, partition: int, offset: int) -> Sequence[Incoming]:
        """Committed records from an offset on, in order and without waiting; none at the end. Raises WriteFailed."""

    async def first_offset(self, partition: int) -> int:
        """Where the log of a partition begins now."""

    async def start_offsets(self, partition: int) -> tuple[int, int]:
        """Where a partition without state begins, and the offset before which its outputs are left out."""

    async def seek(self, partition: int, offset: int) -> None:
        """Let the next records come from this offset on."""

    async def commit(self, partition: int, offset: int) -> bool:
        """Tell the group a position: a hint for lag and for the next start. False: it did not arrive. Never raises."""

    def exit(self, code: int, why: str) -> NoReturn:
        """End the process at once; a supervisor starts it again."""
