"""What a character is: one table of bits by code point, made once from the interpreter's Unicode database."""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: code points with an entry of their own: planes 0 and 1. Beyond lie ideographs (planes 2 and 3), tags and
#: variation selectors (plane 14), private use, and nothing
TABLE = 0x20000
#: code points whose lower case counts as the same word: Latin, Greek, Cyrillic, Armenian ...
LOWER = 0x2000

LETTER, NUMBER, SPACE, BREAK, MARK, ACCENT, UPPER, PUNCTUATION, IDEOGRAPH, CONTROL, ALONE, EMOJI = (
    1 << k for k in range(12)
)
#: the four bits above hold the number of the script
SCRIPT_SHIFT = 12
SCRIPTS = (
    "other",
    "latin",
    "greek",
    "cyrillic",
    "hebrew",
    "arabic",
    "devanagari",
    "thai",
    "hangul",
    "kana",
    "han",
)
#: first and last code point of the blocks of a script
_BLOCKS = (
    ("latin", 0x0041, 0x024F),
    ("latin", 0x1E00, 0x1EFF),
    ("latin", 0x2C60, 0x2C7F),
    ("latin", 0xA720, 0xA7FF),
    ("latin", 0xFF21, 0xFF5A),
    ("greek", 0x0370, 0x03FF),
    ("greek", 0x1F00, 0x1FFF),
    ("cyrillic", 0x0400, 0x052F),
    ("hebrew", 0x0590, 0x05FF),
    ("arabic", 0x0600, 0x06FF),
    ("arabic", 0x0750, 0x077F),
    ("arabic", 0x08A0, 0x08FF),
    ("arabic", 0xFB50, 0xFDFF),
    ("arabic", 0xFE70, 0xFEFC),
    ("devanagari", 0x0900, 0x097F),
    ("thai", 0x0E00, 0x0E7F),
    ("hangul", 0x1100, 0x11FF),
    ("hangul", 0x3130, 0x318F),
    ("hangul", 0xAC00, 0xD7A3),
    ("kana", 0x3040, 0x30FF),
    ("kana", 0x31F0, 0x31FF),
    ("kana", 0xFF66, 0xFF9D),
)
#: ideographs, which WordPiece takes one by one
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
#: scripts without spaces between words: each character counts as a word
_UNSPACED = ("thai", "kana", "han")
_UNSPACED_BLOCKS = ((0x0E80, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))
_EMOJI = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))

_BITS = {
    **dict.fromkeys(("Lu", "Lt"), LETTER | UPPER),
    **dict.fromkeys(("Ll", "Lm", "Lo"), LETTER),
    **dict.fromkeys(("Nd", "Nl", "No"), NUMBER),
    "Mn": MARK | ACCENT,
    **dict.fromkeys(("Mc", "Me"), MARK),
    **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), PUNCTUATION),
    **dict.fromkeys(("Cc", "Cf", "Cn", "Co", "Cs"), CONTROL),
    **dict.fromkeys(("Zs", "Zl", "Zp"), SPACE),
    **dict.fromkeys(("Sm", "Sc", "Sk", "So"), 0),
}


class Characters(NamedTuple):
    """Properties of code points."""

    #: (TABLE,): bits, and the script
    kinds: npt.NDArray[np.uint16]
    #: (LOWER,): the lower case, where it is one code point
    lower: npt.NDArray[np.uint32]


@cache
def characters() -> Characters:
    """The tables, made at first use (some 50 ms)."""
    category = unicodedata.category
    kinds = np.array([_BITS[category(chr(c))] for c in range(TABLE)], np.uint16)
    for name, first, last in _BLOCKS:
        kinds[first : last + 1] |= SCRIPTS.index(name) << SCRIPT_SHIFT
        if name in _UNSPACED:
            kinds[first : last + 1] |= ALONE
    for first, last in _IDEOGRAPHS:
        kinds[first : last + 1] |= IDEOGRAPH | ALONE | SCRIPTS.index("han") << SCRIPT_SHIFT
    for first, last in _UNSPACED_BLOCKS:
        kinds[first : last + 1] |= ALONE
    for first, last in _EMOJI:
        kinds[first : last + 1] |= EMOJI
    # what ends a line, and the other white space among the controls
    kinds[[0x0A, 0x0D, 0x2028, 0x2029]] = SPACE | BREAK
    kinds[0x09] = SPACE
    kinds[[0x0B, 0x0C, 0x85]] = SPACE | BREAK | CONTROL
    kinds[[0x1C, 0x1D, 0x1E, 0x1F]] = SPACE | CONTROL
    ascii_signs = [c for c in range(0x21, 0x7F) if not chr(c).isalnum()]
    kinds[ascii_signs] = PUNCTUATION
    lower = np.arange(LOWER, dtype=np.uint32)
    for c in range(LOWER):
        small = chr(c).lower()
        if len(small) == 1:
            lower[c] = ord(small)
    return Characters(kinds, lower)
