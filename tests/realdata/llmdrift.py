"""llmdrift: the same prompts to the March and the June version of two models."""

from typing import Literal

import numpy as np
from leeboard.schemas import ModelCall

from .folder import rows
from .stream import SPACING_MS, Split, Stream, View, Window

Task = Literal["prime", "opinionqa"]
Family = Literal["gpt-4", "gpt-3.5-turbo"]
TASKS: tuple[Task, ...] = ("prime", "opinionqa")
FAMILIES: tuple[Family, ...] = ("gpt-4", "gpt-3.5-turbo")
VERSIONS = {"gpt-4": ("gpt-4-0314", "gpt-4-0613"), "gpt-3.5-turbo": ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613")}
SPLITS: dict[str, Split] = {"gpt-4": "dev", "gpt-3.5-turbo": "test"}
_FILES = {"prime": "llmdrift/PRIME_FULL_EVAL.csv.gz", "opinionqa": "llmdrift/OPINIONQA_EVAL.csv.gz"}
_SHORT = {"prime": "prime", "opinionqa": "op"}
#: one permutation of the prompts for both versions: in file order the first half of PRIME are primes
SEED = 3
#: 2023-07-03 00:00 UTC; the times in the data order neither versions nor calls
START_MS = 1_688_342_400_000


def llmdrift(task: Task, family: Family, *, blind: bool = False) -> Stream:
    """All prompts that both versions answered, to March's version, then to June's; `blind` leaves the version out."""
    answers = _answers(task, family)
    prompts = len(answers[0])
    june = Window("june", prompts, 2 * prompts)
    short = f"{family}.{_SHORT[task]}"
    split = SPLITS[family]
    views = [
        view
        for name, source, scale in (("lat", "latency_ms", 1e-3), ("len", "output_chars", 1.0))
        for view in (
            View(f"ld.{short}.{name}", source, split, (june,), scale=scale),
            View(f"ld0.{short}.{name}", source, split, scale=scale, stop=prompts),
        )
    ]
    calls = [
        _call(task, row, number, START_MS + (k * prompts + number) * SPACING_MS, blind=blind)
        for k, table in enumerate(answers)
        for number, row in enumerate(table)
    ]
    name = f"llmdrift.{task}.{family}{'.blind' if blind else ''}"
    return Stream(name, calls, (june,), views=tuple(views))


def _answers(task: Task, family: Family) -> list[list[dict[str, str]]]:
    """The rows of both versions for the prompts that both have, in the same order; the last row of a repeated id."""
    by_model: dict[str, dict[str, dict[str, str]]] = {version: {} for version in VERSIONS[family]}
    for row in rows(_FILES[task]):
        version = row["model"].split("/")[-1]
        if version in by_model:
            by_model[version][row["id"]] = row
    first, second = by_model.values()
    ids = sorted(set(first) & set(second))
    order = np.random.default_rng(SEED).permutation(len(ids))
    return [[table[ids[k]] for k in order] for table in (first, second)]


def _call(task: Task, row: dict[str, str], number: int, time_ms: int, *, blind: bool) -> ModelCall:
    version = row["model"].split("/")[-1]
    return ModelCall(
        id=f"llmdrift-{task}-{version}-{number:04d}",
        time=time_ms,
        app="llmdrift",
        route=task,
        provider="openai",
        model_requested=version.rpartition("-")[0],
        model_served=None if blind else version,
        input_text=row["query"],
        output_text=row["answer"],
        params={"temperature": float(row["temperature"]), "max_tokens": int(row["max_tokens"])},
        output_tokens=int(row["answer_token"]),
        cost_usd=float(row["cost"]),
        latency_ms=float(row["latency"]) * 1000,
    )
