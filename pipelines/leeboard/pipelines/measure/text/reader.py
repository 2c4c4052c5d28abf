"""Text to features, style counts and what else is measured of a text by itself."""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel
from leeboard.schemas import FEATURES, STYLE

from .characters import Characters, characters
from .counters import (
    COUNTS,
    FIRST_STYLE,
    FOREIGN,
    GRAM_TOKENS,
    GRAMS,
    REFUSED,
    REPEATED,
    TOKENS,
    Codes,
    Counts,
    Hashes,
    Kinds,
    Meanings,
    hashes_for,
)
from .features import features_of
from .language import language_of
from .lexicon import LEXICON, words
from .scan import prepare, scan

#: raised when texts are counted differently: new numbers cannot be compared with old ones
REVISION = 1
#: how far back the end of a text is looked for before all of it is
_TAIL_CHARS = 64
_CLOSERS = "\"'’”»*_`)]}"
_STOPS = frozenset(".!?。！？…")


class Reading(NamedTuple):
    """What was measured of a text."""

    #: see FEATURES
    features: bytes
    #: see STYLE
    style: bytes
    tokens: int
    refused: bool
    #: share of the sequences of four tokens that came before; NaN with fewer than five tokens
    repetition: float
    #: see `language`
    language: str


class TextReader:
    """Measures texts, one after the other: not for two threads at once.

    Of a text longer than `max_chars` the first so many characters are read; only its length and its end are the whole
    text's.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._chars, self._words = characters(), words()
        self._codes = np.zeros(max_chars, np.uint32)
        self._kinds = np.zeros(max_chars, np.uint16)
        self._counts = np.zeros(COUNTS, np.int64)
        self._hashes = hashes_for(max_chars)
        self._features = np.zeros(len(FEATURES), np.float32)
        self._style = np.zeros(len(STYLE), np.uint8)
        #: texts that were longer than `max_chars`
        self.cut = 0

    def read(self, text: str) -> Reading | None:
        """Measure a text; None where it holds nothing but white space."""
        end = text[-_TAIL_CHARS:].rstrip() or text.rstrip()[-_TAIL_CHARS:]
        if not end:
            return None
        read = text
        if len(text) > self._max_chars:
            self.cut += 1
            read = text[: self._max_chars]
        ends_open = end.rstrip(_CLOSERS)[-1:] not in _STOPS
        counts = self._counts
        _measure(
            code_points(read),
            len(text),
            ends_open,
            self._chars,
            self._codes,
            self._kinds,
            counts,
            self._hashes,
            self._words.keys,
            self._words.meanings,
            self._features,
            self._style,
        )
        tokens, sequences = int(counts[TOKENS]), int(counts[GRAMS])
        return Reading(
            self._features.tobytes(),
            self._style.tobytes(),
            tokens,
            bool(counts[REFUSED]),
            int(counts[REPEATED]) / sequences if tokens > GRAM_TOKENS else np.nan,
            language_of(counts),
        )


def code_points(text: str) -> Codes:
    """The code points of a text (n,), lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def text_version(max_chars: int) -> str:
    """Names the way texts are counted: revision, features, vocabulary, word lists and cut."""
    what = repr((REVISION, [feature.name for feature in FEATURES], STYLE, LEXICON, max_chars))
    return f"{REVISION}-{hashlib.blake2b(what.encode(), digest_size=4).hexdigest()}"


@kernel
def _measure(
    text: Codes,
    length: int,
    ends_open: bool,
    chars: Characters,
    codes: Codes,
    kinds: Kinds,
    counts: Counts,
    hashes: Hashes,
    keys: Hashes,
    meanings: Meanings,
    features: npt.NDArray[np.float32],
    style: npt.NDArray[np.uint8],
) -> None:
    codes, kinds = codes[: len(text)], kinds[: len(text)]
    foreign = prepare(text, chars, codes, kinds)
    scan(codes, kinds, counts, hashes, keys, meanings)
    counts[FOREIGN] = foreign
    features_of(counts, len(text), length, ends_open, features)
    for entry in range(len(style)):
        style[entry] = min(counts[FIRST_STYLE + entry], 255)
