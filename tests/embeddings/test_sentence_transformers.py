"""With the real libraries: the exported table, WordPiece, and all-MiniLM-L6-v2 as the embedder."""

import json
from pathlib import Path

import numpy as np
import pytest
from leeboard.pipelines.measure.embed.export import export, tokenizer
from leeboard.pipelines.measure.embed.make import make_embedder
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.embed.table import read_table
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import EmbedderError, EmbedderSettings, MeasureSettings
from leeboard.schemas import FLAGS, ModelCall

from tests.pipelines.text.digests import TEXTS
from tests.pipelines.text.test_any_text import ODD
from tests.pipelines.text.test_static_embedder import MODEL
from tests.realdata import needs_data
from tests.realdata.texts import texts_of

sentence_transformers = pytest.importorskip("sentence_transformers", reason="`make test-embeddings` installs it")
tokenizers = pytest.importorskip("tokenizers")

TABLE = read_table()
OWN = StaticEmbedder(TABLE)
needs_model = pytest.mark.skipif(not MODEL.is_dir(), reason="the weights are not here: `make table` brings them")
CORPORA = ("alpaca", "alpaca.gpt4_0613", "clinc", "abstracts.2022", "xquad.en", "xquad.es", "redteam")


def by_name(folder: Path, **settings: object) -> EmbedderSettings:
    return EmbedderSettings(backend="sentence-transformers", model=str(folder), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table as a model of sentence-transformers."""
    made = tmp_path_factory.mktemp("static")
    export(TABLE, made)
    return made


def test_the_exported_table_gives_the_vectors_that_leeboard_gives(folder: Path) -> None:
    texts = [*TEXTS, "Where is my parcel?", "x" * 101, "a b c " * 500]
    texts = [text for text in texts if text.isprintable() or "\ud800" not in text]
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    assert np.abs(model.encode(texts) - OWN.encode(texts)).max() < 1e-5


def test_the_exported_table_is_an_embedder_like_any_other(folder: Path) -> None:
    embedder = make_embedder(by_name(folder))
    assert embedder is not None
    assert embedder.fingerprint.startswith("st-")
    assert embedder.fingerprint == make_embedder(by_name(folder)).fingerprint  # type: ignore[union-attr]
    assert np.abs(embedder.encode(["Where is it?"]) - OWN.encode(["Where is it?"])).max() < 1e-5


def test_odd_texts_reach_the_model_or_are_counted(folder: Path) -> None:
    measurer = Measurer(MeasureSettings(embedder=by_name(folder)))
    for text in ODD.values():
        observation = measurer.measure(ModelCall(id="1", time=0, app="a", input_text=text, latency_ms=1.0))
        assert observation.input is not None and observation.input.style is not None
        measured = observation.flags >> 2 * FLAGS.index("coverage.vectors") & 3
        assert measured == (2 if observation.input.vector is not None else 1)


@needs_data
@pytest.mark.parametrize("corpus", CORPORA)
def test_wordpiece_is_that_of_tokenizers(corpus: str) -> None:
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tokenizer(TABLE.items)))
    texts = texts_of(corpus)[:2000]
    different = [text for text in texts if OWN.items(text) != theirs.encode(text, add_special_tokens=False).tokens]
    assert len(different) <= len(texts) // 500, different[:3]


@needs_model
def test_minilm_from_its_folder_gives_the_vector_of_its_card() -> None:
    embedder = make_embedder(by_name(MODEL))
    assert embedder is not None
    [vector] = embedder.encode(["This is an example sentence"])
    assert vector.shape == (384,)
    assert vector[:3] == pytest.approx([0.0677, 0.0635, 0.0487], abs=5e-5)
    assert (embedder.encode(["This is an example sentence"]) == vector).all(), "kept by its hash"


@needs_model
def test_another_model_is_another_embedder(folder: Path) -> None:
    calls = ModelCall(id="1", time=0, app="a", input_text="Where is my parcel?", output_text="It is on its way.")
    found = [Measurer(MeasureSettings(embedder=by_name(path))).measure(calls) for path in (folder, MODEL)]
    assert [len(each.input.vector) for each in found if each.input and each.input.vector] == [128, 384]
    assert len({each.input.embedder for each in found if each.input}) == 2


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"embedder\.model: .*nothing"):
        make_embedder(by_name(tmp_path / "nothing"))
