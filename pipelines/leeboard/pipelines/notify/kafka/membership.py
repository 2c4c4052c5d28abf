"""Which partitions are assigned: what the consumer group says, on the client's own thread, for the threads of sinks."""

import time
from collections.abc import Iterable

from kafka import ConsumerRebalanceListener, TopicPartition
from leeboard.pipelines.notify.feed.events import FeedPartition, GroupView


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Has the newest view of the group, at once: whoever follows an older one may send nothing any more."""

    def __init__(self) -> None:
        self.view = GroupView(0, None, time.monotonic())

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """A rebalance has begun."""
        self._change(None)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """The group has gone on without this process."""
        self._change(None)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The rebalance is over: these partitions are assigned, and no others."""
        self._change(frozenset(FeedPartition(*partition) for partition in assigned))

    def _change(self, partitions: frozenset[FeedPartition] | None) -> None:
        self.view = GroupView(self.view.version + 1, partitions, time.monotonic())
