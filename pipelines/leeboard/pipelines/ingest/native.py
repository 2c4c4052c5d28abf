"""Our own JSON: one record, or one a line (NDJSON)."""

from leeboard.pipelines.topics import RecordHeaders
from leeboard.schemas import Record, Refused, decode
from leeboard.schemas.wire import MAX_RECORD_BYTES


def recognises(_data: bytes, _headers: RecordHeaders) -> bool:
    """Any bytes: what no other format recognises is read as our own, so that its reject says what is missing."""
    return True


def records(data: bytes, _headers: RecordHeaders, arrival_ms: int | None) -> list[Record | Refused]:
    """One record, also over several lines; where the first line is a whole object, one record of every line."""
    if b"\n" in data and len(data) <= MAX_RECORD_BYTES:
        first, newline, _ = data.strip().partition(b"\n")
        if newline and first.startswith(b"{") and first.rstrip().endswith(b"}"):
            return [_record(line, arrival_ms) for line in data.split(b"\n") if line.strip()]
    return [_record(data, arrival_ms)]


def _record(data: bytes, arrival_ms: int | None) -> Record | Refused:
    try:
        return decode(data, arrival_ms=arrival_ms)
    except Refused as refused:
        return refused
