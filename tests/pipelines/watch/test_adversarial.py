"""Any sequence of observations and controls: the engine raises nothing, keeps its invariants and can be handed over."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from leeboard.pipelines.measure.fingerprints import id_hash
from leeboard.pipelines.watch.engine import Engine, EngineRecord
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings, WatchSettings
from leeboard.schemas import (
    NUMBERS,
    Accept,
    Confirm,
    Deploy,
    Mute,
    Observation,
    Score,
    decode_result,
    encode,
    scope_key,
)

from .streams import DAY_MS, START_MS, run

LATEST_MS = 253_402_300_799_999
SETTINGS = EngineSettings(
    watch=WatchSettings(max_scopes=2, ring_calls=250, summary_minutes=1, idle_days=1, accept_days=0.01),
    signals={
        "latency_ms": SignalSettings(detector="river:PageHinkley(threshold=3)"),
        "error": SignalSettings(detector="river:ADWIN()"),
        "input_tokens": SignalSettings(weight=100.0),
    },
)
TEXT = ["a", "b", "other", "none", "", "\u202e\U0001f600", "x" * 128, "\0", "/%2F", "é"]
texts = st.one_of(st.sampled_from(TEXT), st.text(max_size=8))
odd = [0.0, -0.0, 1.0, 913_414.0, 1e-45, 3.4e38, -3.4e38, -1.0, -5.0, float("nan"), float("inf"), float("-inf")]
amounts = st.one_of(st.sampled_from(odd), st.floats(min_value=0.5, max_value=1e6, width=32), st.floats(width=32))
values = st.one_of(st.floats(), st.floats(min_value=-5, max_value=5), texts)
steps = st.sampled_from([1000, 1000, 60_000, 60_000, 0, -60_000, DAY_MS // 2, -8 * DAY_MS, 40 * DAY_MS, LATEST_MS])
times = st.integers(0, LATEST_MS)
ROUTES = "ABC"
CATEGORIES = ["finish_reason", "error_type", "model_served"]

#: calls in a row that are alike
blocks = st.fixed_dictionaries(
    {
        "calls": st.sampled_from([1, 7, 40, 150, 300]),
        "route": st.sampled_from(ROUTES),
        "step": steps,
        "numbers": st.lists(amounts, min_size=len(NUMBERS), max_size=len(NUMBERS)),
        "spread": st.sampled_from([0.0, 0.1, 1.0]),
        "flags": st.one_of(st.sampled_from([0b010101, 0b000010]), st.integers(0, 2**32 - 1)),
        "measured": st.integers(0, 2**32 - 1),
        "categories": st.dictionaries(st.sampled_from(CATEGORIES), texts, max_size=3),
        "labels": st.dictionaries(texts, texts, max_size=3),
        "scores": st.dictionaries(texts, values, max_size=3),
        "tools": st.lists(texts, max_size=2),
        "own_label": st.booleans(),
        "sent_again": st.booleans(),
        "received": st.sampled_from([None, None, 0, START_MS]),
        "seed": st.integers(0, 3),
    }
)


def said(kind: Any, **fields: Any) -> Any:
    routes = st.sampled_from([*ROUTES, "D", "*"])
    return st.builds(kind, time=times, app=st.just("z"), route=routes, tenant=st.sampled_from([None, "*"]), **fields)


controls = st.one_of(
    said(Score, call_id=texts, name=st.sampled_from(["n", "m", "\n"]), value=values, evaluator=st.just("e")),
    said(Deploy, what=texts),
    said(Accept),
    said(Mute, until=times),
    said(Confirm, dedup_key=st.just("leeboard-0"), real=st.booleans()),
)


def expanded(actions: list[Any]) -> Iterator[EngineRecord]:
    time = START_MS
    number = 0
    for action in actions:
        if not isinstance(action, dict):
            yield action
            continue
        rng = np.random.default_rng(action["seed"])
        for k in range(action["calls"]):
            number += 1
            time = min(max(time + action["step"], 0), LATEST_MS)
            with np.errstate(all="ignore"):
                factors = np.exp(action["spread"] * rng.standard_normal(len(NUMBERS)))
                amounts = (np.array(action["numbers"]) * factors).astype("<f4")
            own = f"{action['route']}-{k % 3 if action['sent_again'] else number}"
            unlike = {"system_hash": str(number)} if action["own_label"] else {}
            yield Observation(
                id=own,
                id_hash=id_hash(own),
                time=time,
                scope=scope_key(None, "z", "default", action["route"]),
                received=action["received"],
                numbers=amounts.tobytes(),
                flags=action["flags"],
                measured=action["measured"],
                categories={**action["categories"], **unlike},
                tools=tuple(action["tools"]),
                labels={**action["labels"], **unlike},
                scores=action["scores"],
            )


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(actions=st.lists(st.one_of(blocks, blocks, controls), min_size=1, max_size=16), batch=st.integers(1, 100))
def test_anything_may_come(actions: list[Any], batch: int) -> None:
    records = list(expanded(actions))
    outcome = run(records, SETTINGS, batch=batch)
    summaries = outcome.engine.summarise()
    for record in (*outcome.alerts, *summaries, *outcome.summaries, *outcome.rejects):
        assert decode_result(encode(record)) == record
    assert all(a.level > 0 and a.signals and a.examples for a in outcome.alerts)
    other = Engine(SETTINGS)
    for key in outcome.engine.scopes:
        other.restore(outcome.engine.snapshot(key))
    other.validate_state()
    event(f"incidents: {len(outcome.incidents())}")
    whole = run(records, SETTINGS, batch=len(records))
    assert [encode(a) for a in whole.alerts] == [encode(a) for a in outcome.alerts]
    assert [encode(s) for s in whole.summaries] == [encode(s) for s in outcome.summaries]
