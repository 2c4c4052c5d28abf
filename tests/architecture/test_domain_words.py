"""Detectors know streams of events. Only their owner knows that these are calls with texts, by scope and topic."""

import re
import tokenize
from io import StringIO

import pytest

from tests.architecture.test_architecture import name_of, sources

WORDS = re.compile(r"calls?|texts?|scopes?|topics?|tokens?|apps?", re.IGNORECASE)
#: where a word has another meaning
ALLOWED = ("which a subclass calls", "ast.Call")


def domain_words(code: str) -> list[str]:
    """Line and word, where names, strings (of fields, docstrings) or comments use a word of the domain."""
    for phrase in ALLOWED:
        code = code.replace(phrase, "_")
    found = []
    for token in tokenize.generate_tokens(StringIO(code).readline):
        if token.type not in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            continue
        # names are split at underscores and capitals; `Callable` and `context` are words of their own
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string)
        found += [f"{token.start[0]}: {part}" for part in parts if WORDS.fullmatch(part)]
    return found


def test_detectors_do_not_name_what_their_streams_are_made_of() -> None:
    files = sources("detectors")
    assert len(files) > 20
    assert not {name_of(path): found for path in files if (found := domain_words(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def call_of(x): pass", ["1: call"]),
        ("SEVERE_CALLS = 20", ["1: CALLS"]),
        ("class TextScope: pass", ["1: Text", "1: Scope"]),
        ('row["tokens"]', ["1: tokens"]),
        ("x = 1  # one a topic", ["1: topic"]),
        ('"""Hash of\na call."""', ["1: call"]),
        ("from typing import Callable\ncontext = recall(pretext)", []),
        ("if isinstance(node, ast.Call): ...  # the kernels, which a subclass calls", []),
    ],
)
def test_the_word_check_tells_words_from_parts_of_words(code: str, words: list[str]) -> None:
    assert domain_words(code) == words
