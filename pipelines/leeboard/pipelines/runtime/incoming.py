"""Records of `calls`: what each holds, and whether it was there before. Live and in a backtest the same."""

from collections.abc import Mapping

from leeboard.pipelines.watch.engine import Record
from leeboard.schemas import ModelCall, Refused, decode, decode_observation

from .fold import SOURCE, Incoming

#: sources (partitions of raw topics) whose marks are kept; the one that was quiet longest is forgotten
MAX_SOURCES = 10_000


def measured(record: Incoming) -> Record:
    """An observation or a control record. Raises Refused.

    Observations are MessagePack, whose first byte is never that of a JSON object.
    """
    data = record.value or b""
    if data[:1] == b"{":
        control = decode(data)
        if isinstance(control, ModelCall):
            raise Refused("not_allowed", "a model call that was not measured")
        return control
    observation = decode_observation(data)
    if record.key != observation.scope.encode():
        raise Refused("no_scope", "the record's key is not its scope")
    return observation


class Marks:
    """High-water marks of the sources of one partition of `calls`: source -> offset and index of its newest record."""

    def __init__(self, marks: Mapping[str, tuple[int, int]] | None = None) -> None:
        self._marks = dict(marks or {})

    def copy(self) -> dict[str, tuple[int, int]]:
        """The marks as they are now."""
        return dict(self._marks)

    def repeats(self, record: Incoming) -> bool:
        """Was this record of its source taken before? If not, it counts as taken now."""
        for name, value in record.headers:
            if name == SOURCE:
                return self._repeats(value)
        return False

    def _repeats(self, header: bytes) -> bool:
        try:
            source, offset, index = header.decode().rsplit("/", 2)
            mark = (int(offset), int(index))
        except (ValueError, UnicodeDecodeError):
            return False
        known = self._marks.pop(source, None)  # put back at the end, so that the quiet ones come first
        self._marks[source] = mark if known is None else max(mark, known)
        if len(self._marks) > MAX_SOURCES:
            del self._marks[next(iter(self._marks))]
        return known is not None and mark <= known
