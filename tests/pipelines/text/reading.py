"""What the reader makes of a text, by the names of features and entries."""

import struct
from typing import NamedTuple

from leeboard.pipelines.measure.text import Reading, TextReader
from leeboard.schemas import FEATURES, STYLE

MAX_CHARS = 8000
READER = TextReader(MAX_CHARS)


class Read(NamedTuple):
    """A reading with names."""

    features: dict[str, float]
    #: entries that came at all
    style: dict[str, int]
    raw: Reading


def read(text: str, reader: TextReader = READER) -> Read:
    raw = reader.read(text)
    assert raw is not None
    values = struct.unpack(f"<{len(FEATURES)}f", raw.features)
    features = {feature.name: value for feature, value in zip(FEATURES, values, strict=True)}
    return Read(features, {name: count for name, count in zip(STYLE, raw.style, strict=True) if count}, raw)
