"""Any text can be read, in bounded time and space, and always gives the same numbers."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.text import TextReader, reader, text_version
from leeboard.pipelines.measure.text.characters import SCRIPTS
from leeboard.pipelines.measure.text.lexicon import LANGUAGES

from .reading import MAX_CHARS, READER, read

EMBEDDER = StaticEmbedder()
ODD = {
    "lone surrogates": "a\ud800b \udfff\ud800 c",
    "binary": "".join(map(chr, range(256))) * 3,
    "zalgo": "h" + "\u0301\u0327\u0489" * 300 + "i",
    "right to left": "שלום \u202eabc\u202c مرحبا",
    "ideographs beyond the first plane": "\U00020000\U0002a6d6\U00030000",
    "emoji": "👩\u200d👩\u200d👧\u200d👦🏽🇩🇪❤\ufe0f",
    "tags and private use": "\U000e0041\ue000\U000f0000\U0010ffff",
    "nothing but signs": "?!.,;:" * 50,
    "one word": "x" * 9000,
    "one line of pipes": "|" * 5000,
    "hashes": "#" * 5000,
    "digits": "1" * 5000,
    "breaks": "\n\r\n\r\r\n a",
    "fences": "```\n" * 999,
    "apostrophes": "'" * 99 + "s'" * 99,
    "replacement": "\ufffd" * 99,
    "markdown that ends at once": "#\n-\n1.\n>\n|\n***",
}


def assert_sound(text: str) -> None:
    """The numbers are finite and inside their bounds, and come again when the text comes again."""
    found = READER.read(text)
    assert repr(found) == repr(READER.read(text))
    (vector,) = EMBEDDER.encode([text[:MAX_CHARS]])
    square = float(vector @ vector)
    assert square == 0.0 or abs(square - 1.0) < 1e-5
    if found is None:
        assert not text.strip()
        return
    features, style, raw = read(text)
    assert all(math.isfinite(value) for value in features.values())
    shares = ("unique_words", "uppercase", "digits", "punctuation", "english", "other_language", "non_ascii")
    assert all(0.0 <= features[name] <= 1.0 for name in (*shares, "first_person"))
    assert 0 <= raw.tokens <= min(len(text), MAX_CHARS) + 1
    assert math.isnan(raw.repetition) or 0.0 <= raw.repetition <= 1.0
    assert raw.language in {*LANGUAGES, *SCRIPTS, "none"}
    assert all(count <= 255 for count in style.values())


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_texts_are_read(text: str) -> None:
    assert_sound(text)


@given(st.text(st.characters(), max_size=300) | st.text("ab'# *-_`|>.1,:\n\t", max_size=300))
@example("\ud800")
@example("'")
@example("a'")
@example("1.")
@example("- ")
@example("a\u2019\ud800")
def test_any_text_is_read(text: str) -> None:
    assert_sound(text)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", "\u2028\u3000", " " * 100_000])
def test_white_space_measures_nothing(text: str) -> None:
    assert READER.read(text) is None


def test_a_reader_keeps_nothing_of_the_texts_before() -> None:
    fresh = {text: TextReader(MAX_CHARS).read(text) for text in ODD.values()}
    for text in (*ODD.values(), *reversed(ODD.values())):
        assert repr(READER.read(text)) == repr(fresh[text])


def test_a_text_is_cut_where_the_settings_say_and_the_cut_is_counted() -> None:
    reader = TextReader(100)
    head = "word, " * 16 + "abcd"
    assert len(head) == 100
    whole, cut = read(head, reader), read(head + "efgh? # 99" * 50, reader)
    assert reader.cut == 1
    assert cut.style == whole.style
    same = ("word_length", "commas", "digits", "questions")
    assert [cut.features[name] for name in same] == [whole.features[name] for name in same]
    assert cut.features["length"] > whole.features["length"]
    assert read("a" * 200 + ".", reader).features["ends_open"] == 0.0


def test_of_ten_megabytes_only_the_part_that_counts_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Twenty-four characters. " * (10 * 2**20 // 24)
    walked: list[int] = []
    real = reader.code_points

    def code_points(part: str) -> npt.NDArray[np.uint32]:
        walked.append(len(part))
        return real(part)

    with monkeypatch.context() as patch:
        patch.setattr(reader, "code_points", code_points)
        READER.read(text)
    assert walked == [MAX_CHARS]


def test_the_version_of_the_counting_changes_with_what_numbers_depend_on() -> None:
    assert text_version(8000) == text_version(8000) != text_version(4000)


def test_the_kernels_as_plain_python_give_the_same_bits() -> None:
    program = Path(__file__).with_name("digests.py")
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore:overflow encountered:RuntimeWarning", "-m", "tests.pipelines.text.digests"],
            cwd=program.parents[3],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in ("0", "1")
    ]
    assert found[0] == found[1]
    assert len(found[0].splitlines()) > 20
