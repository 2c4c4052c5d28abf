"""Hash tables that kernels look words up in, without making a string.

A word's hash is FNV-1a over its code points with a final mix (Fowler, Noll, Vo; SplitMix64). Two of 30,000 items share
one with a chance of 2e-11; `table_of` refuses that. A word outside the table is taken for one inside with a chance of
2e-15: no key is compared.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel

_MASK = 0xFFFFFFFFFFFFFFFF
_BASIS, _PRIME, _MIX = 0xCBF29CE484222325, 0x100000001B3, 0xBF58476D1CE4E5B9
#: hash of a word before its first character
START = np.uint64(_BASIS)
PRIME, MIX = np.uint64(_PRIME), np.uint64(_MIX)
SHIFT_32, SHIFT_29, SHIFT_7 = np.uint64(32), np.uint64(29), np.uint64(7)
ONE = np.uint64(1)


@kernel
def step(state: np.uint64, code: np.uint32) -> np.uint64:
    """The state with one more character."""
    return (state ^ np.uint64(code)) * PRIME


@kernel
def final(state: np.uint64) -> np.uint64:
    """The hash of the characters so far; never 0, which marks a free place."""
    mixed = (state ^ (state >> SHIFT_32)) * MIX
    return (mixed ^ (mixed >> SHIFT_29)) | ONE


@kernel
def chain(first: np.uint64, second: np.uint64) -> np.uint64:
    """The hash of two things in this order."""
    return final((first ^ (second >> SHIFT_7)) * PRIME + second)


@kernel
def find_key(keys: npt.NDArray[np.uint64], key: np.uint64) -> np.int64:
    """Where `key` stands in the table, or where it would: there the table holds 0. Its size is a power of two."""
    last = np.uint64(len(keys) - 1)
    at = (key >> SHIFT_7) & last
    while keys[at] != key and keys[at] != np.uint64(0):
        at = (at + ONE) & last
    return np.int64(at)


def hashed(word: str, start: int = _BASIS) -> int:
    """The hash of a word, as the kernels compute it."""
    state = start
    for character in word:
        state = (state ^ ord(character)) * _PRIME & _MASK
    return _final(state)


def chained(hashes: Iterable[int]) -> int:
    """The hash of words in this order, as the kernels compute it: the first two, then one more at a time."""
    first, *others = hashes
    for second in others:
        first = _final(((first ^ (second >> 7)) * _PRIME + second) & _MASK)
    return first


def _final(state: int) -> int:
    mixed = (state ^ (state >> 32)) * _MIX & _MASK
    return (mixed ^ (mixed >> 29)) | 1


def table_of(hashes: list[int]) -> tuple[npt.NDArray[np.uint64], list[int]]:
    """A table at most half full, and the place of each hash in it. Raises ValueError where two are equal."""
    if len(set(hashes)) < len(hashes):
        raise ValueError("two words of the vocabulary have one hash")
    size = 1 << (2 * len(hashes) - 1).bit_length()
    keys = [0] * size
    places = []
    for key in hashes:
        at = (key >> 7) & (size - 1)
        while keys[at]:
            at = (at + 1) & (size - 1)
        keys[at] = key
        places.append(at)
    return np.array(keys, np.uint64), places
