"""The offsets of the partitions assigned to this process: what is done, what is to be committed, and when."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from leeboard.schemas import encode

from .events import FeedPartition, RecordRef
from .progress import DeliveryProgress, OffsetMetadata

#: offsets are committed at least so often, so that their group is known to be alive
COMMIT_S = 60.0
#: and after a failure not before
COMMIT_RETRY_S = 1.0
#: the name under which dead letters of unreadable records are committed, beside the sinks
DEAD_LETTER_SINK = "(dead letters)"

#: partition -> its offset and metadata, the time of the commit left out
_Snapshot: TypeAlias = dict[FeedPartition, tuple[int, OffsetMetadata]]
Troubles: TypeAlias = Mapping[FeedPartition, list[str]]


class GroupOffsets:
    """Progress by partition. Routine commits are made one at a time, and only if something is new."""

    def __init__(self, sinks: Iterable[str]) -> None:
        self._sinks = [*sinks, DEAD_LETTER_SINK]
        self._progress: dict[FeedPartition, DeliveryProgress] = {}
        #: what was committed last
        self._committed: _Snapshot = {}
        self._committed_s = 0.0
        #: monotonic clock: no routine commit before
        self._not_before_s = 0.0

    @property
    def partitions(self) -> list[FeedPartition]:
        """Those that are read."""
        return list(self._progress)

    def keep(self, partitions: Collection[FeedPartition]) -> None:
        """Drop all others."""
        self._progress = {p: progress for p, progress in self._progress.items() if p in partitions}
        self._committed = {}

    def start(self, partition: FeedPartition, offset: int, metadata: OffsetMetadata) -> None:
        """Read a partition from `offset`."""
        self._progress[partition] = DeliveryProgress(self._sinks, offset, metadata.ahead)

    def is_next(self, partition: FeedPartition, offset: int) -> bool:
        """Is the record new? A repeated one was accepted before."""
        return offset >= self._progress[partition].next

    def accept(self, ref: RecordRef, sinks: Collection[str]) -> list[str]:
        """Accept the next record for some sinks; those that do not have it yet."""
        return self._progress[ref.partition].accept(ref.offset, sinks)

    def advance(self, partition: FeedPartition, offset: int) -> None:
        """There is nothing to accept before `offset`."""
        self._progress[partition].advance(offset)

    def complete(self, ref: RecordRef, sink: str) -> None:
        """A sink is done with a record."""
        if ref.partition in self._progress:
            self._progress[ref.partition].complete(ref.offset, sink)

    def due(self, troubles: Troubles, now_s: float) -> bool:
        """Is there something to commit now?"""
        wanted = self._snapshot(troubles)
        if not wanted or now_s < self._not_before_s:
            return False
        return wanted != self._committed or now_s - self._committed_s >= COMMIT_S

    def commit(self, troubles: Troubles, now_s: float, wall_s: float) -> dict[FeedPartition, tuple[int, str]]:
        """What is to be committed, noted as committed; `note_failure` takes that back."""
        self._committed = self._snapshot(troubles)
        self._committed_s = now_s
        return {
            partition: (
                offset,
                encode(OffsetMetadata(at=int(wall_s), open=metadata.open, ahead=metadata.ahead)).decode(),
            )
            for partition, (offset, metadata) in self._committed.items()
        }

    def note_failure(self, now_s: float) -> None:
        """The last commit failed: it is repeated soon."""
        self._not_before_s = now_s + COMMIT_RETRY_S
        self._committed = {}

    def _snapshot(self, troubles: Troubles) -> _Snapshot:
        found = {}
        for partition, progress in self._progress.items():
            offset, ahead = progress.committable()
            found[partition] = (offset, OffsetMetadata(open=troubles.get(partition, []), ahead=ahead))
        return found
