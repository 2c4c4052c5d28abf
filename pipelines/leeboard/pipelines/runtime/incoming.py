"""Records of `calls`: what each holds, and whether it is a repeat. The same code runs live and in a backtest."""

from collections.abc import Mapping

from leeboard.pipelines.watch.engine import Record
from leeboard.schemas import ModelCall, Refused, decode, decode_observation

from .fold import SOURCE_HEADER, IncomingRecord

#: sources (partitions of raw topics) whose watermarks are kept; the one without records for longest is dropped first
MAX_SOURCES = 10_000


def decode_measured(record: IncomingRecord) -> Record:
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


class Watermarks:
    """High-water marks of the sources of one partition of `calls`: source -> offset and index of its newest record."""

    def __init__(self, newest: Mapping[str, tuple[int, int]] | None = None) -> None:
        self._newest = dict(newest or {})

    def copy(self) -> dict[str, tuple[int, int]]:
        """The watermarks as they are now."""
        return dict(self._newest)

    def repeats(self, record: IncomingRecord) -> bool:
        """Is this record at or below the watermark of its source? If not, the watermark moves up to it."""
        for name, value in record.headers:
            if name == SOURCE_HEADER:
                return self._repeats(value)
        return False

    def _repeats(self, header: bytes) -> bool:
        try:
            source, offset, index = header.decode().rsplit("/", 2)
            position = (int(offset), int(index))
        except (ValueError, UnicodeDecodeError):
            return False
        known = self._newest.pop(source, None)  # inserted again at the end, so that quiet sources come first
        self._newest[source] = position if known is None else max(position, known)
        if len(self._newest) > MAX_SOURCES:
            del self._newest[next(iter(self._newest))]
        return known is not None and position <= known
