"""`summary/1`: when it comes, and that it says what the calls were."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from leeboard.pipelines.watch.engine import SUMMARY_CALLS, SUMMARY_LATEST
from leeboard.pipelines.watch.settings import BudgetSettings, EngineSettings, SignalSettings, WatchSettings
from leeboard.schemas import NUMBERS, Observation, SignalSummary, Summary
from msgspec.structs import replace

from .streams import ALERTS_ONLY, MINUTE_MS, START_MS, Traffic, run

#: half width of the dither on logarithms: an eighth of the floor of 20 %, a quarter where tokens are given
DITHER = np.log(1.2) / 8
FIVE_MINUTES = EngineSettings(watch=WatchSettings(summary_minutes=5.0))


def measured(calls: list[Observation], name: str, last: int = 128) -> npt.NDArray[np.float64]:
    """The last values of a number."""
    values = np.array([np.frombuffer(call.numbers, "<f4")[NUMBERS.index(name)] for call in calls], np.float64)
    return values[~np.isnan(values)][-last:]


def now(calls: list[Any], settings: EngineSettings = ALERTS_ONLY) -> tuple[Summary, dict[str, SignalSummary]]:
    """The summary after these calls."""
    [summary] = run(calls, settings).engine.summarise()
    assert len({s.name for s in summary.signals}) == len(summary.signals)
    return summary, {s.name: s for s in summary.signals}


def test_a_busy_scope_is_summarised_once_in_every_interval() -> None:
    outcome = run(Traffic(every_ms=5000).take(720), FIVE_MINUTES)
    times = [summary.time for summary in outcome.summaries]
    assert times == [START_MS + k * 5 * MINUTE_MS for k in range(1, 12)]
    assert {summary.calls for summary in outcome.summaries[1:]} == {60}
    assert sum(summary.calls for summary in outcome.summaries) == outcome.summaries[-1].sequence


def test_a_slow_scope_waits_for_calls_but_not_for_ever() -> None:
    """A summary says little about three calls; twelve intervals are the limit."""
    slow = run(Traffic(every_ms=MINUTE_MS).take(300), FIVE_MINUTES).summaries
    assert {summary.calls for summary in slow[1:]} == {SUMMARY_CALLS}
    slower = run(Traffic(every_ms=7 * MINUTE_MS).take(200), FIVE_MINUTES).summaries
    gaps = [(b.time - a.time) / MINUTE_MS for a, b in pairwise(slower)]
    assert max(gaps) <= SUMMARY_LATEST * 5 + 7 and min(gaps) >= (SUMMARY_LATEST - 1) * 5
    assert max(summary.calls for summary in slower) < SUMMARY_CALLS


def test_summaries_count_every_call_once() -> None:
    traffic = Traffic(every_ms=20_000)
    calls = traffic.take(500)
    outcome = run([*calls, *calls[-50:]], FIVE_MINUTES)
    [last] = outcome.engine.summarise()
    assert sum(s.calls for s in [*outcome.summaries, last]) == last.sequence == 500
    assert last.counts == {"duplicate_id": 50}
    assert (last.scope, last.time) == (traffic.scope, calls[-1].time)


@pytest.mark.parametrize("calls", [1, 40, 128, 500])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "latency_ms", "cost_usd"])
def test_quantiles_are_those_of_the_last_128_values(calls: int, name: str) -> None:
    records = Traffic(seed=4).take(calls)
    _, signals = now(records)
    values = np.sort(measured(records, name))
    shown = signals[name]
    for quantile, value in ((0.5, shown.median), (0.9, shown.p90), (0.99, shown.p99)):
        exact = values[min(int(quantile * len(values)), len(values) - 1)]
        assert value is not None and abs(np.log(value / exact)) <= DITHER + 1e-6
        assert value == float(f"{value:.6g}")


def test_quantiles_given_the_tokens_are_ratios_to_what_such_calls_used_to_take() -> None:
    traffic = Traffic()
    _, before = now(traffic.take(600))
    traffic = Traffic()
    _, after = now(traffic.take(600) + traffic.take(128, latency=2.0))
    assert before["latency_given_tokens"].unit == "ratio"
    assert before["latency_given_tokens"].median == pytest.approx(1.0, abs=0.1)
    assert after["latency_given_tokens"].median == pytest.approx(2.0, abs=0.3)


def test_shares_are_those_of_the_last_128_events() -> None:
    traffic = Traffic(seed=1)
    records = traffic.take(400, errors=0.3) + traffic.take(128, errors=0.1)
    _, signals = now(records)
    failed = [call.categories["error_type"] == "timeout" for call in records][-128:]
    assert signals["error"].share == pytest.approx(np.mean(failed), abs=1e-6)
    assert signals["error_type"].shares == pytest.approx({"none": 1 - np.mean(failed), "timeout": np.mean(failed)})
    reasons = [call.categories["finish_reason"] for call in records if "finish_reason" in call.categories][-128:]
    assert signals["finish_reason"].shares == pytest.approx({r: reasons.count(r) / 128 for r in ("stop", "length")})
    assert signals["truncated"].share == pytest.approx(reasons.count("length") / 128)


def test_a_signal_that_has_said_one_thing_only_is_told_too() -> None:
    _, signals = now(Traffic().take(100, errors=0.0, finish_reason="stop"))
    assert (signals["error"].share, signals["error"].n, signals["error"].status) == (0.0, 100, "watching")
    assert signals["coverage.tokens"].share == 1.0 and signals["coverage.output_text"].share == 0.0
    assert signals["model_served"].shares == {"m-1": 1.0}
    assert signals["provider"].shares == {"acme": 1.0}


def test_what_was_never_measured_is_not_told() -> None:
    _, signals = now(Traffic().take(100))
    assert not signals.keys() & {"ttft_ms", "reasoning_tokens", "tool_calls", "tool_names", "prompt_version"}
    switched_off = {"latency_ms": SignalSettings(enabled=False), "error": SignalSettings(enabled=False)}
    _, signals = now(Traffic().take(100), EngineSettings(signals=switched_off))
    assert not signals.keys() & {"latency_ms", "error"} and "latency_given_tokens" in signals


def test_a_signal_learns_then_watches_then_is_open() -> None:
    def status(calls: int, changed: int) -> dict[str, str]:
        traffic = Traffic()
        _, signals = now(traffic.take(calls, errors=0.0) + traffic.take(changed, latency=3.0))
        return {name: signal.status for name, signal in signals.items()}

    assert set(status(29, 0).values()) == {"learning"}
    assert status(30, 0)["latency_ms"] == "watching"
    assert status(600, 60)["latency_ms"] == "open" and status(600, 60)["input_tokens"] == "watching"


def test_the_level_and_the_incident_of_an_open_change_are_told() -> None:
    traffic = Traffic()
    outcome = run(traffic.take(600) + traffic.take(60, latency=3.0))
    [summary] = outcome.engine.summarise()
    signals = {s.name: s for s in summary.signals}
    assert summary.incident == outcome.alerts[-1].dedup_key
    told = {s.name: s.log10_level for s in outcome.alerts[-1].signals}
    for name, level in told.items():
        assert signals[name].log10_level >= level - 1e-3 and level > 6
    assert max(s.log10_level for n, s in signals.items() if n not in told) < 4
    assert now(Traffic().take(600))[0].incident is None


def test_a_scope_is_young_until_it_has_seen_as_many_calls_as_the_page_level_claims() -> None:
    budget = BudgetSettings(calls_per_week=1000, pages_per_week=2)
    for calls, young in ((499, True), (501, False)):
        assert now(Traffic().take(calls), EngineSettings(budget=budget))[0].young is young


def test_identity_values_are_told_when_they_are_first_seen_and_only_then() -> None:
    traffic = Traffic(every_ms=10_000)
    records = traffic.take(100) + traffic.take(100, model_served="m-2") + traffic.take(100)
    seen = [summary.first_seen for summary in run(records, FIVE_MINUTES).summaries]
    assert [first["model_served"] for first in seen if "model_served" in first] == [["m-2"]]
    assert "finish_reason" in {name for first in seen for name in first}, "the first truncated answer"


def test_the_visible_effect_shrinks_with_what_is_known_and_is_none_at_first() -> None:
    traffic = Traffic()
    visible = []
    for _ in range(4):
        _, signals = now(traffic.take(0) or Traffic().take(30 + 600 * len(visible)))
        visible.append(signals["latency_ms"].visible)
        assert all(s.visible is None or s.visible <= 1.0 for s in signals.values() if s.unit == "share")
    assert visible[0] is None
    known = [v for v in visible[1:] if v is not None]
    assert len(known) == 3 and known == sorted(known, reverse=True) and 0.02 < known[-1] < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_lasting_shift_beyond_the_visible_effect_is_found(seed: int) -> None:
    _, signals = now(Traffic(seed).take(1500))
    visible = signals["latency_given_tokens"].visible
    assert visible is not None
    traffic = Traffic(seed)
    outcome = run(traffic.take(1500) + traffic.take(1500, latency=1 + 1.5 * visible))
    assert "latency_given_tokens" in {s.name for a in outcome.alerts for s in a.signals}


def test_a_summary_reads_the_state_and_changes_none_of_it_but_its_counts() -> None:
    traffic = Traffic()
    engine = run(traffic.take(300)).engine
    slot = engine.scopes[traffic.scope].slot
    before = engine.bank.scopes.array[slot].tobytes(), engine.snapshot(traffic.scope)["detectors"]
    [first], [second] = engine.summarise(), engine.summarise()
    assert (engine.bank.scopes.array[slot].tobytes(), engine.snapshot(traffic.scope)["detectors"]) == before
    assert replace(second, calls=first.calls, first_seen=first.first_seen) == first
    assert (first.calls, second.calls, second.first_seen) == (300, 0, {})
