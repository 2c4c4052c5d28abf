"""How far each sink has come in a partition, and what of that is committed.

The committed offset is the watermark of the sink that is furthest behind; the watermarks of the others stand in its
metadata. So a restart repeats to no sink what it had, except what was being sent.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec import Struct, field


class OffsetMetadata(Struct, omit_defaults=True):
    """What stands beside a committed offset: at most some 2 KB, where Kafka takes 4 KB."""

    #: epoch seconds of the commit
    at: int = 0
    #: troubles of leeboard itself that were reported and are not over
    open: list[str] = field(default_factory=list)
    #: sink -> its watermark, if that is beyond the committed offset
    ahead: dict[str, int] = field(default_factory=dict)


def read_metadata(text: str) -> OffsetMetadata:
    """The metadata of a commit; what something else wrote counts as none."""
    try:
        return msgspec.json.decode(text, type=OffsetMetadata)
    except (msgspec.DecodeError, UnicodeError):
        return OffsetMetadata()


class DeliveryProgress:
    """Offsets of one partition that are accepted and not done, for every sink."""

    def __init__(self, sinks: Iterable[str], start: int, ahead: Mapping[str, int]) -> None:
        #: the next offset to accept
        self.next = start
        #: sink -> the first offset that it did not have in an earlier process
        self._ahead = {name: ahead.get(name, start) for name in sinks}
        #: sink -> offsets that are not done, in order
        self._open: dict[str, dict[int, None]] = {name: {} for name in self._ahead}

    def accept(self, offset: int, sinks: Collection[str]) -> list[str]:
        """Accept the next record for some sinks; those that do not have it yet."""
        assert offset >= self.next
        self.next = offset + 1
        new = [name for name in sinks if offset >= self._ahead[name]]
        for name in new:
            self._open[name][offset] = None
        return new

    def complete(self, offset: int, sink: str) -> None:
        """A sink is done with a record."""
        del self._open[sink][offset]

    def advance(self, offset: int) -> None:
        """There is nothing to accept before `offset`: what lies between are the markers of transactions."""
        self.next = max(self.next, offset)

    def committable(self) -> tuple[int, dict[str, int]]:
        """The offset to commit, and the watermarks of the sinks that have come further."""
        watermarks = {name: self._watermark(name) for name in self._open}
        lowest = min([self.next, *watermarks.values()])
        return lowest, {name: offset for name, offset in watermarks.items() if offset > lowest}

    def _watermark(self, sink: str) -> int:
        """The first offset that a sink does not have."""
        return next(iter(self._open[sink]), max(self.next, self._ahead[sink]))
