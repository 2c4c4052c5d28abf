"""One compiled walk over a text that counts all that features, style, language and flags need."""

import numpy as np
from leeboard.detectors.core.jit import kernel

from .characters import (
    ALONE,
    BREAK,
    IDEOGRAPH,
    LETTER,
    MARK,
    NUMBER,
    SCRIPT_SHIFT,
    SCRIPTS,
    SPACE,
    UPPER,
    Characters,
)
from .counters import (
    CANNOT_AT,
    DIFFERENT,
    FIRST_LANGUAGE,
    FIRST_PERSONS,
    FIRST_SCRIPT,
    FIRST_STYLE,
    FIRST_WORDS,
    HEDGES,
    LAST_WORDS,
    LETTERS,
    PLACES,
    REFUSED,
    SEEN,
    SEQUENCES,
    SIGNS,
    SORRY_AT,
    UPPERS,
    WORD_LETTERS,
    WORDS,
    Codes,
    Counts,
    Hashes,
    Kinds,
    Meanings,
    take_token,
)
from .hashing import START, chain, final, find_key, step
from .lexicon import (
    ATTRIBUTE_SHIFT,
    BUT,
    CANNOT,
    ENDS_PHRASE,
    ENTRY_BITS,
    FIRST_PERSON,
    HEDGE,
    HELP,
    LANGUAGES,
    LONGEST_PHRASE,
    NO_ENTRY,
    REFUSES,
    SORRY,
)
from .marks import CURLY, read_breaks, read_line_start, read_number, read_sign, read_space

#: letters after which a run of them counts as another word
LONGEST_WORD = 40
LONG_WORD = 12
#: words in which a refusal is looked for, and how many may lie between its halves
REFUSAL_WORDS, CLAUSE_WORDS, SORRY_WORDS = 120, 4, 2

_CAPITALISED, _CAPITALS, _LONG, _SCRIPT = (
    PLACES[name] for name in ("Capitalised word", "CAPITAL word", "word of 12 letters", "other script")
)
_CONTRACTION, _ELISION, _STRAIGHT, _CURLIES = (PLACES[name] for name in ("'s", "l' d' qu'", "'", "‘ ’"))
_APOSTROPHE = ord("'")
_LATIN, _HAN = SCRIPTS.index("latin"), SCRIPTS.index("han")
(_D, _E, _L, _M, _R, _S, _T, _V) = (ord(letter) for letter in "delmrstv")


@kernel
def prepare(text: Codes, chars: Characters, codes: Codes, kinds: Kinds) -> int:
    """Write the bits of every character and its lower case; give the number of characters beyond ASCII."""
    foreign = 0
    for k in range(len(text)):
        code = text[k]
        if code < len(chars.kinds):
            kinds[k] = chars.kinds[code]
        elif code < 0x40000:
            kinds[k] = LETTER | IDEOGRAPH | ALONE | _HAN << SCRIPT_SHIFT
        else:
            kinds[k] = MARK if 0xE0100 <= code < 0xE01F0 else 0
        codes[k] = chars.lower[code] if code < len(chars.lower) else code
        foreign += code > 127
    return foreign


@kernel
def contraction(codes: Codes, kinds: Kinds, at: int) -> int:
    """Which contraction the letters after an apostrophe are: 0 to 6 in the order of the vocabulary, -1 for none."""
    length = 0
    while length < 3 and at + length < len(codes) and kinds[at + length] & LETTER != 0:
        length += 1
    first = codes[at]
    if length == 1:
        if first == _S:
            return 0
        if first == _T:
            return 1
        if first == _D:
            return 5
        return 6 if first == _M else -1
    if length != 2:
        return -1
    second = codes[at + 1]
    if second == _E:
        return 2 if first == _R else (4 if first == _V else -1)
    return 3 if first == _L and second == _L else -1


@kernel
def count_shape(kinds: Kinds, start: int, letters: int, uppers: int, counts: Counts) -> None:
    """Count the letters of a word that begins at `start`, by script and case."""
    script = int(kinds[start]) >> SCRIPT_SHIFT
    counts[LETTERS] += letters
    counts[UPPERS] += uppers
    counts[FIRST_SCRIPT + script] += letters
    if script != _LATIN:
        counts[_SCRIPT + (script - 1 if script > _LATIN else 0)] += 1
    if uppers == letters and letters > 1:
        counts[_CAPITALS] += 1
    elif kinds[start] & UPPER != 0:
        counts[_CAPITALISED] += 1
    counts[_LONG] += letters >= LONG_WORD


@kernel
def read_word(
    codes: Codes, kinds: Kinds, at: int, counts: Counts, hashes: Hashes, keys: Hashes, meanings: Meanings
) -> int:
    """A word, its contraction included: the place after it."""
    start, state, letters, uppers = at, START, 0, 0
    alone = kinds[at] & ALONE
    while at < len(codes):
        kind = kinds[at]
        if kind & LETTER != 0:
            if letters > 0 and (alone | kind & ALONE != 0 or letters >= LONGEST_WORD):
                break
            letters += 1
            uppers += kind & UPPER != 0
            state = step(state, codes[at])
        elif kind & MARK == 0:
            break
        at += 1
    count_shape(kinds, start, letters, uppers, counts)
    stem = final(state)
    whole = stem
    if at + 1 < len(codes) and (codes[at] == _APOSTROPHE or codes[at] == CURLY) and kinds[at + 1] & LETTER != 0:
        which = contraction(codes, kinds, at + 1)
        if which >= 0 or letters <= 2:
            counts[_STRAIGHT if codes[at] == _APOSTROPHE else _CURLIES] += 1
            counts[SIGNS] += 1
            counts[_CONTRACTION + which if which >= 0 else _ELISION] += 1
            at += 1
        if which >= 0:
            state = step(state, np.uint32(_APOSTROPHE))
            while at < len(codes) and kinds[at] & LETTER != 0:
                state = step(state, codes[at])
                letters += 1
                at += 1
            whole = final(state)
    counts[WORD_LETTERS] += letters
    know_word(counts, hashes, keys, meanings, stem, whole)
    return at


@kernel
def know_word(
    counts: Counts, hashes: Hashes, keys: Hashes, meanings: Meanings, stem: np.uint64, whole: np.uint64
) -> None:
    """Count a word by its hash (`whole`: with its contraction), and what it says of language and refusal."""
    counts[WORDS] += 1
    take_token(counts, hashes, whole)
    if counts[WORDS] <= FIRST_WORDS:
        seen = hashes[SEEN:SEQUENCES]
        at = find_key(seen, whole)
        counts[DIFFERENT] += seen[at] != whole
        seen[at] = whole
    at = find_key(keys, whole)
    if keys[at] != whole and whole != stem:
        at = find_key(keys, stem)
    meaning = int(meanings[at])
    if meaning & ENTRY_BITS != NO_ENTRY:
        counts[FIRST_STYLE + (meaning & ENTRY_BITS)] += 1
    attributes = meaning >> ATTRIBUTE_SHIFT
    if attributes != 0:
        for language in range(len(LANGUAGES)):
            counts[FIRST_LANGUAGE + language] += attributes >> language & 1
        counts[FIRST_PERSONS] += attributes & FIRST_PERSON != 0
        counts[HEDGES] += attributes & HEDGE != 0
        if counts[WORDS] <= REFUSAL_WORDS:
            look_for_refusal(counts, hashes, keys, meanings, whole, attributes)
    hashes[LAST_WORDS], hashes[LAST_WORDS + 1], hashes[LAST_WORDS + 2] = (
        hashes[LAST_WORDS + 1],
        hashes[LAST_WORDS + 2],
        whole,
    )


@kernel
def look_for_refusal(
    counts: Counts, hashes: Hashes, keys: Hashes, meanings: Meanings, word: np.uint64, attributes: int
) -> None:
    """Does this word complete a refusal? See `lexicon`."""
    now = counts[WORDS]
    if attributes & HELP != 0 and counts[CANNOT_AT] > 0 and now - counts[CANNOT_AT] <= CLAUSE_WORDS:
        counts[REFUSED] = 1
    if attributes & BUT != 0 and counts[SORRY_AT] > 0 and now - counts[SORRY_AT] <= SORRY_WORDS:
        counts[REFUSED] = 1
    if attributes & SORRY != 0:
        counts[SORRY_AT] = now
    if attributes & ENDS_PHRASE != 0:
        phrase = word
        for back in range(1, LONGEST_PHRASE):
            phrase = chain(phrase, hashes[LAST_WORDS + 3 - back])
            kind = int(meanings[find_key(keys, phrase)]) >> ATTRIBUTE_SHIFT
            if kind & REFUSES != 0:
                counts[REFUSED] = 1
            if kind & CANNOT != 0:
                counts[CANNOT_AT] = now


@kernel
def scan(codes: Codes, kinds: Kinds, counts: Counts, hashes: Hashes, keys: Hashes, meanings: Meanings) -> None:
    """Count a prepared text into `counts`; `hashes` is used up."""
    counts[:] = 0
    size = 2
    while size < 2 * len(codes):
        size *= 2
    hashes = hashes[: SEQUENCES + size]
    hashes[:] = 0
    at, line_start = 0, True
    while at < len(codes):
        if line_start:
            line_start = False
            at = read_line_start(codes, kinds, at, counts, hashes)
            continue
        kind = kinds[at]
        if kind & LETTER != 0:
            at = read_word(codes, kinds, at, counts, hashes, keys, meanings)
        elif kind & NUMBER != 0:
            at = read_number(codes, kinds, at, counts, hashes)
        elif kind & BREAK != 0:
            at = read_breaks(codes, kinds, at, counts, hashes)
            line_start = True
        elif kind & SPACE != 0:
            at = read_space(codes, kinds, at, counts)
        elif kind & MARK != 0:
            at += 1
        else:
            at = read_sign(codes, kinds, at, counts, hashes, keys, meanings)
