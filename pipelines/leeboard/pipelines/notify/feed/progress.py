"""How far each sink has come in a partition, and what of that is committed.

The committed offset is that of the sink which is furthest behind; where the others are stands in its metadata, so that
a restart repeats to no sink what it was told, except what was being sent.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec import Struct, field


class Metadata(Struct, omit_defaults=True):
    """What stands beside a committed offset: at most some 2 KB, where Kafka takes 4 KB."""

    #: epoch seconds of the commit
    at: int = 0
    #: troubles of leeboard itself that the pagers were told of and that are not over
    open: list[str] = field(default_factory=list)
    #: sink -> the first offset that it was not told, where that is beyond the committed one
    ahead: dict[str, int] = field(default_factory=dict)


def read_metadata(text: str) -> Metadata:
    """The metadata of a commit; what something else wrote counts as none."""
    try:
        return msgspec.json.decode(text, type=Metadata)
    except (msgspec.DecodeError, UnicodeError):
        return Metadata()


class Progress:
    """Offsets of one partition that are taken and not settled, for every sink."""

    def __init__(self, sinks: Iterable[str], start: int, ahead: Mapping[str, int]) -> None:
        #: the next offset to take
        self.next = start
        #: what a sink was told up to in an earlier process
        self._ahead = {name: ahead.get(name, start) for name in sinks}
        #: offsets in the order in which they were taken
        self._open: dict[str, dict[int, None]] = {name: {} for name in self._ahead}

    def take(self, offset: int, sinks: Collection[str]) -> list[str]:
        """A record is taken for some sinks; those that were not told of it before."""
        self.next = offset + 1
        fresh = [name for name in sinks if offset >= self._ahead[name]]
        for name in fresh:
            self._open[name][offset] = None
        return fresh

    def settle(self, offset: int, sink: str) -> None:
        """A sink is done with a record."""
        del self._open[sink][offset]

    def reach(self, offset: int) -> None:
        """There is nothing to take before `offset`: what lies between are the marks of transactions."""
        self.next = max(self.next, offset)

    def committable(self) -> tuple[int, dict[str, int]]:
        """The offset to commit, and where the sinks are that have come further."""
        reached = {name: self._reached(name) for name in self._open}
        lowest = min([self.next, *reached.values()])
        return lowest, {name: offset for name, offset in reached.items() if offset > lowest}

    def _reached(self, sink: str) -> int:
        """The first offset that a sink was not told."""
        return next(iter(self._open[sink]), max(self.next, self._ahead[sink]))
