"""Embedders that take long, stall or fail: the call still counts for everything else."""

import logging
import threading
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
from leeboard.pipelines.measure.embed import make, transformer
from leeboard.pipelines.measure.embed.transformer import TransformerEmbedder, load_transformer
from leeboard.pipelines.measure.measurer import Arrival, Measurer
from leeboard.pipelines.measure.settings import EmbedderError, EmbedderSettings, MeasureSettings
from leeboard.schemas import FLAGS, ModelCall


class Model:
    """Plays a model of sentence-transformers: two numbers for a text; can be told to wait or to fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.answer = lambda texts: np.array([[1.0, len(text)] for text in texts], np.float32)

    def encode(self, inputs, *, batch_size, show_progress_bar, normalize_embeddings):
        assert normalize_embeddings
        assert not show_progress_bar
        self.batches.append(inputs)
        self.go_on.wait(10)
        return self.answer(inputs)


@pytest.fixture
def model():
    played = Model()
    yield played
    played.go_on.set()


def embedder_of(model: Model, *, cache_texts: int = 100, timeout_s: float = 5.0, **waiting) -> TransformerEmbedder:
    return TransformerEmbedder(model, "st-test", cache_texts=cache_texts, timeout_s=timeout_s, **waiting)


def measurer_of(model: Model, monkeypatch: pytest.MonkeyPatch, **settings) -> Measurer:
    monkeypatch.setattr(transformer, "load_transformer", lambda _: embedder_of(model, **settings))
    return Measurer(MeasureSettings(embedder=EmbedderSettings(backend="sentence-transformers", model="m")))


def call(text: str) -> ModelCall:
    return ModelCall(id="1", time=0, app="shop", input_text=text, output_text=text + "!", latency_ms=5.0)


def embedded(observation) -> int:
    return observation.flags >> 2 * FLAGS.index("coverage.vectors") & 3


def test_texts_of_a_batch_go_to_the_model_together_and_come_back_in_order(model, monkeypatch):
    measurer = measurer_of(model, monkeypatch)
    found = measurer.measure_batch([Arrival(call("a")), Arrival(call("bbb"))])
    assert [len(batch) for batch in model.batches] == [4]
    assert [observation.input.embedder for observation in found] == ["st-test"] * 2
    scales = [np.frombuffer(text.vector, np.int8)[1] * text.scale for o in found for text in (o.input, o.output)]
    assert scales == pytest.approx([1, 2, 3, 4], rel=0.01)


def test_a_text_that_comes_again_is_not_embedded_again(model):
    embedder = embedder_of(model)
    first = embedder.encode(["a", "b", "a"])
    assert (embedder.encode(["b", "a"]) == first[[1, 0]]).all()
    assert sorted(model.batches[0]) == ["a", "b"]
    assert len(model.batches) == 1


def test_the_memory_for_vectors_is_bounded_and_the_oldest_go_first(model):
    embedder = embedder_of(model, cache_texts=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        embedder.encode([text])
    assert [batch for (batch,) in model.batches] == ["a", "b", "c", "b"]
    assert (embedder_of(model, cache_texts=0).encode(["x", "yy"])[:, 1] == [1, 2]).all()


@pytest.mark.parametrize(
    "answer",
    [
        lambda texts: (_ for _ in ()).throw(RuntimeError("out of memory while reading " + texts[0])),
        lambda texts: np.full((len(texts), 2), np.nan, np.float32),
        lambda texts: np.ones((len(texts) + 1, 2), np.float32),
        lambda texts: np.ones(len(texts), np.float32),
        lambda texts: np.ones((len(texts), 5000), np.float32),
    ],
    ids=["raises", "no numbers", "too many", "flat", "too long"],
)
def test_a_model_that_fails_costs_the_vectors_and_nothing_else(model, monkeypatch, answer):
    measurer = measurer_of(model, monkeypatch)
    healthy = measurer.measure(call("fine"))
    model.answer = answer
    observation = measurer.measure(call("secret"))
    assert (embedded(healthy), embedded(observation)) == (2, 1)
    assert observation.input.vector is observation.output.vector is None
    assert observation.input.style is not None
    assert measurer.counts["texts_not_embedded"] == 2
    with pytest.raises(EmbedderError) as error:
        measurer._texts._embedder.encode(["secret"])
    assert "secret" not in str(error.value)


def test_a_model_that_stalls_costs_one_wait_and_comes_back(model, monkeypatch):
    waits: list[float] = []

    def wait(done: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        return model.go_on.is_set() and done.wait(10)

    measurer = measurer_of(model, monkeypatch, timeout_s=0.2, wait=wait)
    model.go_on.clear()
    for k in range(21):
        assert embedded(measurer.measure(call(f"text {k}"))) == 1
    assert waits == [0.2], "no further wait while the model is silent"
    assert measurer.counts["texts_not_embedded"] == 42
    model.go_on.set()
    assert measurer._texts._embedder._last.done.wait(10)
    assert embedded(measurer.measure(call("at last"))) == 2
    assert len(waits) == 2


def test_trouble_is_logged_when_it_begins_and_when_it_ends(model, caplog):
    caplog.set_level(logging.INFO, logger=transformer.__name__)
    embedder = embedder_of(model)
    healthy, failing = model.answer, lambda texts: (_ for _ in ()).throw(RuntimeError(texts[0]))
    for answer in (healthy, failing, failing, healthy, healthy):
        model.answer = answer
        with suppress(EmbedderError):
            embedder.encode([f"secret {len(model.batches)}"])
    assert [record.getMessage() for record in caplog.records] == [
        "texts are not embedded: the model raised RuntimeError",
        "texts are embedded again",
    ]


def test_a_model_that_finds_nothing_in_a_text_gives_no_vector(model, monkeypatch):
    measurer = measurer_of(model, monkeypatch)
    model.answer = lambda texts: np.array([[float(text == "full"), 0.0] for text in texts], np.float32)
    observation = measurer.measure(ModelCall(id="1", time=0, app="shop", input_text="full", output_text="void"))
    assert (observation.input.vector is None, observation.output.vector is None) == (False, True)
    assert embedded(observation) == 1
    assert measurer.counts["texts_not_embedded"] == 1


def test_no_embedder_is_made_where_texts_get_no_vectors():
    assert make.make_embedder(EmbedderSettings(backend="none")) is None


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="sentence-transformers is installed")
def test_a_missing_extra_is_named():
    with pytest.raises(EmbedderError, match=r"leeboard\[embeddings\]"):
        load_transformer(EmbedderSettings(backend="sentence-transformers", model="m"))
