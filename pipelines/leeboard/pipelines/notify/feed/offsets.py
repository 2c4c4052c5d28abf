"""Committed offsets of the partitions that are ours: by hand, after every sink is done."""

import logging
import time
from collections.abc import Collection, Iterable
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from leeboard.schemas import encode
from msgspec import Struct

from .progress import Metadata, Progress

log = logging.getLogger(__name__)
#: offsets are committed at least so often, so that their group is known to be alive
COMMIT_S = 60.0
#: and after a failure not before
AGAIN_S = 1.0
#: what is committed for dead letters, beside the sinks
LETTERS = "(dead letters)"


class Place(Struct, frozen=True):
    """Where a record stands, and what it is known by when it is set aside."""

    partition: TopicPartition
    offset: int
    sha256: str
    size: int

    @property
    def position(self) -> str:
        """topic/partition/offset."""
        return f"{self.partition.topic}/{self.partition.partition}/{self.offset}"


class Offsets:
    """Takes, settles, commits."""

    def __init__(self, consumer: KafkaConsumer, sinks: Iterable[str]) -> None:
        self._consumer = consumer
        self._sinks = [*sinks, LETTERS]
        self._progress: dict[TopicPartition, Progress] = {}
        #: what was committed last, the time of the commit left out
        self._committed: dict[TopicPartition, tuple[int, Metadata]] = {}
        self._committed_s = 0.0
        self._pending: Any = None
        self._failing = False
        self._again_s = 0.0

    @property
    def partitions(self) -> list[TopicPartition]:
        """Those that are ours."""
        return list(self._progress)

    def keep(self, ours: Collection[TopicPartition]) -> None:
        """Others are not ours any more."""
        self._progress = {partition: progress for partition, progress in self._progress.items() if partition in ours}
        self._committed.clear()
        self._pending = None

    def begin(self, partition: TopicPartition, start: int, metadata: Metadata) -> None:
        """A partition is ours, from `start`."""
        self._progress[partition] = Progress(self._sinks, start, metadata.ahead)

    def take(self, place: Place, sinks: list[str]) -> list[str]:
        """A record is taken: the sinks that were not told of it before."""
        return self._progress[place.partition].take(place.offset, sinks)

    def reach(self, partition: TopicPartition) -> None:
        """Everything that was polled is taken; what lies between are marks of transactions."""
        self._progress[partition].reach(self._consumer.position(partition) or 0)

    def settle(self, place: Place, sink: str) -> None:
        """A sink is done with a record."""
        if place.partition in self._progress:
            self._progress[place.partition].settle(place.offset, sink)

    def commit_soon(self, troubles: dict[TopicPartition, list[str]]) -> None:
        """Commit without waiting, where there is news; `troubles`: what stands in the metadata of a partition."""
        if self._pending is not None:
            if not self._pending.is_done:
                return
            if self._pending.failed():
                if not self._failing:
                    log.warning("offsets not committed, trying again: %s", self._pending.exception)
                self._again_s = time.monotonic() + AGAIN_S
                self._committed.clear()
            self._failing = self._pending.failed()
            self._pending = None
        wanted = self._wanted(troubles)
        if time.monotonic() < self._again_s:
            return
        if wanted and (wanted != self._committed or time.monotonic() - self._committed_s >= COMMIT_S):
            self._pending = self._consumer.commit_async(_stamped(wanted))
            self._note(wanted)

    def commit_now(self, troubles: dict[TopicPartition, list[str]], timeout_ms: int) -> None:
        """Commit and wait. Raises KafkaError where that did not work, also where the partitions are ours no longer."""
        wanted = self._wanted(troubles)
        if wanted:
            self._consumer.commit(_stamped(wanted), timeout_ms=timeout_ms)
            self._note(wanted)

    def _wanted(self, troubles: dict[TopicPartition, list[str]]) -> dict[TopicPartition, tuple[int, Metadata]]:
        found = {}
        for partition, progress in self._progress.items():
            offset, ahead = progress.committable()
            found[partition] = (offset, Metadata(open=troubles.get(partition, []), ahead=ahead))
        return found

    def _note(self, wanted: dict[TopicPartition, tuple[int, Metadata]]) -> None:
        self._committed = wanted
        self._committed_s = time.monotonic()


def _stamped(wanted: dict[TopicPartition, tuple[int, Metadata]]) -> dict[TopicPartition, OffsetAndMetadata]:
    now_s = int(time.time())
    return {
        partition: OffsetAndMetadata(
            offset, encode(Metadata(at=now_s, open=metadata.open, ahead=metadata.ahead)).decode(), -1
        )
        for partition, (offset, metadata) in wanted.items()
    }
