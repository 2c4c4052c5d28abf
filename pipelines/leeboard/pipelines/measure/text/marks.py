"""The marks of a text: Markdown at the start of a line, punctuation and other signs, line breaks, numbers."""

import numpy as np
from leeboard.detectors.core.jit import kernel

from .characters import BREAK, EMOJI, NUMBER, PUNCTUATION, SPACE
from .counters import (
    BREAKS,
    COMMAS,
    DIGITS,
    FIRST_STYLE,
    ITEMS,
    MARKUP,
    PLACES,
    QUESTIONS,
    SENTENCES,
    SIGNS,
    Codes,
    Counts,
    Hashes,
    Kinds,
    Meanings,
    ends_line,
    is_space,
    run_of,
    take_token,
)
from .hashing import START, final, find_key, step
from .lexicon import ENTRY_BITS, NO_ENTRY

_HEADING, _DASH_ITEM, _STAR_ITEM = (PLACES[name] for name in ("# heading", "- item", "* item"))
_DOT_ITEM, _PAREN_ITEM, _QUOTE, _FENCE = (PLACES[name] for name in ("1. item", "1) item", "> quote", "``` fence"))
_ROW, _TABLE_RULE, _RULE, _INDENT = (PLACES[name] for name in ("| row", "|---| rule", "--- rule", "indented line"))
_BOLD, _BOLD_LINE, _LINK, _BOLD_COLON, _COLON_BOLD = (PLACES[name] for name in ("**", "__", "](", "**:", ":**"))
_LINE, _COLON_END, _SPACE_END = (PLACES[name] for name in ("line break", "colon at line end", "space at line end"))
_DOUBLE_SPACE, _TAB_ENTRY, _AND, _DOTS = (PLACES[name] for name in ("double space", "tab", ", and", "..."))
_ZERO, _TEN, _TWO_DIGITS, _DECIMAL = (PLACES[name] for name in ("0", "10", "two digits", "decimal point"))
_EMOJI_ENTRY, _OTHER_SIGN = PLACES["emoji"], PLACES["other sign"]

(HASH, STAR, DASH, UNDER, PIPE, TICK, COLON, DOT, COMMA, BANG, QUERY) = (ord(sign) for sign in "#*-_|`:.,!?")
(OPEN, CLOSE, BRACKET, GREATER, QUOTE, BLANK, TAB, FEED, RETURN) = (ord(sign) for sign in '()]>" \t\n\r')
BULLET, CLOSING_QUOTE, CURLY, ELLIPSIS = 0x2022, 0x201D, 0x2019, 0x2026
FULL_STOP, FULL_BANG, FULL_QUERY = 0x3002, 0xFF01, 0xFF1F
NIL, NINE = ord("0"), ord("9")
#: tokens that are no words
_NUMBER_TOKEN, _BREAK_TOKEN, _LINE_TOKEN = np.uint64(3), np.uint64(5), np.uint64(7)
#: digits of the number of an item
_ITEM_DIGITS = 3


@kernel
def count_digits(codes: Codes, at: int, digits: int, counts: Counts) -> None:
    """A whole number of so many digits, by the style vocabulary."""
    if digits == 1 and NIL <= codes[at] <= NINE:
        counts[_ZERO + np.int64(codes[at]) - NIL] += 1
    elif digits == 2 and codes[at] == NIL + 1 and codes[at + 1] == NIL:
        counts[_TEN] += 1
    else:
        counts[_TWO_DIGITS + min(max(digits, 2), 5) - 2] += 1


@kernel
def read_item(codes: Codes, at: int, counts: Counts) -> int:
    """The mark of a list item at the start of a line: its length, 0 where there is none."""
    code, entry, length, digits = codes[at], -1, 1, 0
    while at + digits < len(codes) and digits <= _ITEM_DIGITS and NIL <= codes[at + digits] <= NINE:
        digits += 1
    if code == BULLET:
        counts[ITEMS] += 1
        return 0
    if code == DASH:
        entry = _DASH_ITEM
    elif code == STAR:
        entry = _STAR_ITEM
    elif 0 < digits <= _ITEM_DIGITS and at + digits < len(codes):
        length = digits + 1
        if codes[at + digits] == DOT:
            entry = _DOT_ITEM
        elif codes[at + digits] == CLOSE:
            entry = _PAREN_ITEM
    if entry < 0 or at + length >= len(codes) or codes[at + length] != BLANK:
        return 0
    counts[entry] += 1
    counts[ITEMS] += 1
    if digits > 0:
        counts[DIGITS] += digits
        # readers take the next step for the next sentence
        counts[SENTENCES] += 1
        count_digits(codes, at, digits, counts)
    return length


@kernel
def read_table(codes: Codes, kinds: Kinds, at: int, counts: Counts) -> int:
    """A line of a table: the length of its first mark, or of the whole line where it is a rule."""
    end, dashes = at, 0
    while end < len(codes) and kinds[end] & BREAK == 0:
        if codes[end] == DASH:
            dashes += 1
        elif codes[end] != PIPE and codes[end] != COLON and codes[end] != BLANK:
            dashes = 0
            break
        end += 1
    if dashes > 0:
        counts[_TABLE_RULE] += 1
        return end - at
    counts[_ROW] += 1
    return 1


@kernel
def read_line_start(codes: Codes, kinds: Kinds, at: int, counts: Counts, hashes: Hashes) -> int:
    """Markdown at the start of a line: the place after it."""
    start = at
    while at < len(codes) and kinds[at] & SPACE != 0:
        at += 1
    if at >= len(codes):
        return start
    if at - start >= 2 or (at > start and codes[start] == TAB):
        counts[_INDENT] += 1
    code, run, length = codes[at], run_of(codes, at), 0
    if code == HASH and run <= 6 and is_space(kinds, at + run):
        counts[_HEADING + min(run, 4) - 1] += 1
        length = run
    elif code == TICK and run >= 3:
        counts[_FENCE] += 1
        length = run
    elif code in (DASH, STAR, UNDER) and run >= 3 and ends_line(kinds, at + run):
        counts[_RULE] += 1
        length = run
    elif code == GREATER and is_space(kinds, at + 1):
        counts[_QUOTE] += 1
        length = 1
    elif code == PIPE:
        length = read_table(codes, kinds, at, counts)
    else:
        length = read_item(codes, at, counts)
    if length > 0:
        counts[MARKUP] += 1
        take_token(counts, hashes, _LINE_TOKEN + np.uint64(code))
    return at + length


@kernel
def read_number(codes: Codes, kinds: Kinds, at: int, counts: Counts, hashes: Hashes) -> int:
    """A number with its decimals and groups of digits: the place after it."""
    start, state = at, START
    while at < len(codes) and kinds[at] & NUMBER != 0:
        state = step(state, codes[at])
        at += 1
    count_digits(codes, start, at - start, counts)
    digits = at - start
    while at + 1 < len(codes) and (codes[at] == DOT or codes[at] == COMMA) and kinds[at + 1] & NUMBER != 0:
        counts[_DECIMAL] += 1
        counts[SIGNS] += 1
        counts[COMMAS] += codes[at] == COMMA
        at += 1
        while at < len(codes) and kinds[at] & NUMBER != 0:
            state = step(state, codes[at])
            digits += 1
            at += 1
    counts[DIGITS] += digits
    take_token(counts, hashes, final(state) ^ _NUMBER_TOKEN)
    return at


@kernel
def read_space(codes: Codes, kinds: Kinds, at: int, counts: Counts) -> int:
    """White space inside a line: the place after it."""
    start = at
    while at < len(codes) and kinds[at] & SPACE != 0 and kinds[at] & BREAK == 0:
        counts[_TAB_ENTRY] += codes[at] == TAB
        at += 1
    if at < len(codes) and kinds[at] & BREAK != 0:
        counts[_SPACE_END] += 1
    elif at - start >= 2:
        counts[_DOUBLE_SPACE] += 1
    return at


@kernel
def read_breaks(codes: Codes, kinds: Kinds, at: int, counts: Counts, hashes: Hashes) -> int:
    """Line breaks, blank lines among them: the start of the next line with something in it, or the end of the text."""
    breaks, line = 0, at
    while at < len(codes) and kinds[at] & SPACE != 0:
        if kinds[at] & BREAK != 0:
            breaks += not (codes[at] == FEED and at > 0 and codes[at - 1] == RETURN)
            line = at + 1
        at += 1
    counts[_LINE + min(breaks, 3) - 1] += 1
    counts[BREAKS] += breaks
    take_token(counts, hashes, _BREAK_TOKEN)
    return line if at < len(codes) else at


@kernel
def read_stop(codes: Codes, kinds: Kinds, at: int, counts: Counts) -> int:
    """What else a comma, colon, full stop, question or exclamation mark means: the length of the sign."""
    code, length = codes[at], 1
    if code == COMMA:
        counts[COMMAS] += 1
        if at + 5 < len(codes) and codes[at + 1] == BLANK and codes[at + 5] == BLANK:
            counts[_AND] += codes[at + 2] == ord("a") and codes[at + 3] == ord("n") and codes[at + 4] == ord("d")
        return 1
    if code == COLON:
        counts[_COLON_END] += ends_line(kinds, at + 1)
        counts[_COLON_BOLD] += at + 2 < len(codes) and codes[at + 1] == STAR and codes[at + 2] == STAR
        return 1
    counts[QUESTIONS] += code in (QUERY, FULL_QUERY)
    if code == DOT:
        length = run_of(codes, at)
    end = at + length
    while end < len(codes) and codes[end] in (CLOSE, QUOTE, CLOSING_QUOTE, CURLY, STAR):
        end += 1
    counts[SENTENCES] += code >= FULL_STOP or is_space(kinds, end)
    return length


@kernel
def is_stop(code: np.uint32) -> bool:
    """Is it a sign that `read_stop` knows?"""
    found: bool = code in (DOT, COMMA, COLON, BANG, QUERY, ELLIPSIS, FULL_STOP, FULL_BANG, FULL_QUERY)
    return found


@kernel
def read_sign(
    codes: Codes, kinds: Kinds, at: int, counts: Counts, hashes: Hashes, keys: Hashes, meanings: Meanings
) -> int:
    """Anything that is neither word, number nor white space: the place after it."""
    code, length, entry = codes[at], 1, -1
    prose = kinds[at] & PUNCTUATION != 0
    if code in (STAR, UNDER):
        prose = False
        if at + 1 < len(codes) and codes[at + 1] == code:
            length, entry = 2, (_BOLD if code == STAR else _BOLD_LINE)
            counts[MARKUP] += 1
            counts[_BOLD_COLON] += code == STAR and at + 2 < len(codes) and codes[at + 2] == COLON
    elif code in (TICK, PIPE):
        prose = False
        counts[MARKUP] += 1
    elif code == HASH:
        prose = False
    elif code == BRACKET and at + 1 < len(codes) and codes[at + 1] == OPEN:
        length, entry = 2, _LINK
        counts[MARKUP] += 1
    elif is_stop(code):
        length = read_stop(codes, kinds, at, counts)
        if length >= 3:
            entry = _DOTS
    if prose:
        counts[SIGNS] += length
    sign = final(step(START, code))
    take_token(counts, hashes, sign + np.uint64(length))
    if entry < 0:
        entry = int(meanings[find_key(keys, sign)]) & ENTRY_BITS
        if entry != NO_ENTRY:
            entry += FIRST_STYLE
        else:
            entry = _EMOJI_ENTRY if kinds[at] & EMOJI != 0 else _OTHER_SIGN
    counts[entry] += 1
    return at + length
