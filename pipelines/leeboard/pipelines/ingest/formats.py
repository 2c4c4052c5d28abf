"""The formats that are read, and the one way from bytes to records, for files and topics alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from leeboard.pipelines.topics import RecordHeaders
from leeboard.schemas import Record, Refused

from . import native

#: bytes of a record that came with headers, and when it arrived (epoch ms; None: not known) -> what it holds, in order
Reader: TypeAlias = Callable[[bytes, RecordHeaders, int | None], Sequence[Record | Refused]]


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is told from others and read. Both functions are pure, and neither raises, whatever the bytes."""

    name: str
    recognises: Callable[[bytes, RecordHeaders], bool]
    records: Reader


#: in the order in which they are asked
FORMATS: Final = (Format("native", native.recognises, native.records),)


def records_in(
    data: bytes, headers: RecordHeaders = (), *, arrival_ms: int | None = None
) -> Sequence[Record | Refused]:
    """What a raw record holds, in its order: calls, controls, and why a part of it is neither. Never raises on data.

    `arrival_ms`: when it arrived (epoch milliseconds); None: calls from the future are not refused.
    """
    if not data:
        return [Refused("not_json", "an empty record")]
    if data[0] == 0 and len(data) >= 5:
        return [Refused("not_json", "Confluent wire format (a zero byte, a schema id): send plain JSON")]
    reader = next(format_.records for format_ in FORMATS if format_.recognises(data, headers))
    return reader(data, headers, arrival_ms)


def position_of(position: str, index: int, records: int) -> str:
    """Position of one of some records that came together: that of their source, with the index where they are many."""
    return position if records == 1 else f"{position}/{index}"
