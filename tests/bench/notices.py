"""A false notice that is left open on a null stream must not grow into a page."""

import math

import numpy as np
from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import ModelCall

from .table import note, table

STREAMS, CALLS = 1000, 5000
#: streams replayed at once
BLOCK = 100
START_MS = 1_767_571_200_000
SPACING_MS = 30_000


def null_calls(seed: int) -> list[ModelCall]:
    """Calls of BLOCK scopes in which nothing ever changes: iid lognormal tokens and latency, one error in 200."""
    rng = np.random.default_rng(seed)
    calls: list[ModelCall] = []
    for k in range(CALLS):
        tokens_in = np.rint(np.exp(rng.normal(6.0, 0.8, BLOCK))).astype(int).tolist()
        tokens_out = np.rint(np.exp(rng.normal(5.0, 0.7, BLOCK))).astype(int)
        latency = (300 + 20 * tokens_out * np.exp(rng.normal(0.0, 0.3, BLOCK))).tolist()
        failed = (rng.random(BLOCK) < 0.005).tolist()
        calls.extend(
            ModelCall(
                id=f"{seed}-{scope}-{k}",
                time=START_MS + k * SPACING_MS,
                app=f"null-{scope}",
                provider="openai",
                model_served="gpt-4o",
                input_tokens=tokens_in[scope],
                output_tokens=None if failed[scope] else int(tokens_out[scope]),
                latency_ms=None if failed[scope] else latency[scope],
                finish_reason=None if failed[scope] else "stop",
                error_type="timeout" if failed[scope] else None,
            )
            for scope in range(BLOCK)
        )
    return calls


def section() -> str:
    """Notices on null streams, how long they stay open, and the highest level they reach."""
    # a page budget that every call may spend, so that nothing but the evidence keeps a notice from paging
    budget = BudgetSettings(calls_per_week=1e6, pages_per_week=1.0)
    opened, reached, asked, open_calls, levels = 0, 0, 0, [], []
    for block in range(STREAMS // BLOCK):
        runner = Replay(Config(budget=budget))
        runner.feed(iter(null_calls(block)))
        for incident in runner.finish().incidents():
            opened += 1
            levels.append(incident.peak.level)
            reached += incident.peak.level >= budget.calls_per_week / budget.pages_per_week
            asked += any(alert.severity != "info" for alert in incident.alerts)
            last = incident.last.evidence.positions.this.sequence if incident.last.resolution else CALLS
            open_calls.append(last - incident.alerts[0].evidence.positions.opening.sequence)
    expected = STREAMS * sum(1 / max(1e3, min(10 * k, 1e4)) for k in range(1, CALLS + 1))
    rows = [
        ["notices opened / allowed", f"{opened} / {expected:.0f}"],
        ["open for so many calls: median, 90 %", ", ".join(f"{q:.0f}" for q in np.quantile(open_calls, [0.5, 0.9]))],
        ["highest level ever", f"10^{math.log10(max(levels)):.1f}"],
        ["asked for a page: page level, and an effect beyond its floor", f"{asked}"],
        ["reached the page level 10^6 / allowed", f"{reached} / {STREAMS * CALLS / 1e6:.0f}"],
    ]
    return (
        table([f"{STREAMS:,} null streams of {CALLS:,} calls", ""], rows)
        + "\n"
        + note("Allowed: the sum of 1 / notice level over all calls; calls / page level.")
    )
