"""The evidence budget of a scope: its measured signals share it, and never more than all of it."""

import math
from typing import Any

import pytest
from leeboard.detectors.core.budget import notice_nats, page_nats
from leeboard.pipelines.signals import BINARY, CATEGORICAL, CHANNELS, NUMERIC, Signal
from leeboard.pipelines.watch.engine import Engine, Record
from leeboard.pipelines.watch.settings import BudgetSettings, ChannelSettings, EngineSettings, SignalSettings
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.schemas import Score

from .eventful import about
from .streams import Traffic, run

DEFAULTS = EngineSettings()


def parts(engine: Engine, scope: str) -> dict[tuple[str, str], float]:
    """Part of the evidence budget of every measured signal, by channel and name, from the tables of the bank."""
    bank, slot = engine.bank, engine.scopes[scope].slot
    places = [
        *(key for key in bank.numeric.keys(slot) if bank.numeric.record(slot, key)["events"] > 0),
        *(DetectorKey("binary", c) for c in range(len(BINARY)) if bank.binary.events[slot, c] > 0),
    ]
    found = {}
    for place in places:
        signal = engine.incidents.levels.signal_of(engine.scopes[scope], place)
        found[signal.channel, signal.name] = math.exp(-bank.nats(slot, place))
    for column in range(bank.categorical.events.shape[1]):
        if bank.categorical.events[slot, column] == 0:
            continue
        categories = [key for key in bank.categorical.keys(slot) if key.column == column]
        if not categories:  # one value so far: the signal has its part, and bets nothing
            categories = [p for p in engine.scopes[scope].names if p.kind == "categorical" and p.column == column]
        signal = engine.incidents.levels.signal_of(engine.scopes[scope], categories[0])
        watched = [math.exp(-bank.nats(slot, p)) for p in categories if bank.categorical.row(slot, p) >= 0]
        found[signal.channel, signal.name] = sum(watched)
    return found


def by_channel(found: dict[tuple[str, str], float]) -> dict[str, float]:
    return {channel: sum(part for (c, _), part in found.items() if c == channel) for channel, _ in found}


def appearing() -> list[Record]:
    """One group of signals after the other is measured for the first time; categories appear on the way."""
    traffic = Traffic()
    bare: dict[str, Any] = {"output_tokens": None, "latency_ms": None, "cost_usd": None, "provider": None}
    records: list[Record] = []
    for step, changes in enumerate(
        [
            {**bare, "input_tokens": None, "model_served": None, "system_text": None, "finish_reason": None},
            bare,
            {**bare, "output_tokens": 5},
            {**bare, "output_tokens": 5, "latency_ms": 100.0},
            {**bare, "output_tokens": 5, "latency_ms": 100.0, "ttft_ms": 10.0},
            {"model_served": "m-2", "finish_reason": "odd"},
            {"model_served": "m-3", "tools": ["a"], "tool_calls": ["a"], "reasoning_tokens": 4},
            {"scores": {"rating": 1.0, "tone": "calm"}, "cached_tokens": 3},
            {"scores": {"rating": 1.0, "tone": "shrill", "other": 2.0}},
            {"tools": ["a", "b"], "tool_calls": ["a", "b"]},
            {"prompt_version": "4", "params": {"temperature": 1}, "system_fingerprint": "f", "output_text": " "},
        ]
    ):
        records += traffic.take(6, errors=0.4 if step > 4 else 0.0, **changes)
        records += [Score(**about(traffic), call_id="x", name=f"n{step}", value=1.0, evaluator="judge")]
    return [*records, *traffic.take(300), *traffic.take(60, latency=3.0)]


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULTS,
        EngineSettings(signals={"latency_ms": SignalSettings(weight=5.0), "error": SignalSettings(weight=0.2)}),
        EngineSettings(channels=ChannelSettings(quality=1.0, identity=0.0, input=0.0)),
        EngineSettings(signals={s.name: SignalSettings(enabled=False) for s in (*NUMERIC[4:7], BINARY[0])}),
        EngineSettings(signals={"cost_usd": SignalSettings(detector="river:ADWIN()")}),
    ],
    ids=["defaults", "weights", "channels", "switched off", "river"],
)
def test_the_parts_of_all_signals_add_up_to_no_more_than_the_whole_at_any_time(settings: EngineSettings) -> None:
    engine = Engine(settings)
    channels = dict(zip(CHANNELS, engine.bank.signals.channel_weights.tolist(), strict=True))
    assert sum(channels.values()) == pytest.approx(1.0)
    traffic = Traffic()
    signals_seen = set()
    for at, record in enumerate(appearing()):
        engine.step([record], [at])
        found = parts(engine, traffic.scope)
        signals_seen.add(len(found))
        assert sum(found.values()) <= 1.0 + 1e-9
        for channel, part in by_channel(found).items():
            assert part <= channels[channel] + 1e-9
    assert len(signals_seen) >= 9, "they appeared one after the other"


def test_all_of_a_channel_is_used_by_the_signals_that_are_measured() -> None:
    engine = run(appearing(), DEFAULTS).engine
    found = parts(engine, "/shop/default/answer")
    watched = {channel: part for channel, part in by_channel(found).items() if channel != "identity"}
    assert watched == pytest.approx(
        {"input": 0.1, "output": 0.25, "latency": 0.15, "cost": 0.15, "error": 0.15, "quality": 0.1, "coverage": 0.05}
    )
    constant = [name for (channel, name), part in found.items() if part == 0.0]
    assert constant, "an identity that never changed bets nothing"
    assert by_channel(found)["identity"] < 0.05


def test_signals_of_a_channel_have_parts_in_proportion_to_their_weights() -> None:
    settings = EngineSettings(signals={"latency_ms": SignalSettings(weight=3.0)})
    found = parts(run(Traffic().take(50), settings).engine, "/shop/default/answer")
    latency = {name: part for (channel, name), part in found.items() if channel == "latency"}
    assert latency == pytest.approx({"latency_ms": 0.15 * 3 / 4, "latency_given_tokens": 0.15 / 4})


def test_a_signal_that_is_switched_off_leaves_its_part_to_its_channel() -> None:
    settings = EngineSettings(signals={"latency_ms": SignalSettings(enabled=False)})
    found = parts(run(Traffic().take(50), settings).engine, "/shop/default/answer")
    assert {name: part for (channel, name), part in found.items() if channel == "latency"} == pytest.approx(
        {"latency_given_tokens": 0.15}
    )


def test_categories_divide_the_part_of_their_signal() -> None:
    traffic = Traffic()
    records = [call for reason in ("stop", "length", "odd") for call in traffic.take(20, finish_reason=reason)]
    engine = run(records, DEFAULTS).engine
    slot = engine.scopes[traffic.scope].slot
    keys = [key for key in engine.bank.categorical.keys(slot) if key.column == 0]
    each = {math.exp(-engine.bank.nats(slot, key)) for key in keys}
    assert len(keys) == 3 and len(each) == 1
    assert each.pop() == pytest.approx(0.25 / 2 / 3), "output tokens are measured too"


@pytest.mark.parametrize("signal", [*NUMERIC, *BINARY, *CATEGORICAL], ids=lambda signal: signal.name)
def test_a_signal_that_is_switched_off_is_never_measured(signal: Signal) -> None:
    settings = EngineSettings(signals={signal.name: SignalSettings(enabled=False)})
    engine = run(appearing(), settings).engine
    assert signal.name not in {name for _, name in parts(engine, "/shop/default/answer")}
    assert signal.name not in {s.name for s in engine.summarise()[0].signals}


def test_the_notice_level_costs_a_third_of_a_false_notice_in_the_first_thousand_calls() -> None:
    """And two a week later, or one in 10,000 calls where that is less."""
    expected = sum(math.exp(-notice_nats(calls, float(calls), 2.0)) for calls in range(1, 1001))
    assert 0.2 < expected <= 0.33
    for a_week in (100.0, 1e4, 1e6, 1e8):
        level = math.exp(notice_nats(10**9, a_week, 2.0))
        assert max(1e4, a_week / 2) <= level <= 1.26 * max(1e4, a_week / 2)


def test_the_page_level_is_what_the_budget_leaves_for_each_call() -> None:
    assert math.exp(page_nats(5e6, 2.0)) == pytest.approx(2.5e6)
    engine = Engine(EngineSettings(budget=BudgetSettings(calls_per_week=5e6, pages_per_week=2.0)))
    assert math.exp(engine.page_nats) == pytest.approx(2.5e6)


def test_the_notice_level_of_a_scope_follows_its_calls_of_the_last_seven_days() -> None:
    """A burst of 40,000 calls is forgotten after a week."""
    traffic = Traffic(every_ms=2000)
    engine = run(traffic.take(40_000), DEFAULTS, batch=4096).engine
    record = engine.bank.scopes.array[engine.scopes[traffic.scope].slot]
    assert 2e4 / 1.25 <= math.exp(record["notice_nats"]) <= 2e4 * 1.26
    traffic.every_ms = 3_600_000
    run(traffic.take(24 * 8), DEFAULTS, engine=engine)
    record = engine.bank.scopes.array[engine.scopes[traffic.scope].slot]
    assert record["day_calls"].sum() <= 24 * 7 + 24
    assert 1e4 <= math.exp(record["notice_nats"]) <= 1.26e4
