"""WordPiece as BERT's uncased models use it (Devlin et al. 2019; Schuster, Nakajima 2012), compiled.

A text becomes words: accents and control characters are dropped, white space separates, punctuation and ideographs
stand alone. A word becomes the longest items of the vocabulary from left to right, or `[UNK]`.
"""

import unicodedata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel

from ..text.characters import ACCENT, CONTROL, IDEOGRAPH, PUNCTUATION, SPACE, Characters
from ..text.hashing import START, final, find_key, hashed, step, table_of

#: longer words are unknown, as in BERT
LONGEST_WORD = 100
UNKNOWN = "[UNK]"
_CONTINUED = "##"
_TAB, _FEED, _RETURN, _REPLACEMENT = 0x09, 0x0A, 0x0D, 0xFFFD
_HASHED_CONTINUED = np.uint64(hashed("#"))
_CONTINUED_START = hashed("#")

Ids = npt.NDArray[np.int32]


class Vocabulary(NamedTuple):
    """Items by their hashes (see `text.hashing`); those that continue a word have hashes of their own."""

    #: (size,): hashes, 0 where free
    keys: npt.NDArray[np.uint64]
    #: (size,): numbers of the items
    ids: Ids
    #: letters of the longest item
    longest: int
    #: number of `[UNK]`
    unknown: int


def vocabulary_of(items: tuple[str, ...]) -> Vocabulary:
    """The items, numbered in their order. Raises ValueError where `[UNK]` is not among them."""
    hashes = [hashed(item[2:], _CONTINUED_START) if item.startswith(_CONTINUED) else hashed(item) for item in items]
    keys, places = table_of(hashes)
    ids = np.full(len(keys), -1, np.int32)
    ids[places] = np.arange(len(items))
    return Vocabulary(keys, ids, max(len(item.removeprefix(_CONTINUED)) for item in items), items.index(UNKNOWN))


def folded(text: str) -> str:
    """Lower case, accents as characters of their own: what `pieces` reads."""
    if text.isascii():
        return text.lower()
    # a capital sigma at the end of a word becomes what it becomes elsewhere
    return unicodedata.normalize("NFD", text).replace("Σ", "σ").lower()


@kernel
def longest_item(word: npt.NDArray[np.uint32], start: int, vocabulary: Vocabulary) -> tuple[int, int]:
    """The longest item at a place of a word: its number and its end, -1 and `start` where there is none."""
    state = START if start == 0 else _HASHED_CONTINUED
    found, end = -1, start
    for at in range(start, min(len(word), start + vocabulary.longest)):
        state = step(state, word[at])
        slot = find_key(vocabulary.keys, final(state))
        if vocabulary.keys[slot] != np.uint64(0):
            found, end = int(vocabulary.ids[slot]), at + 1
    return found, end


@kernel
def pieces_of(word: npt.NDArray[np.uint32], vocabulary: Vocabulary, ids: Ids, count: int) -> int:
    """Add the items of a word to `ids`, of which `count` are in use: the new count."""
    if len(word) > LONGEST_WORD:
        ids[count] = vocabulary.unknown
        return count + 1
    first, start = count, 0
    while start < len(word):
        found, start = longest_item(word, start, vocabulary)
        if found < 0:
            ids[first] = vocabulary.unknown
            return first + 1
        ids[count] = found
        count += 1
    return count


@kernel
def pieces(
    text: npt.NDArray[np.uint32], chars: Characters, vocabulary: Vocabulary, word: npt.NDArray[np.uint32], ids: Ids
) -> int:
    """Write the items of a folded text to `ids` (at least as many as characters): how many there are.

    `word`: space for as many characters as the text has.
    """
    count, length = 0, 0
    for at in range(len(text)):
        code = text[at]
        kind = np.int64(chars.kinds[code]) if code < len(chars.kinds) else (IDEOGRAPH if code < 0x40000 else ACCENT)
        space = kind & SPACE != 0 and (kind & CONTROL == 0)
        if not space and (kind & (CONTROL | ACCENT) != 0 or code == _REPLACEMENT):
            continue
        alone = kind & (PUNCTUATION | IDEOGRAPH) != 0
        if (space or alone) and length > 0:
            count = pieces_of(word[:length], vocabulary, ids, count)
            length = 0
        if not space:
            word[length] = code
            length += 1
            if alone:
                count = pieces_of(word[:1], vocabulary, ids, count)
                length = 0
    if length > 0:
        count = pieces_of(word[:length], vocabulary, ids, count)
    return count
