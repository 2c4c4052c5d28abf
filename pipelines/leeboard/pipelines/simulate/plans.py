"""Ready scenarios: the default fleet, and which cause happens where and when."""

from collections.abc import Callable, Collection

import numpy as np

from ..units import DAY_MS
from .apps import Prompt, RequestKind
from .causes import (
    AnyCause,
    CachingLost,
    ErrorBurst,
    FieldLost,
    OneTenant,
    Outlier,
    PriceRise,
    PromptEdited,
    Release,
    ServedModelChanged,
    SilentUpdate,
    Slowdown,
    SlowDrift,
    TrafficMix,
    Truncation,
)
from .fleet import CODE_TEXT, SERVED, fleet
from .scenario import START_MS, Scenario
from .traffic import expected_time

#: longest ramp of the slow drift, and its longest part of the scenario
RAMP_DAYS = 4.0
RAMP_PART = 0.2

_SHORTER = Prompt(
    name="edit", version="22", text=CODE_TEXT + " Be brief: show only the lines that change.", tokens=362, style="terse"
)
_RECEIPTS = RequestKind(
    name="travel receipts", share=1, input_tokens=6500, input_sd=0.4, output_tokens=95, follows=0.3, topic="receipts"
)

#: name -> route of the default fleet that it happens to, and its maker from (scope, start, duration of the scenario)
CAUSES: dict[str, tuple[str, Callable[[str, int, int], AnyCause]]] = {
    "silent_update": ("chat-answer", lambda scope, at, _: SilentUpdate(scope=scope, start_ms=at)),
    "served_model_changed": (
        "document-qa",
        lambda scope, at, _: ServedModelChanged(scope=scope, start_ms=at, model=SERVED["haiku"]),
    ),
    "prompt_edited": ("edit", lambda scope, at, _: PromptEdited(scope=scope, start_ms=at, prompt=_SHORTER)),
    "traffic_mix": ("invoice-extraction", lambda scope, at, _: TrafficMix(scope=scope, start_ms=at, kind=_RECEIPTS)),
    "slowdown": ("ticket-classifier", lambda scope, at, _: Slowdown(scope=scope, start_ms=at)),
    "error_burst": ("ticket-classifier", lambda scope, at, _: ErrorBurst(scope=scope, start_ms=at)),
    "price_rise": ("nightly-summary", lambda scope, at, _: PriceRise(scope=scope, start_ms=at)),
    "one_tenant": ("invoice-extraction", lambda scope, at, _: OneTenant(scope=scope, start_ms=at, tenant="south")),
    "truncation": ("edit", lambda scope, at, _: Truncation(scope=scope, start_ms=at, max_tokens=500)),
    "caching_lost": ("document-qa", lambda scope, at, _: CachingLost(scope=scope, start_ms=at)),
    "field_lost": ("nightly-summary", lambda scope, at, _: FieldLost(scope=scope, start_ms=at)),
    "slow_drift": (
        "chat-answer",
        lambda scope, at, duration: SlowDrift(
            scope=scope, start_ms=at, ramp_days=min(RAMP_DAYS, RAMP_PART * duration / DAY_MS)
        ),
    ),
    "release": ("query-rewrite", lambda scope, at, _: Release(scope=scope, start_ms=at)),
    "outlier": ("policy-qa", lambda scope, at, _: Outlier(scope=scope, start_ms=at)),
}
#: cause -> share of its scope's calls that come before it
DEFAULT_PLAN = {
    "error_burst": 0.33,
    "silent_update": 0.36,
    "caching_lost": 0.36,
    "traffic_mix": 0.38,
    "price_rise": 0.38,
    "prompt_edited": 0.42,
    "release": 0.45,
    "outlier": 0.5,
    "slowdown": 0.65,
    "slow_drift": 0.66,
    "served_model_changed": 0.7,
    "one_tenant": 0.72,
    "field_lost": 0.75,
    "truncation": 0.76,
}
DEMO_PLAN = {
    "error_burst": 0.3,
    "silent_update": 0.42,
    "served_model_changed": 0.48,
    "outlier": 0.5,
    "prompt_edited": 0.54,
    "traffic_mix": 0.58,
    "price_rise": 0.6,
    "slowdown": 0.66,
}
#: the start of a cause varies with the seed by so much of its scope's calls
JITTER = 0.02
DEMO_DAYS = 10
DEMO_CALLS_A_DAY = 2000


def default_scenario(
    seed: int = 0,
    days: float = 14,
    calls_a_day: float = 5000,
    *,
    causes: Collection[str] | None = None,
    start_ms: int = START_MS,
    text: bool = True,
) -> Scenario:
    """Build the default fleet with every cause once; in two of its scopes only what should not be reported.

    `causes`: names of the causes wanted (see CAUSES), None for all, empty for a fleet where nothing happens. Where each
    begins varies with the seed, by its scope's share of expected calls.
    Raises ValueError for unknown names and for a fleet out of bounds.
    """
    if causes is not None and (unknown := set(causes) - set(CAUSES)):
        raise ValueError(f"unknown causes: {', '.join(sorted(unknown))}; known: {', '.join(CAUSES)}")
    plan = {name: share for name, share in DEFAULT_PLAN.items() if causes is None or name in causes}
    return _planned(seed, days, calls_a_day, plan, start_ms, text=text)


def demo_scenario(seed: int = 0) -> Scenario:
    """About 20,000 calls in ten days with seven causes in six scopes and one freak call; two scopes stay quiet.

    Each cause has at least 600 calls of its scope before it and 300 after it.
    """
    return _planned(seed, DEMO_DAYS, DEMO_CALLS_A_DAY, DEMO_PLAN, START_MS, text=True)


def _planned(
    seed: int, days: float, calls_a_day: float, plan: dict[str, float], start_ms: int, *, text: bool
) -> Scenario:
    """Build a scenario with the causes of `plan`: name -> share of its scope's expected calls that come before it."""
    apps = fleet(calls_a_day)
    duration_ms = round(days * DAY_MS)
    by_route = {app.route: app for app in apps}
    moved = dict(zip(CAUSES, np.random.default_rng([seed, 1]).uniform(-JITTER, JITTER, len(CAUSES)), strict=True))
    causes = []
    for name, share in plan.items():
        route, make = CAUSES[name]
        when = expected_time(by_route[route], start_ms, duration_ms, share + moved[name])
        causes.append(make(by_route[route].scope, when, duration_ms))
    return Scenario(seed=seed, start_ms=start_ms, duration_ms=duration_ms, apps=apps, causes=tuple(causes), text=text)
