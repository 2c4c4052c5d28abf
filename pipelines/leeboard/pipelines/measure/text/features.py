"""The readable features of a text, from the counts of a scan. `leeboard.schemas.FEATURES` says what each means."""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel

from .counters import (
    BREAKS,
    COMMAS,
    DIFFERENT,
    DIGITS,
    FIRST_LANGUAGE,
    FIRST_PERSONS,
    FIRST_WORDS,
    FOREIGN,
    HEDGES,
    ITEMS,
    LETTERS,
    MARKUP,
    QUESTIONS,
    REFUSED,
    SENTENCES,
    SIGNS,
    UPPERS,
    WORD_LETTERS,
    WORDS,
    Counts,
)
from .lexicon import LANGUAGES

#: a refusal weighs as much as so many hedging words
REFUSAL_WEIGHT = 5


@kernel
def features_of(
    counts: Counts, characters: int, length: int, ends_open: bool, features: npt.NDArray[np.float32]
) -> None:
    """Write the features (len(FEATURES),) of a scanned text.

    `characters` were scanned (at least one) of a text of `length`; `ends_open`: how the whole text ends.
    """
    words = max(counts[WORDS], 1)
    thousands = characters / 1000.0
    features[0] = math.log(1.0 + length)
    features[1] = counts[WORD_LETTERS] / words
    features[2] = math.log(words / max(counts[SENTENCES], 1))
    features[3] = counts[DIFFERENT] / min(words, FIRST_WORDS)
    features[4] = counts[UPPERS] / max(counts[LETTERS], 1)
    features[5] = counts[DIGITS] / characters
    features[6] = counts[SIGNS] / characters
    features[7] = counts[COMMAS] / thousands
    features[8] = counts[MARKUP] / thousands
    features[9] = counts[ITEMS] / thousands
    features[10] = counts[BREAKS] / thousands
    features[11] = counts[QUESTIONS] / thousands
    features[12] = (counts[HEDGES] + REFUSAL_WEIGHT * counts[REFUSED]) / words
    features[13] = counts[FIRST_PERSONS] / words
    features[14] = counts[FIRST_LANGUAGE] / words
    other = 0
    for language in range(1, len(LANGUAGES)):
        other = max(other, counts[FIRST_LANGUAGE + language])
    features[15] = other / words
    features[16] = counts[FOREIGN] / characters
    features[17] = ends_open
