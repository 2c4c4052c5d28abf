"""A block's fields: for every field of `ModelCall` one list with a value a call."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, IntArray
from .apps import App
from .effects import Effects
from .measures import ERRORS, Draws, Measures, cost_usd
from .text import Dice, write_input, write_output
from .traffic import Arrivals, shares_of

T = TypeVar("T")

#: what an answer that `max_tokens` cut lacks at its end: enough to make JSON invalid and end a sentence in a word
CUT_CHARS = 5


class Habits:
    """What stays the same over the blocks of a scope."""

    def __init__(self, app: App, prefix: str, *, text: bool) -> None:
        self.app = app
        self.prefix = prefix
        self.text = text
        #: fields that never change
        self.constants: dict[str, Any] = {
            "app": app.app,
            "env": app.env,
            "route": app.route,
            "tools": list(app.tools) or None,
        }
        self.tenants = list(app.tenants)
        self._shares = {name: (list(shares), shares_of(shares)) for name, shares in app.labels.items()}
        self._labels: dict[int, dict[str, str]] = {}

    def labels(self, tenant: int, user: int) -> dict[str, str] | None:
        """Give the labels of a user: always the same; at most tenants x users are kept."""
        if not self._shares:
            return None
        key = tenant * self.app.users + user
        if key not in self._labels:
            dice = Dice(int(self.prefix, 16) ^ (key * 0x9E3779B97F4A7C15))
            dice.roll(2)
            self._labels[key] = {
                name: values[int(np.searchsorted(shares, dice.roll(10_000) / 10_000, side="right"))]
                for name, (values, shares) in self._shares.items()
            }
        return self._labels[key]


def columns(habits: Habits, block: Arrivals, draws: Draws, m: Measures, effects: Effects) -> dict[str, Sequence[Any]]:
    """Every field but `id` and the constant ones, None where a call does not report it."""
    app = habits.app
    good = m.error < 0
    counted = good & ~effects.tokens_lost
    nobody = np.zeros(block.n, bool)
    users = list(zip(block.tenant.tolist(), block.user.tolist(), strict=True))
    cost = cost_usd(app, m, effects)
    return {
        "time": block.time_ms.tolist(),
        "tenant": [habits.tenants[k] for k in block.tenant.tolist()] if habits.tenants else [None] * block.n,
        "provider": _pick([one.provider for one in effects.models], effects.model),
        "model_requested": [app.model.requested] * block.n,
        "model_served": _pick([one.served for one in effects.models], effects.model, good),
        "system_fingerprint": _fingerprints(draws, effects, good),
        "prompt_name": _pick([one.name for one in effects.prompts], effects.prompt),
        "prompt_version": _pick([one.version for one in effects.prompts], effects.prompt),
        "system_text": _pick([one.text for one in effects.prompts], effects.prompt),
        **_texts(habits, draws, m, effects, good),
        "params": _pick([{**app.params, "max_tokens": limit} for limit in effects.max_tokens], effects.limit),
        "input_tokens": _only(m.input, counted),
        "output_tokens": _only(m.output, counted),
        "cached_tokens": _only(m.cached_tokens, counted if app.prompt_cache_rate else nobody),
        "reasoning_tokens": _only(m.reasoning, counted if app.reasoning_tokens else nobody),
        "cost_usd": [None] * block.n if cost is None else _only(cost, good),
        "latency_ms": m.latency_ms.tolist(),
        "ttft_ms": _only(m.ttft_ms, good if app.streamed else nobody),
        **_outcome(app, draws, m, good),
        "cached": m.cached.tolist() if app.cached_rate else [None] * block.n,
        "app_version": _pick(effects.versions, effects.version),
        "session": [f"{habits.prefix[:6]}-s{k}" for k in block.session.tolist()],
        "user": [f"u{tenant}-{user}" for tenant, user in users],
        "trace_id": [draws.ids[i : i + 32] for i in range(0, 48 * block.n, 48)],
        "span_id": [draws.ids[i + 32 : i + 48] for i in range(0, 48 * block.n, 48)],
        "labels": [habits.labels(tenant, user) for tenant, user in users],
        "scores": _scores(app, draws, good),
    }


def _pick(values: Sequence[T], index: IntArray, where: BoolArray | None = None) -> list[T | None]:
    picked: list[T | None] = [values[k] for k in index.tolist()]
    if where is not None:
        for k in np.flatnonzero(~where).tolist():
            picked[k] = None
    return picked


def _only(values: NDArray[Any], where: BoolArray) -> list[Any]:
    boxed = values.astype(object)
    boxed[~where] = None
    listed: list[Any] = boxed.tolist()
    return listed


def _fingerprints(draws: Draws, effects: Effects, good: BoolArray) -> list[str | None]:
    prints: list[str | None] = [None] * good.size
    for index, model in enumerate(effects.models):
        names = model.fingerprints
        if names:
            which = np.maximum((draws.u["fingerprint"] * (len(names) + 1)).astype(np.int64) - 1, 0)
            for k in np.flatnonzero(good & (effects.model == index)).tolist():
                prints[k] = names[which[k]]
    return prints


def _outcome(app: App, draws: Draws, m: Measures, good: BoolArray) -> dict[str, Sequence[Any]]:
    used = good & ~m.truncated & (draws.u["tool"] < app.tool_rate)
    ways = [[name] for name in app.tools] + [list(app.tools)]
    which = (draws.u["tool_name"] * len(ways)).astype(np.int64)
    reasons = np.where(m.truncated, "length", np.where(used, "tool_calls", "stop")).astype(object)
    errors = [*ERRORS, None]
    return {
        "finish_reason": _only(reasons, good),
        "tool_calls": _pick(ways, which, used),
        "error_type": [errors[k] for k in m.error.tolist()],
    }


def _scores(app: App, draws: Draws, good: BoolArray) -> list[dict[str, float] | None]:
    if app.score is None:
        return [None] * good.size
    name, share, mean, sd = app.score
    values = np.clip(mean + sd * draws.z["score"], 0, 1).round(2)
    scored = good & (draws.u["score"] < share)
    return [{name: value} if yes else None for value, yes in zip(values.tolist(), scored.tolist(), strict=True)]


def _texts(habits: Habits, draws: Draws, m: Measures, effects: Effects, good: BoolArray) -> dict[str, Sequence[Any]]:
    n = good.size
    if not habits.text:
        return {"input_text": [None] * n, "output_text": [None] * n}
    topics = [one.topic for one in m.kinds]
    form = habits.app.form
    inputs: list[str] = []
    outputs: list[str | None] = []
    rows = (m.kind, m.asked, m.output, draws.text, draws.answer, effects.prompt, effects.style, m.truncated, good)
    for kind, asked, output, key, answer, prompt, changed, cut, answered in zip(
        *(row.tolist() for row in rows), strict=True
    ):
        inputs.append(write_input(topics[kind], asked, key))
        if not answered:
            outputs.append(None)
            continue
        style = effects.styles[changed] if changed >= 0 else effects.prompts[prompt].style
        text = write_output(form, style, topics[kind], output, answer)
        outputs.append(text[:-CUT_CHARS] if cut else text)
    return {"input_text": inputs, "output_text": outputs}
