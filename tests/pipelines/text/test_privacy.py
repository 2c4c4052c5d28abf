"""No word of a text leaves the measuring: not in records, dead letters, logs or errors."""

import json
import logging
from typing import Any

import msgspec
import numpy as np
import pytest
from leeboard.pipelines.config import Config
from leeboard.pipelines.ingest import records_in
from leeboard.pipelines.measure.embed import transformer
from leeboard.pipelines.measure.embed.transformer import TransformerEmbedder
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import EmbedderSettings, MeasureSettings
from leeboard.pipelines.replay import Replay
from leeboard.schemas import ModelCall, Refused, encode, encode_observation, reject

from .marked import ANSWERED, ASKED, SECRETS, SYSTEM, secrets_in, strings_in


def call(**fields: Any) -> ModelCall:
    known = {"id": "1", "time": 1_748_779_200_000, "app": "shop", "input_tokens": 9, "output_tokens": 9}
    texts = {"input_text": ASKED, "output_text": ANSWERED, "system_text": SYSTEM, "params": {"stop": SECRETS[0]}}
    return ModelCall(**(known | texts | fields))


def test_the_check_itself_finds_a_marked_word_in_every_form() -> None:
    for word in SECRETS:
        for text in (word, word.upper() if word.isascii() else word, json.dumps(word)):
            assert secrets_in(f"some {text} here") == [word]


@pytest.mark.parametrize("error_type", [None, "timeout"])
@pytest.mark.parametrize("key", ["", "deployment"])
def test_no_word_shows_in_an_encoded_observation(error_type: str | None, key: str) -> None:
    data = encode_observation(Measurer(MeasureSettings(key=key)).measure(call(error_type=error_type)))
    assert secrets_in(data) == []
    words = {word.strip(".,;:!?'-").lower() for text in (ASKED, ANSWERED, SYSTEM) for word in text.split()}
    strings = " ".join(strings_in(msgspec.msgpack.decode(data))).lower()
    own = {"input", "output", "call"}  # names of fields
    assert [word for word in words - own if len(word) > 3 and word in strings] == []


def test_a_word_outside_the_vocabulary_leaves_no_trace_in_features_and_style_but_its_shape() -> None:
    measurer = Measurer(MeasureSettings(embedder=EmbedderSettings(backend="none")))
    first, second = (
        measurer.measure(call(input_text=f"Please send the {word} to {name}, and call."))
        for word, name in (("zanzibarite", "Alice"), ("mandolinist", "Boris"))
    )
    assert first.input == second.input
    assert first.input is not None


def test_short_texts_keep_features_alone_where_the_settings_say_so() -> None:
    observation = Measurer(MeasureSettings(min_tokens=100)).measure(call())
    for text in (observation.input, observation.output):
        assert text is not None
        assert (text.style, text.vector) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"input_tokens": -1},
        {"input_tokens": ASKED},
        {"time": ASKED},
        {"app": [ASKED]},
        {"scores": {ASKED: ASKED, "b": None}},
        {"input_text": [ASKED]},
        {"labels": {ASKED: 3}},
        {"input_vector": [1.0, ASKED]},
        {"params": ASKED},
    ],
)
def test_no_word_shows_in_a_dead_letter(fields: dict[str, Any]) -> None:
    record = {"schema": "model_call/1", "id": "1", "time": 0, "app": "a", "input_text": ASKED, "output_text": ANSWERED}
    for line in (json.dumps(record | fields), json.dumps(record | fields)[:-1], json.dumps(record | fields) + ASKED):
        [refused] = records_in(line.encode())
        assert isinstance(refused, Refused)
        assert secrets_in(encode(reject(line.encode(), refused, "f:1"))) == []


class _Telltale:
    """Plays a model that repeats what it was given in its error."""

    def encode(self, inputs: list[str], **_: Any) -> Any:
        raise ValueError(f"cannot embed {inputs}")


def test_no_word_shows_when_the_embedder_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    embedder = TransformerEmbedder(_Telltale(), "st-test", cache_texts=9, timeout_s=5)
    monkeypatch.setattr(transformer, "load_transformer", lambda _: embedder)
    settings = MeasureSettings(embedder=EmbedderSettings(backend="sentence-transformers", model="m"))
    measurer = Measurer(settings)
    observation = measurer.measure(call())
    assert measurer.counts["texts_not_embedded"] == 2
    try:
        embedder.encode([ASKED])
    except Exception as error:
        chain = [error, error.__cause__, error.__context__]
        assert [secrets_in(repr(link)) for link in chain] == [[], [], []]
    else:
        pytest.fail("the model was to fail")
    shown = capfd.readouterr()
    for text in (encode_observation(observation), caplog.text, shown.out, shown.err, repr(measurer.counts)):
        assert secrets_in(text) == []


def test_no_word_shows_in_logs_or_output_while_calls_are_measured(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    measurer = Measurer(MeasureSettings())
    for vector in (None, [float("nan")], [0.0]):
        measurer.measure(call(input_vector=vector, output_text=ANSWERED * 1000))
    shown = capfd.readouterr()
    assert secrets_in(caplog.text + shown.out + shown.err) == []


def test_no_word_shows_in_the_alerts_and_summaries_of_a_replay() -> None:
    rng = np.random.default_rng(5)
    found: list[bytes] = []
    replay = Replay(Config(), summarised=lambda summary: found.append(encode(summary)))
    replay.feed(
        call(
            id=str(k),
            time=1_748_779_200_000 + 1000 * k,
            input_text=ASKED if rng.random() < 0.9 else ANSWERED,
            output_text=ANSWERED if k > 500 and rng.random() < 0.9 else f"It is {SECRETS[0]}. " * (k % 7 + 1),
        )
        for k in range(800)
    )
    result = replay.finish()
    found += [encode(alert) for alert in result.alerts]
    assert result.alerts, "answers that refuse are a change"
    assert [secrets_in(data) for data in found] == [[]] * len(found)
