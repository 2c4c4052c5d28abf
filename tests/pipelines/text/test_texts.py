"""What an observation says of the texts of its call."""

import json
import math
import struct

import numpy as np
import pytest
from leeboard.pipelines.ingest import records_in
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.measurer import Arrival, Measurer
from leeboard.pipelines.measure.settings import EmbedderSettings, MeasureSettings, TextSettings
from leeboard.pipelines.measure.text import text_version
from leeboard.pipelines.measure.vectors import given_vector
from leeboard.pipelines.wording import shift_text
from leeboard.schemas import (
    FEATURES,
    FLAGS,
    MAX_DIMENSIONS,
    NUMBERS,
    STYLE,
    ModelCall,
    Observation,
    SignalShift,
    TextMeasures,
    decode_observation,
    encode_observation,
)

NOT_MEASURED, NO, YES = 0, 1, 2
STATIC = StaticEmbedder()
ASKED, ANSWERED = "Where is my parcel?", "Your parcel is on its way to you."


def call_with(**fields) -> ModelCall:
    return ModelCall(**({"id": "call-1", "time": 1_748_779_200_123, "app": "shop"} | fields))


def measure(settings: MeasureSettings | None = None, **fields) -> Observation:
    return Measurer(settings or MeasureSettings()).measure(call_with(**fields))


def number(observation: Observation, name: str) -> float:
    return struct.unpack(f"<{len(NUMBERS)}f", observation.numbers)[NUMBERS.index(name)]


def flag(observation: Observation, name: str) -> int:
    return observation.flags >> 2 * FLAGS.index(name) & 3


def vector(text: TextMeasures | None) -> np.ndarray:
    assert text is not None
    assert text.vector is not None
    return np.frombuffer(text.vector, np.int8) * text.scale


def test_both_texts_are_measured_and_survive_the_wire():
    observation = measure(input_text=ASKED, output_text=ANSWERED)
    assert decode_observation(encode_observation(observation)) == observation
    assert observation.text_version == text_version(TextSettings().max_chars)
    for text, measured in ((ASKED, observation.input), (ANSWERED, observation.output)):
        assert len(measured.features) == 4 * len(FEATURES)
        assert len(measured.style) == len(STYLE)
        assert measured.embedder == STATIC.fingerprint
        (expected,) = STATIC.encode([text])
        assert np.abs(vector(measured) - expected).max() <= measured.scale / 2 * 1.001
    assert observation.categories["input_language"] == "en"
    assert flag(observation, "refusal") == NO
    assert flag(observation, "coverage.vectors") == YES


def test_a_call_without_texts_says_nothing_of_them():
    observation = measure(input_tokens=3)
    assert (observation.input, observation.output, observation.text_version) == (None, None, None)
    assert "input_language" not in observation.categories
    assert math.isnan(number(observation, "relevance"))
    assert math.isnan(number(observation, "repetition"))
    assert all(flag(observation, name) == NOT_MEASURED for name in ("refusal", "json_valid", "coverage.vectors"))


@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_white_space_is_carried_but_measures_nothing(blank):
    observation = measure(input_text=blank, output_text=blank)
    assert (observation.input, observation.output) == (None, None)
    assert observation.measured >> 3 & 3 == 3
    assert flag(observation, "empty") == YES
    assert flag(observation, "coverage.vectors") == NOT_MEASURED


def test_a_batch_gives_what_its_calls_give_one_by_one():
    texts = [None, "", ASKED, ANSWERED, "x " * 30, "# a\n\n- b"]
    calls = [
        Arrival(call_with(id=f"{k}-{j}", input_text=asked, output_text=answered), 5, ("t", 0, k, j))
        for k, asked in enumerate(texts)
        for j, answered in enumerate(texts)
    ]
    together = Measurer(MeasureSettings()).measure_batch(calls)
    assert together == [
        Measurer(MeasureSettings()).measure(arrival.call, received_ms=arrival.received_ms, source=arrival.source)
        for arrival in calls
    ]


def test_relevance_is_the_cosine_of_input_and_output():
    first, second = STATIC.encode([ASKED, ANSWERED])
    assert number(measure(input_text=ASKED, output_text=ANSWERED), "relevance") == pytest.approx(first @ second)
    assert number(measure(input_text=ASKED, output_text=ASKED), "relevance") == pytest.approx(1.0)
    far = number(measure(input_text=ASKED, output_text="Photosynthesis feeds the oceans."), "relevance")
    assert far < number(measure(input_text=ASKED, output_text=ANSWERED), "relevance")
    opposite = measure(input_vector=[1.0, 0.0], output_vector=[-2.0, 0.0])
    assert number(opposite, "relevance") == -1.0


@pytest.mark.parametrize(
    ("answer", "valid"),
    [('{"a": 1}', YES), (" [1]\n", YES), ('{"a": 1', NO), ("```json\n{}\n```", NO), ("Sure! {}", NO), ("", NO)],
)
@pytest.mark.parametrize(
    "params",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        {"text": {"format": {"type": "json_schema"}}},
        {"format": "json"},
        {"format": {"type": "object", "properties": {}}},
        {"response_mime_type": "application/json"},
        {"generationConfig": {"responseMimeType": "application/json"}},
        {"output_config": {"format": {"type": "json_schema"}}},
    ],
)
def test_json_is_checked_where_the_parameters_ask_for_it(params, answer, valid):
    assert flag(measure(params=params, output_text=answer), "json_valid") == valid


@pytest.mark.parametrize(
    "fields",
    [
        {"params": {"response_format": {"type": "text"}}},
        {"params": {"response_format": None, "format": 3, "text": [], "temperature": 0.2}},
        {"params": {"response_format": {"type": "json_object"}}, "tool_calls": ["search"]},
        {"params": {"response_format": {"type": "json_object"}}, "error_type": "timeout"},
        {},
    ],
)
def test_json_is_not_checked_where_the_answer_was_not_to_be_json(fields):
    assert flag(measure(output_text="no json", **fields), "json_valid") == NOT_MEASURED


def test_a_refusal_and_a_loop_are_seen_in_the_output_alone():
    refused = measure(input_text="I'm sorry, but I can't help.", output_text=ANSWERED)
    assert flag(refused, "refusal") == NO
    refused = measure(input_text=ASKED, output_text="I'm sorry, but I can't help with that.")
    assert flag(refused, "refusal") == YES
    looping = measure(input_text="a b c d " * 50, output_text="on and on and " * 50)
    assert number(looping, "repetition") > 0.9
    assert number(measure(input_text="a b c d " * 50, output_text=ANSWERED), "repetition") == 0.0


# vectors that come with calls


def test_vectors_that_come_with_a_call_are_used_as_they_are():
    given = [0.3, -0.4, 0.0]
    observation = measure(input_text=ASKED, input_vector=given, output_text=ANSWERED, output_vector=[2e300, 0.0, 0.0])
    assert observation.input.embedder == observation.output.embedder == "app-3"
    assert vector(observation.input) == pytest.approx([0.6, -0.8, 0.0], abs=0.01)
    assert vector(observation.output) == pytest.approx([1.0, 0.0, 0.0], abs=0.01)
    assert number(observation, "relevance") == pytest.approx(0.6)
    assert flag(observation, "coverage.vectors") == YES


def test_a_vector_needs_no_text():
    observation = measure(output_vector=[1.0, 2.0])
    assert observation.input is None
    assert observation.output == TextMeasures(
        vector=observation.output.vector, scale=observation.output.scale, embedder="app-2"
    )
    assert decode_observation(encode_observation(observation)) == observation


@pytest.mark.parametrize(
    "wrong",
    [[], [0.0, 0.0, 0.0], [1.0, math.nan, 0.0], [1.0, math.inf, 0.0], [1.0, 2.0], [1.0] * (MAX_DIMENSIONS + 1)],
)
def test_a_vector_that_cannot_be_used_is_not_measured_and_counted(wrong):
    measurer = Measurer(MeasureSettings(embedder=EmbedderSettings(dimensions=3)))
    observation = measurer.measure(call_with(input_text=ASKED, input_vector=wrong, output_text=ANSWERED))
    assert observation.input.vector is None
    assert observation.input.style is not None
    assert observation.output.vector is not None
    assert flag(observation, "coverage.vectors") == NO
    assert math.isnan(number(observation, "relevance"))
    assert measurer.counts == {"texts_cut": 0, "vectors_refused": 1, "texts_not_embedded": 0}


def test_vectors_of_different_embedders_are_not_compared():
    observation = measure(input_text=ASKED, input_vector=[1.0, 2.0], output_text=ANSWERED)
    assert (observation.input.embedder, observation.output.embedder) == ("app-2", STATIC.fingerprint)
    assert math.isnan(number(observation, "relevance"))


def test_any_length_is_taken_where_none_is_set_up_to_the_limit():
    assert given_vector([1.0] * MAX_DIMENSIONS, None) is not None
    assert given_vector([1.0] * (MAX_DIMENSIONS + 1), None) is None


# settings


@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        (EmbedderSettings(texts="input"), (True, False)),
        (EmbedderSettings(texts="output"), (False, True)),
        (EmbedderSettings(backend="none"), (False, False)),
    ],
)
def test_only_the_texts_that_are_chosen_get_vectors(settings, sides):
    observation = measure(MeasureSettings(embedder=settings), input_text=ASKED, output_text=ANSWERED)
    assert tuple(side.vector is not None for side in (observation.input, observation.output)) == sides
    assert observation.input.style is not None
    assert flag(observation, "coverage.vectors") == (YES if any(sides) else NOT_MEASURED)


def test_texts_below_the_least_length_keep_neither_style_nor_vector():
    settings = MeasureSettings(min_tokens=8)
    observation = measure(settings, input_text=ASKED, input_vector=[1.0, 2.0], output_text=ANSWERED)
    assert observation.input.tokens == 5
    assert (observation.input.style, observation.input.vector, observation.input.embedder) == (None, None, None)
    assert observation.input.features is not None
    assert observation.output.tokens == 9
    assert observation.output.style is not None
    assert observation.output.vector is not None
    assert flag(observation, "coverage.vectors") == YES
    assert flag(measure(settings, input_text=ASKED), "coverage.vectors") == NOT_MEASURED


def test_a_long_text_is_cut_for_features_and_vector_alike_and_counted():
    measurer = Measurer(MeasureSettings(text=TextSettings(max_chars=100)))
    long = "parcel order " * 1000
    observation = measurer.measure(call_with(input_text=long))
    assert observation.input.vector == measurer.measure(call_with(input_text=long[:100])).input.vector
    assert observation.input.style == measurer.measure(call_with(input_text=long[:100])).input.style
    assert measurer.counts["texts_cut"] == 1
    assert measurer.measure(call_with(input_text=long)).text_version != measure(input_text=long).text_version


@pytest.mark.parametrize(
    "text",
    ["a\ud800b", "\x00\x01\xff", "\u0301" * 500, "שלום עולם", "我" * 300, "\ufeff", "😀" * 20, "x" * 10_000_000],
    ids=["surrogate", "binary", "zalgo", "right to left", "ideographs", "mark", "emoji", "ten megabytes"],
)
def test_odd_texts_are_measured_to_the_end(text):
    observation = measure(input_text=text, output_text=text, params={"response_format": "json"})
    assert decode_observation(encode_observation(observation)) == observation


def test_a_line_with_lone_surrogates_becomes_an_observation():
    line = json.dumps({"schema": "model_call/1", "id": "1", "time": 0, "app": "a", "output_text": "so \ud83d it is"})
    [call] = records_in(line.encode())
    assert Measurer(MeasureSettings()).measure(call).output.tokens == 4


def test_a_fall_of_relevance_is_told_in_standard_deviations():
    shift = SignalShift(
        name="relevance",
        channel="output",
        direction="down",
        before=0.7,
        after=0.5,
        unit="cosine",
        effect=-1.2,
        effect_interval=(-1.5, -0.9),
        log10_level=4.0,
        guarantee="empirical",
        root=True,
        detector="ranks",
        n_before=500,
        n_after=50,
    )
    assert shift_text(shift) == "relevance went from 0.7 cosine to 0.5 cosine (-1.2 sd)"
