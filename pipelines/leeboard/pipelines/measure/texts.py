"""All that is measured of the texts of calls: reads them, has them embedded, and puts both together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from leeboard.schemas import ModelCall, TextMeasures

from .embed.make import make_embedder
from .settings import COUNTED, EmbedderError, EmbedderSettings, TextSettings
from .structured import asks_for_json, is_json
from .text import Reading, TextReader, text_version
from .vectors import GIVEN, Vector, cosine, given_vector, pack


@dataclass(slots=True)
class CallTexts:
    """What the texts of one call came to; None and NaN are "not measured"."""

    input: TextMeasures | None = None
    output: TextMeasures | None = None
    input_language: str | None = None
    output_language: str | None = None
    relevance: float = math.nan
    repetition: float = math.nan
    refused: bool | None = None
    json_valid: bool | None = None
    embedded: bool | None = None


_NOTHING = CallTexts()


@dataclass(slots=True)
class _Side:
    """One text of a call on its way."""

    #: what was read of it; None for a vector without text
    reading: Reading | None
    #: None for a text that is too short to be kept, see `min_tokens`
    text: str | None
    vector: Vector | None = None
    embedder: str | None = None
    #: a vector was due and is not there
    missed: bool = False


class Texts:
    """Measures the texts of calls, one batch after the other: not for two threads at once.

    Texts with fewer than `min_tokens` get neither style counts nor a vector: of a short text both can give words away.
    Raises EmbedderError where the embedder cannot be made.
    """

    def __init__(self, settings: TextSettings, embedder: EmbedderSettings, min_tokens: int) -> None:
        self._settings, self._choice, self._min_tokens = settings, embedder, min_tokens
        self._embedder = make_embedder(embedder)
        self._reader = TextReader(settings.max_chars)
        self._refused = self._not_embedded = 0
        self.version = text_version(settings.max_chars)

    @property
    def counts(self) -> dict[str, int]:
        """See COUNTED."""
        return dict(zip(COUNTED, (self._reader.cut, self._refused, self._not_embedded), strict=True))

    def measure(self, calls: Sequence[ModelCall]) -> list[CallTexts]:
        """Measure the texts of calls, in their order."""
        pairs = [self._sides(call) for call in calls]
        choice = self._choice.texts
        due = [pair[0] for pair in pairs if choice != "output"] + [pair[1] for pair in pairs if choice != "input"]
        self._embed([side for side in due if side is not None and side.text and not side.missed and not side.embedder])
        return [
            self._together(call, first, second) if first or second or call.output_text is not None else _NOTHING
            for call, (first, second) in zip(calls, pairs, strict=True)
        ]

    def _sides(self, call: ModelCall) -> tuple[_Side | None, _Side | None]:
        """Input and output of a call; a failed call has no output."""
        first = second = None
        if call.input_text is not None or call.input_vector is not None:
            first = self._side(call.input_text, call.input_vector)
        if call.error_type is None and (call.output_text is not None or call.output_vector is not None):
            second = self._side(call.output_text, call.output_vector)
        return first, second

    def _side(self, text: str | None, given: list[float] | None) -> _Side | None:
        """What a text and the vector that came with it give; None for white space alone."""
        side = _Side(None, None)
        if text is not None:
            side.reading = self._reader.read(text)
            if side.reading is None:
                return None
            if side.reading.tokens < self._min_tokens:
                return side
            side.text = text[: self._settings.max_chars]
        if given is not None:
            side.vector = given_vector(given, self._choice.dimensions)
            side.missed = side.vector is None
            self._refused += side.missed
            if side.vector is not None:
                side.embedder = f"{GIVEN}{len(given)}"
        return side

    def _embed(self, sides: list[_Side]) -> None:
        """Give sides their vectors."""
        if self._embedder is None or not sides:
            return
        try:
            vectors = self._embedder.encode([side.text or "" for side in sides])
        except EmbedderError:
            self._not_embedded += len(sides)
            for side in sides:
                side.missed = True
            return
        fingerprint = self._embedder.fingerprint
        for side, vector in zip(sides, vectors, strict=True):
            if vector.any():
                side.vector, side.embedder = vector, fingerprint
            else:
                side.missed = True
                self._not_embedded += 1

    def _together(self, call: ModelCall, first: _Side | None, second: _Side | None) -> CallTexts:
        """All that the texts of a call came to."""
        found = CallTexts(input=_packed(first), output=_packed(second))
        if first is not None and first.reading is not None:
            found.input_language = first.reading.language
        if second is not None and second.reading is not None:
            found.output_language = second.reading.language
            found.repetition = second.reading.repetition
            found.refused = second.reading.refused
        vectors = [side.vector for side in (first, second) if side is not None and side.vector is not None]
        if first and second and len(vectors) == 2 and first.embedder == second.embedder:
            found.relevance = cosine(*vectors)
        if call.output_text is not None and call.params and call.error_type is None and not call.tool_calls:
            found.json_valid = is_json(call.output_text) if asks_for_json(call.params) else None
        sides = [side for side in (first, second) if side is not None and (side.missed or side.embedder)]
        if sides:
            found.embedded = not any(side.missed for side in sides)
        return found


def _packed(side: _Side | None) -> TextMeasures | None:
    """The record of one text."""
    if side is None:
        return None
    reading = side.reading
    vector, scale = None, 0.0
    if side.vector is not None:
        packed = np.empty(len(side.vector), np.int8)
        scale = pack(side.vector, packed)
        vector = packed.tobytes()
    return TextMeasures(
        features=None if reading is None else reading.features,
        tokens=0 if reading is None else reading.tokens,
        style=None if reading is None or side.text is None else reading.style,
        vector=vector,
        scale=scale,
        embedder=side.embedder,
    )
