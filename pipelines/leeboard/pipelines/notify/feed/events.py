"""What goes into the feed: events, and what they are made of."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from leeboard.pipelines.notify.delivery.queue import Delivery
from msgspec import Struct


class Instant(Struct, frozen=True):
    """Now, by both clocks: the monotonic one for intervals, the wall clock for what others read."""

    monotonic_s: float
    wall_s: float


class FeedPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class FeedRecord(Struct, frozen=True):
    """A record of a partition."""

    offset: int
    value: bytes | None
    #: when it was written, epoch ms
    timestamp_ms: int


class GroupView(Struct, frozen=True):
    """What this process knows of the consumer group; every change has a higher version."""

    version: int
    #: those assigned to this process; None between a revocation and the next assignment
    partitions: frozenset[FeedPartition] | None
    #: monotonic clock: since when
    since_s: float
    #: of the group, as the client knows it
    generation: int = -1


class Heartbeat(Struct, frozen=True):
    """What is known of the rest of leeboard."""

    #: the newest request to the broker was answered
    connected: bool
    #: summaries seen since the process began
    summaries: int


class RecordRef(Struct, frozen=True):
    """A record, as outcomes and dead letters name it."""

    partition: FeedPartition
    offset: int
    sha256: str
    size: int

    @property
    def position(self) -> str:
        """topic/partition/offset."""
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"


class RoundStarted(Struct, frozen=True):
    """The loop has come round."""


class Polled(Struct, frozen=True):
    """One poll: the group as it is after it, and what it brought."""

    group: GroupView
    batches: Mapping[FeedPartition, Sequence[FeedRecord]]
    #: of the partitions in `batches`: the next offset that the client will read
    positions: Mapping[FeedPartition, int]
    paused: frozenset[FeedPartition] = frozenset()


class DeliveriesEnded(Struct, frozen=True):
    """What sinks have delivered or dropped."""

    deliveries: Sequence[Delivery]


class RoundEnded(Struct, frozen=True):
    """The last event of a round."""

    heartbeat: Heartbeat


class OffsetsCommitted(Struct, frozen=True):
    """The answer to `CommitOffsets`. `error`: None, or why they are not committed."""

    number: int
    error: str | None = None


class DeadLetterWritten(Struct, frozen=True):
    """The answer to `WriteDeadLetter`. `error`: None, or why it is not known to be written."""

    error: str | None = None


class QueuesCleared(Struct, frozen=True):
    """The answer to `ClearQueues`, with what was delivered or dropped until then."""

    deliveries: Sequence[Delivery]


class HistoryBatch(Struct, frozen=True):
    """A part of the answer to `ReadHistory`: values of records before the committed offset, in order."""

    partition: FeedPartition
    values: Sequence[bytes | None]


class HistoryRead(Struct, frozen=True):
    """The end of the answer to `ReadHistory`: the client goes on from `start`."""

    partition: FeedPartition
    start: int
    #: what stands beside the committed offset
    metadata: str


class HistoryFailed(Struct, frozen=True):
    """`ReadHistory` failed: no broker, or the partition is not ours any more."""

    partition: FeedPartition
    error: str


class StopRequested(Struct, frozen=True):
    """The process is to end."""


class QueuesDrained(Struct, frozen=True):
    """The answer to `DrainQueues`. `empty`: nothing waits any more."""

    empty: bool
    deliveries: Sequence[Delivery]


FeedEvent: TypeAlias = (
    RoundStarted
    | Polled
    | DeliveriesEnded
    | RoundEnded
    | OffsetsCommitted
    | DeadLetterWritten
    | QueuesCleared
    | HistoryBatch
    | HistoryRead
    | HistoryFailed
    | StopRequested
    | QueuesDrained
)
