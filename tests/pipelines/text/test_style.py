"""The style vocabulary: every entry can be reached, and nothing beyond it is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.schemas import STYLE, STYLE_MARKS, STYLE_WORDS

from .reading import READER, read

#: a text in which the mark comes, once unless said otherwise; marks that are their own sample are not listed
SAMPLES = {
    "# heading": "# a",
    "## heading": "a\n## b",
    "### heading": "   ### a",
    "#### heading": "##### a",
    "- item": "a\n- b",
    "* item": "* a",
    "1. item": "12. a",
    "1) item": "1) a",
    "> quote": "> a",
    "``` fence": "```x",
    "| row": "| a",
    "|---| rule": "|---|:-:|",
    "--- rule": "a\n***\nb",
    "indented line": "a\n    b",
    "**": "a**b",
    "](": "[a](b)",
    "**:": "a**: b",
    ":**": "a:** b",
    "line break": "a\nb",
    "blank line": "a\n \nb",
    "two blank lines": "a\n\n\n\nb",
    "colon at line end": "a: \nb",
    "space at line end": "a \nb",
    "double space": "a  b",
    "tab": "a\tb",
    "'s": "It’S",
    "l' d' qu'": "l'ami",
    "10": "a 10",
    "two digits": "a 42",
    "three digits": "a 123",
    "four digits": "a 2026",
    "more digits": "a 123456",
    "decimal point": "3.5",
    "( )": "(",
    "[ ]": "]",
    "{ }": "{",
    "< >": "a>",
    "|": "a|b",
    "-": "a-b",
    "*": "a*b",
    "`": "a`b",
    "#": "a#b",
    "...": "a...",
    "“ ”": "”",
    "‘ ’": "‘a",
    "« »": "»",
    "¿ ¡": "¿a",
    "。 、": "、",
    "€ £ ¥": "£5",
    "emoji": "🎉",
    "other sign": "§",
    ", and": "a, and b",
    "Capitalised word": "Word",
    "CAPITAL word": "WORD",
    "word of 12 letters": "abcdefghijkl",
    "other script": "სად",
    "greek": "Πού",
    "cyrillic": "где",
    "hebrew": "איפה",
    "arabic": "أين",
    "devanagari": "मेरा",
    "thai": "ท",
    "hangul": "어디",
    "kana": "の",
    "han": "我",
}
CONTRACTIONS = {name: f"x{name}" for name in ("'t", "'re", "'ll", "'ve", "'d", "'m")}


@pytest.mark.parametrize("mark", STYLE_MARKS)
def test_every_mark_is_counted_where_it_comes(mark: str) -> None:
    text = SAMPLES.get(mark) or CONTRACTIONS.get(mark) or f"a {mark}"
    assert read(text).style.get(mark) == 1
    assert mark not in read("Plain prose").style or mark == "Capitalised word"


@pytest.mark.parametrize("word", STYLE_WORDS)
def test_every_word_is_counted_in_any_case_and_between_any_signs(word: str) -> None:
    assert read(f"xyz {word} xyz").style.get(word) == 1
    assert read(f"({word.upper()})").style.get(word) == 1
    assert word not in read(f"xyz{word}xyz").style


def test_the_vocabulary_has_256_different_entries() -> None:
    assert len(STYLE) == len(set(STYLE)) == 256


def test_counts_stop_at_255() -> None:
    style = read("the " * 300 + "cat " * 3).style
    assert style == {"the": 255}


def test_a_line_start_is_needed_for_marks_of_lines() -> None:
    style = read("a # b - c 1. d > e ``` f").style
    assert not {"# heading", "- item", "1. item", "> quote", "``` fence"} & set(style)


def test_shares_of_tokens_add_up_from_words_numbers_signs_and_breaks() -> None:
    assert read("One two, 3.5!\n\nAnd don't").raw.tokens == len(
        ["One", "two", ",", "3.5", "!", "break", "And", "don't"]
    )


@given(st.text(st.characters(categories=["Ll", "Lu", "Lo"]), min_size=1))
def test_letters_count_as_words_of_the_vocabulary_or_by_their_shape_and_script_alone(text: str) -> None:
    shapes = {"Capitalised word", "CAPITAL word", "word of 12 letters", "other script", *STYLE_MARKS[-9:]}
    found = READER.read(text)
    assert found is not None
    counted = {name for name, count in zip(STYLE, found.style, strict=True) if count}
    assert counted - shapes <= {word for word in STYLE_WORDS if word in text.lower()}
