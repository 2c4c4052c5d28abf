"""Measuring texts: what features, style and vectors tell of a change, and what it costs, beside other embedders."""

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cramjam import lz4
from leeboard.pipelines.kafka.worker.sender import default_partition
from leeboard.pipelines.measure.embed.export import export
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.embed.table import read_table
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.measure.text import TextReader
from leeboard.pipelines.runtime.normalise import Normaliser
from leeboard.pipelines.topics import TopicSettings
from leeboard.schemas import ModelCall, decode, encode
from scipy.stats import rankdata

from tests.realdata.texts import Side, measured, texts_of
from tests.simulation.world import Record

from .speed import START_MS, timed
from .table import note, table

#: a Python with sentence-transformers and model2vec, and the folder of all-MiniLM-L6-v2; without them: no rivals
RIVAL_PYTHON, RIVAL_MODEL = os.environ.get("LEEBOARD_RIVAL_PYTHON"), os.environ.get("LEEBOARD_MINILM")
RIVAL_S = 3000.0
#: tokens of a text -> texts of that length that are timed
LENGTHS = {20: 2000, 100: 1000, 500: 300}
#: those that a transformer is given
SLOW_TEXTS = 48
CALLS, BATCH = 4096, 512
Matrix = npt.NDArray[np.float64]

#: (before, after) -> what happened; the last are controls
PAIRS = {
    ("alpaca.gpt4_0314", "alpaca.gpt4_0613"): "answers: GPT-4 0314 to 0613",
    ("alpaca.gpt4_0613", "alpaca.gpt4_1106_preview"): "answers: GPT-4 0613 to 1106",
    ("alpaca.gpt4_1106_preview", "alpaca.gpt-4-0125-preview"): "answers: GPT-4 1106 to 0125, silent",
    ("alpaca.gpt-4-0125-preview", "alpaca.gpt-4-turbo-2024-04-09"): "answers: GPT-4 0125 to Turbo",
    ("alpaca.Mistral-7B-Instruct-v0.2", "alpaca.Mistral-7B-Instruct-v0.3"): "answers: Mistral .2 to .3, silent",
    ("alpaca.gpt4_0613", "alpaca.gpt4_0613_concise"): "answers: a prompt for brevity",
    ("OPINIONQA.gpt-3.5-turbo-0301", "OPINIONQA.gpt-3.5-turbo-0613"): "answers: OpinionQA, GPT-3.5 0301 to 0613",
    ("abstracts.2022", "abstracts.2024"): "inputs: abstracts of 2022 to 2024",
    ("clinc", "redteam"): "inputs: requests to attacks",
    ("alpaca.gpt4", "alpaca.gpt4_0314"): "control: the same model by another name",
    ("alpaca.vicuna-13b-v1.5", "alpaca.vicuna-13b-v1.5-togetherai"): "control: the same model, another host",
}
#: those whose texts MiniLM reads as well: minutes
FOR_MINILM = [*list(PAIRS)[:3], list(PAIRS)[4], list(PAIRS)[7]]
KNOWN, NEW, ORDERS, STYLE_TOKENS, MOST = 300, 50, 6, 64, 1500
#: words, numbers, line breaks and signs, as a vocabulary of one's own would have them
TOKEN = re.compile(r"[^\W\d_]+|\d+|\n+|\*\*|#+|[^\w\s]")


def weights_of(x: Matrix, y: Matrix, penalty: float) -> Matrix:
    """Ridge logistic regression, classes of equal weight, by Newton's steps; the constant comes last."""
    share = np.where(y == 1.0, len(y) / (2.0 * y.sum()), len(y) / (2.0 * (1.0 - y).sum()))
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 1e-9
    beta = np.zeros(design.shape[1])
    for _ in range(20):
        p = 1.0 / (1.0 + np.exp(-design @ beta))
        gradient = design.T @ (share * (p - y)) + ridge * beta
        hessian = (design * (share * p * (1.0 - p))[:, None]).T @ design + np.diag(ridge)
        beta -= np.linalg.solve(hessian, gradient)
    return beta


def auc(before: Matrix, after: Matrix, penalty: float) -> float:
    """Area under the curve of a direction learned from KNOWN old and NEW new texts, on all others; mean of ORDERS."""
    n, found = min(len(before), len(after)), []
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(n)
        old, new, rest = order[:KNOWN], order[KNOWN : KNOWN + NEW], order[KNOWN + NEW :]
        x = np.concatenate([before[old], after[new]])
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread[spread == 0.0] = 1.0
        beta = weights_of((x - centre) / spread, np.repeat([0.0, 1.0], [KNOWN, NEW]), penalty)
        scores = [((side[rest] - centre) / spread) @ beta[:-1] for side in (before, after)]
        ranks = rankdata(np.concatenate(scores))
        m = len(rest)
        found.append((ranks[m:].sum() - m * (m + 1) / 2.0) / (m * m))
    return float(np.mean(found))


def chosen(names: tuple[str, str]) -> list[npt.NDArray[np.int64]]:
    """Which texts of two corpora are taken: all in one order where they answer the same prompts, else at random."""
    sizes = [len(texts_of(name)) for name in names]
    if sizes[0] == sizes[1]:
        return [np.arange(sizes[0])] * 2
    rng = np.random.default_rng(0)
    return [rng.permutation(size)[: min(*sizes, MOST)] for size in sizes]


def shares_of(counts: Matrix, tokens: Matrix) -> Matrix:
    """Square roots of relative frequencies, of the STYLE_TOKENS entries that most of the old texts have."""
    best = np.argsort(-(counts[0][:KNOWN] > 0).mean(axis=0), kind="stable")[:STYLE_TOKENS]
    return np.sqrt(counts[:, :, best] / np.maximum(tokens, 1)[:, :, None])


def free_counts(texts: list[list[str]]) -> tuple[Matrix, Matrix]:
    """Counts of the commonest 512 tokens of the old texts, and of all tokens: (2, n, 512) and (2, n)."""
    found = [[Counter(TOKEN.findall(text.lower())) for text in side] for side in texts]
    common = Counter(token for counter in found[0][:KNOWN] for token in counter).most_common(512)
    counts = np.array([[[counter[token] for token, _ in common] for counter in side] for side in found], float)
    return counts, np.array([[counter.total() for counter in side] for side in found], float)


def auc_rows(minilm: dict[str, Matrix]) -> list[list[str]]:
    """A row for every pair of corpora."""
    rows = []
    for names, what in PAIRS.items():
        takes = chosen(names)
        sides = [measured(name).take(take) for name, take in zip(names, takes, strict=True)]
        corpora = [texts_of(name) for name in names]
        texts = [[corpus[k] for k in take] for corpus, take in zip(corpora, takes, strict=True)]
        cells = [auc(*(side.features.astype(float) for side in sides), 10.0)]
        style = np.array([side.style for side in sides], float), np.array([side.tokens for side in sides], float)
        for counts, tokens in (style, free_counts(texts)):
            cells.append(auc(*shares_of(counts, tokens), 200.0))
        cells.append(auc(*map(vectors_of, sides), 100.0))
        if all(name in minilm for name in names):
            cells.append(auc(*(minilm[name][take] for name, take in zip(names, takes, strict=True)), 100.0))
        rows.append([what, *(f"{cell:.2f}" for cell in cells), *[""] * (5 - len(cells))])
    return rows


def vectors_of(side: Side) -> Matrix:
    """Vectors (n, 128)."""
    return side.vectors * side.scales[:, None].astype(float)


def texts_of_length(tokens: int, count: int) -> list[str]:
    """Beginnings of real answers and abstracts with so many WordPiece items; longer ones are put together."""
    embedder, found = StaticEmbedder(), []
    words = re.findall(r"\s*\S+", "\n\n".join([*texts_of("alpaca.gpt4_0613"), *texts_of("abstracts.2022")]))
    lengths = np.cumsum([len(embedder.items(word)) for word in words])
    at = 0
    while len(found) < count:
        start = int(lengths[at - 1]) if at else 0
        end = int(np.searchsorted(lengths, start + tokens))
        if end >= len(words):
            at = len(found) % 97
            continue
        found.append("".join(words[at : end + 1]).strip())
        at = end + 1
    return found


def ask_rivals(task: dict[str, Any]) -> dict[str, Any] | None:
    """What the other Python answers; None where there is none."""
    if not RIVAL_PYTHON or not RIVAL_MODEL:
        return None
    with tempfile.TemporaryDirectory() as folder:
        export(read_table(), Path(folder) / "static")
        (Path(folder) / "task.json").write_text(json.dumps({**task, "model": RIVAL_MODEL}))
        command = [RIVAL_PYTHON, str(Path(__file__).with_name("rival_embedder.py")), folder]
        subprocess.run(command, check=True, timeout=RIVAL_S, env={**os.environ, "OMP_NUM_THREADS": "1"})
        answer: dict[str, Any] = json.loads((Path(folder) / "answer.json").read_text())
        return answer


def speed_rows() -> tuple[list[list[str]], str]:
    """Texts a CPU second, one thread; and a sentence on the rivals."""
    texts = {str(length): texts_of_length(length, count) for length, count in LENGTHS.items()}
    embedder, reader = StaticEmbedder(), TextReader(8000)

    def read(some: list[str]) -> None:
        for text in some:
            reader.read(text)

    def rates_of(action: Callable[[list[str]], object]) -> dict[str, float]:
        action(texts["20"])
        return {k: len(some) / timed(lambda some=some: action(some)) for k, some in texts.items()}  # type: ignore[misc]

    rates = {"the table, leeboard": rates_of(embedder.encode)}
    answer = ask_rivals({"texts": texts, "slow": SLOW_TEXTS})
    if answer is not None:
        rates |= answer["rates"]
    rates["features and style, leeboard"] = rates_of(read)
    first = rates["the table, leeboard"]
    rows = [
        [name, *(f"{rate[str(k)]:,.0f} ({rate[str(k)] / first[str(k)]:.3g})" for k in LENGTHS)]
        for name, rate in rates.items()
    ]
    if answer is None:
        return rows, "Rivals are not installed (LEEBOARD_RIVAL_PYTHON, LEEBOARD_MINILM: tests/bench/README.md)."
    sample = [text for some in texts.values() for text in some[:100]]
    cosine = (embedder.encode(sample) * np.array(answer["vectors"])).sum(axis=1).min()
    return rows, (
        f"Other libraries: {answer['versions']}, one thread, the same texts in the same run. Cosine of our vectors and "
        f"those of sentence-transformers with the exported table: at least {cosine:.6f}."
    )


def calls_with_texts(count: int, scopes: int) -> list[ModelCall]:
    """Calls of 100 tokens in and 200 out."""
    asked, answered = texts_of_length(100, count), texts_of_length(200, count)
    return [
        ModelCall(
            id=f"call-{k}",
            time=START_MS + k,
            app=f"app-{k % scopes}",
            provider="openai",
            model_requested="gpt-4o",
            model_served="gpt-4o-2024-08-06",
            prompt_version="7",
            system_text="Answer briefly.",
            params={"temperature": 0.2},
            input_text=asked[k],
            output_text=answered[k],
            input_tokens=100,
            output_tokens=200,
            latency_ms=900.0 + k % 100,
            finish_reason="stop",
        )
        for k in range(count)
    ]


def normalise_rows() -> list[list[str]]:
    """Calls a CPU second of *normalise*, and where the time goes."""
    calls = calls_with_texts(CALLS, scopes=50)
    asked, answered = [call.input_text or "" for call in calls], [call.output_text or "" for call in calls]
    records = [encode(call) for call in calls]
    normaliser = Normaliser(MeasureSettings(), TopicSettings(), {"raw": "id"}, 24, default_partition)
    batches = [
        [Record(k, None, records[k], (), START_MS) for k in range(at, at + BATCH)] for at in range(0, CALLS, BATCH)
    ]
    sent: list[bytes] = []

    def whole() -> None:
        sent.clear()
        for batch in batches:
            sent.extend(one.value or b"" for made in normaliser.outputs("raw", 0, batch) for one in made)

    embedder, reader = StaticEmbedder(), TextReader(8000)
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode(record, arrival_ms=None) for record in records],
        "features and style of both texts": lambda: [reader.read(text) for text in (*asked, *answered)],
        "vectors of both texts": lambda: embedder.encode([*asked, *answered]),
    }
    seconds = timed(whole)
    rows = [["whole stage", f"{CALLS / seconds:,.0f}", "100 %"]]
    for name, part in parts.items():
        own = timed(part)
        rows.append([name, f"{CALLS / own:,.0f}", f"{own / seconds:.0%}"])
    packed = len(lz4.compress(b"".join(sent)))
    size = f"{sum(map(len, sent)) / CALLS:,.0f} bytes, {packed / CALLS:,.0f} compressed"
    return [*rows, ["a record on `calls`", size, ""]]


def minilm_vectors() -> dict[str, Matrix]:
    """Corpus -> vectors (n, 384) of its texts; empty without rivals."""
    names = sorted({name for pair in FOR_MINILM for name in pair})
    answer = ask_rivals({"corpora": {name: texts_of(name) for name in names}})
    return {} if answer is None else {name: np.array(found) for name, found in answer["vectors"].items()}


def section() -> str:
    """Markdown."""
    told: Sequence[str] = (
        "what happened",
        f"{len(measured('clinc').features[0])} features",
        "style: 64 of the fixed vocabulary",
        "style: 64 chosen freely",
        "vector of the table",
        "vector of MiniLM",
    )
    speeds, rivals = speed_rows()
    return "\n".join(
        [
            "### What a change shows in\n",
            note(
                f"Area under the curve (.5: nothing, 1: everything) of a direction learned from {KNOWN} texts before "
                f"and {NEW} after, on all other texts; mean of {ORDERS} orders. Features, style and table: as measured "
                "by *normalise*."
            ),
            table(told, auc_rows(minilm_vectors())),
            "### Embedding\n",
            note("Texts a CPU second on one thread, and in brackets as a multiple of the table in leeboard."),
            table(["embedder", *(f"{k} tokens" for k in LENGTHS)], speeds),
            note(rivals),
            "### *normalise*\n",
            note(
                "Raw JSON to the bytes of a record on `calls`, 100 tokens in and 200 out, one core, without the broker "
                "(asked: 1,500 calls a second)."
            ),
            table(["part", "calls a CPU second", "of the time"], normalise_rows()),
        ]
    )
