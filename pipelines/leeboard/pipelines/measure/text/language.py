"""The language or script of a text, as far as commonest words and Unicode blocks tell it."""

from .characters import SCRIPTS
from .counters import FIRST_LANGUAGE, FIRST_SCRIPT, WORDS, Counts
from .lexicon import LANGUAGES

#: text without letters
NONE = "none"
_LATIN, _HAN, _KANA = SCRIPTS.index("latin"), SCRIPTS.index("han"), SCRIPTS.index("kana")
#: kana among kana and ideographs from which the text is Japanese: native text has more than half
_JAPANESE = 0.1
#: commonest words of a language, as a share of all, below which it is not told
_LEAST_SHARE = 0.1


def language_of(counts: Counts) -> str:
    """One of LANGUAGES, `latin` (a language that was not told), another of SCRIPTS, or `none`.

    The script with the most letters decides; Latin text is of the language whose commonest words are most frequent in
    it, where one is.
    """
    letters = counts[FIRST_SCRIPT : FIRST_SCRIPT + len(SCRIPTS)].tolist()
    most = max(letters)
    if most == 0:
        return NONE
    script = letters.index(most)
    if script == _HAN and letters[_KANA] >= _JAPANESE * (letters[_KANA] + most):
        script = _KANA
    if script != _LATIN:
        return SCRIPTS[script]
    known = counts[FIRST_LANGUAGE : FIRST_LANGUAGE + len(LANGUAGES)].tolist()
    best = max(known)
    if best < _LEAST_SHARE * int(counts[WORDS]) or known.count(best) > 1:
        return SCRIPTS[_LATIN]
    return LANGUAGES[known.index(best)]
