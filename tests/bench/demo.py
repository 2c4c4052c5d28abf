"""Causes injected into simulated traffic: found, missed, delay, and incidents without a cause."""

import numpy as np
from leeboard.pipelines.config import Config
from leeboard.pipelines.evaluate import FoundCause, find
from leeboard.pipelines.replay import Replay
from leeboard.pipelines.simulate import default_scenario, demo_scenario, simulate, truth

from .table import note, table

SEEDS = range(20)


def run(seed: int, days: float | None = None) -> tuple[list[FoundCause], int, int]:
    """Causes with what was found, incidents without a cause, and pages without a cause."""
    scenario = demo_scenario(seed) if days is None else default_scenario(seed, days, 5000, text=False)
    runner = Replay(Config())
    runner.feed(simulate(scenario))
    incidents = runner.finish().incidents()
    found, rest = find(truth(scenario), incidents)
    return found, len(rest), sum(incident.paged_at is not None for incident in rest)


def section() -> str:
    """The demo's scenario over 20 seeds, and a longer one with every cause."""
    parts = []
    for title, days in (("the demo, 20 seeds", None), ("every cause, 14 days of 5,000 calls, 20 seeds", 14.0)):
        results = [run(seed, days) for seed in SEEDS]
        by_cause: dict[str, list[FoundCause]] = {}
        for found, _, _ in results:
            for item in found:
                by_cause.setdefault(item.cause.cause, []).append(item)
        rows = []
        for cause, items in by_cause.items():
            hits = [item for item in items if item.incident is not None]
            calls = [item.calls for item in hits if item.calls is not None]
            delay = f"{np.median(calls):.0f}" if calls else "-"
            expected = "" if items[0].cause.answers else " (must stay silent)"
            paged = f"{sum(item.paged for item in hits)}"
            rows.append([cause + expected, f"{len(hits)} / {len(items)}", delay, paged])
        parts.append(f"{title}\n")
        parts.append(table(["cause", "found", "calls of the scope to the first alert, median", "paged"], rows))
        rest, pages = (np.mean([result[k] for result in results]) for k in (1, 2))
        parts.append(note(f"Incidents without a cause: {rest:.1f} a run, of which {pages:.2f} paged."))
    return "\n".join(parts)
