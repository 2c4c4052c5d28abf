"""What a scan of a text counts, and the small kernels that all of its parts use.

Kernels take plain arrays: `codes` (n,) code points in lower case, `kinds` (n,) their bits (see `characters`), `counts`
(COUNTS,), and `hashes`: what was seen so far.
"""

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel
from leeboard.schemas import STYLE

from .characters import BREAK, SCRIPTS, SPACE
from .hashing import chain, find_key
from .lexicon import LANGUAGES

Codes = npt.NDArray[np.uint32]
Kinds = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Meanings = npt.NDArray[np.int64]

#: counters of words, characters and marks; of tokens and of sequences that came before; of refusals (was there one, and
#: the numbers of the words that ended the last "I cannot" and the last "sorry")
WORDS, WORD_LETTERS, LETTERS, UPPERS, DIGITS, SIGNS, COMMAS, SENTENCES, QUESTIONS, BREAKS = range(10)
MARKUP, ITEMS, FOREIGN, FIRST_PERSONS, HEDGES, TOKENS, DIFFERENT, GRAMS, REPEATED = range(10, 19)
REFUSED, CANNOT_AT, SORRY_AT = range(19, 22)
#: words of every language, letters of every script, and the entries of the style vocabulary
FIRST_LANGUAGE = 22
FIRST_SCRIPT = FIRST_LANGUAGE + len(LANGUAGES)
FIRST_STYLE = FIRST_SCRIPT + len(SCRIPTS)
COUNTS = FIRST_STYLE + len(STYLE)

#: place in `counts` of an entry of the style vocabulary, by its name
PLACES = {name: FIRST_STYLE + k for k, name in enumerate(STYLE)}

#: a sequence of so many tokens that came before is a repetition
GRAM_TOKENS = 4
#: words among which the share of different ones is taken
FIRST_WORDS = 100
#: `hashes` holds the last three tokens and words, the different ones among the first words (a table at most half full),
#: and the different sequences (a table of a power of two, at least twice the characters)
LAST_TOKENS, LAST_WORDS, SEEN, SEQUENCES = 0, 3, 8, 8 + 256


def hashes_for(most_chars: int) -> Hashes:
    """Space for texts of at most `most_chars` characters."""
    return np.zeros(SEQUENCES + (1 << (2 * most_chars - 1).bit_length()), np.uint64)


@kernel
def take_token(counts: Counts, hashes: Hashes, token: np.uint64) -> None:
    """One more token: is the sequence that it ends new?"""
    counts[TOKENS] += 1
    if counts[TOKENS] >= GRAM_TOKENS:
        sequence = chain(chain(chain(hashes[0], hashes[1]), hashes[2]), token)
        table = hashes[SEQUENCES:]
        at = find_key(table, sequence)
        counts[GRAMS] += 1
        if table[at] == sequence:
            counts[REPEATED] += 1
        table[at] = sequence
    hashes[0], hashes[1], hashes[2] = hashes[1], hashes[2], token


@kernel
def is_space(kinds: Kinds, at: int) -> bool:
    """Is there white space at a place, or the end of the text?"""
    return at >= len(kinds) or kinds[at] & SPACE != 0


@kernel
def ends_line(kinds: Kinds, at: int) -> bool:
    """Does a line end at a place, blanks left out?"""
    while at < len(kinds) and kinds[at] & SPACE != 0 and kinds[at] & BREAK == 0:
        at += 1
    return at >= len(kinds) or kinds[at] & BREAK != 0


@kernel
def run_of(codes: Codes, at: int) -> int:
    """How often the character at a place stands there in a row."""
    end = at + 1
    while end < len(codes) and codes[end] == codes[at]:
        end += 1
    return end - at
