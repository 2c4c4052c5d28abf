"""Texts of the development data by the dozen, as the detectors get them: measured, no word kept."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.pipelines.measure.settings import EmbedderSettings, TextSettings
from leeboard.pipelines.measure.texts import Texts
from leeboard.schemas import FEATURES, STYLE, ModelCall, TextMeasures

from .folder import document, lines, rows

#: columns of the default embedder
COLUMNS = 128
#: texts measured at a time
BATCH = 500


class Side(NamedTuple):
    """Measures of n texts: features (n, 18), style counts (n, 256), tokens, vectors (n, 128), their scales."""

    features: npt.NDArray[np.float32]
    style: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]

    def take(self, chosen: npt.ArrayLike) -> "Side":
        """Those of some texts."""
        return Side(*(each[chosen] for each in self))  # type: ignore[call-overload]


def join(*sides: Side) -> Side:
    """One after the other."""
    return Side(*(np.concatenate(parts) for parts in zip(*sides, strict=True)))  # type: ignore[arg-type]


def empty(n: int) -> Side:
    """Nothing of n texts."""
    shapes = (((n, len(FEATURES)), "f4"), ((n, len(STYLE)), "u1"), ((n,), "i8"), ((n, COLUMNS), "i1"), ((n,), "f4"))
    return Side(*(np.zeros(shape, kind) for shape, kind in shapes))  # type: ignore[arg-type]


def texts_of(corpus: str) -> list[str]:
    """The texts of a corpus: `alpaca`, `clinc`, `redteam`, `abstracts.<year>`, `xquad.<language>` and
    `<task>` of llmdrift are inputs; `alpaca.<model>`, `<task>.<model>` outputs, in the order of the inputs."""
    kind, _, which = corpus.partition(".")
    if kind == "clinc":
        found = document("clinc150/data_full.json.gz")
        return [text for split in ("train", "val", "test") for text, _ in found[split]]
    if kind == "redteam":
        return [row["first_human_turn"] for row in lines("hh_redteam/first_turns.jsonl.gz")]
    if kind == "abstracts":
        papers = lines(f"nlp_abstracts/naacl{which}.jsonl.gz")
        return [f"{paper['title'] or ''}. {paper['abstract'] or ''}" for paper in papers]
    if kind == "xquad":
        articles = document(f"xquad/xquad.{which}.json.gz")["data"]
        return [asked["question"] for article in articles for part in article["paragraphs"] for asked in part["qas"]]
    if kind == "alpaca":
        if not which:
            return [row["instruction"] for row in lines("alpaca_eval/instructions.jsonl.gz")]
        return [row["output"] for row in lines(f"alpaca_eval/outputs/{which}.jsonl.gz")]
    found = [
        row for row in rows(f"llmdrift/{kind}_EVAL.csv.gz") if row["model"] == f"openaichat/{which or 'gpt-4-0314'}"
    ]
    return [row["answer" if which else "query"] for row in sorted(found, key=lambda row: str(row["id"]))]


def domains() -> npt.NDArray[np.str_]:
    """The domain of every text of `clinc`."""
    of = {intent: domain for domain, intents in document("clinc150/domains.json").items() for intent in intents}
    found = document("clinc150/data_full.json.gz")
    return np.array([of[intent] for split in ("train", "val", "test") for _, intent in found[split]])


def sources() -> npt.NDArray[np.str_]:
    """The source of every instruction of `alpaca`."""
    return np.array([row["dataset"] for row in lines("alpaca_eval/instructions.jsonl.gz")])


@cache
def measured(corpus: str) -> Side:
    """A corpus as *normalise* measures it, with the default embedder; an empty text is taken for a dash."""
    reader = Texts(TextSettings(), EmbedderSettings(), 0)
    calls = [
        ModelCall(id=str(k), time=0, app="corpus", input_text=text if text.strip() else "-")
        for k, text in enumerate(texts_of(corpus))
    ]
    found = [each.input for at in range(0, len(calls), BATCH) for each in reader.measure(calls[at : at + BATCH])]
    side = empty(len(found))
    for k, each in enumerate(found):
        assert isinstance(each, TextMeasures)
        side.features[k] = np.frombuffer(each.features or b"", "<f4")
        side.style[k] = np.frombuffer(each.style or b"", np.uint8)
        side.tokens[k], side.scales[k] = each.tokens, each.scale
        if each.vector is not None:
            side.vectors[k] = np.frombuffer(each.vector, np.int8)
    return side
