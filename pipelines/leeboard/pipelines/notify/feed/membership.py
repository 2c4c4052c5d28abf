"""Which partitions are ours: what the consumer group says, on the client's own thread, for the threads that tell."""

import time
from collections.abc import Iterable

from kafka import ConsumerRebalanceListener, TopicPartition
from msgspec import Struct, field


class Standing(Struct, frozen=True, eq=False):
    """The group from one moment on; every change is another one."""

    #: None between a revocation and the next assignment
    ours: frozenset[TopicPartition] | None
    #: monotonic
    since_s: float = field(default_factory=time.monotonic)


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Has the newest standing, at once: whoever follows another one may send nothing any more."""

    def __init__(self) -> None:
        self.standing = Standing(None)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """The group is being divided anew."""
        self.standing = Standing(None)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """The group has gone on without us."""
        self.standing = Standing(None)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """These are ours, and no others."""
        self.standing = Standing(frozenset(assigned))
