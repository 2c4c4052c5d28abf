"""What people, deployments and evaluators say: accept, deploy, mute, confirm and scores."""

import math
from itertools import count
from typing import Any

import numpy as np
import pytest
from leeboard.pipelines.signals import MAX_SCORES
from leeboard.pipelines.watch.engine import Engine, Record
from leeboard.pipelines.watch.settings import EngineSettings, ScopeSettings, SignalSettings, WatchSettings
from leeboard.pipelines.watch.state.scope import MAX_CLOSED
from leeboard.schemas import Accept, Alert, Confirm, Deploy, Mute, Observation, Score, encode
from msgspec.structs import replace

from .eventful import about
from .streams import ALERTS_ONLY, DAY_MS, MEASURER, MINUTE_MS, Outcome, Traffic, only, opened, run

SEEDS = range(5)


def sequence(alert: Alert) -> int:
    return alert.evidence.positions.this.sequence


def triggers(outcome: Outcome) -> list[Alert]:
    return [page.alert for page in outcome.pages() if page.status == "trigger"]


def slow(traffic: Traffic, n: int = 120) -> list[Record]:
    """Calls 601 on are slower."""
    return [*traffic.take(600), *traffic.take(n, latency=1.8)]


def test_an_accepted_level_is_normal_and_the_way_back_a_change() -> None:
    """In one stream of ten the young watcher of the open change may find another one, which the budget allows."""
    as_told = 0
    for seed in range(10):
        traffic = Traffic(seed)
        records = [*slow(traffic), Accept(**about(traffic)), *traffic.take(900, latency=1.8)]
        incidents = run([*records, *traffic.take(200)]).incidents()
        accepted = next(alerts for alerts in incidents if alerts[-1].resolution == "accepted")
        assert sequence(accepted[-1]) == 720
        way_back = incidents[-1][0]
        as_told += len(incidents) == 2 and 1620 < sequence(way_back) < 1680
        assert {s.direction for s in way_back.signals} == {"down"}
    assert as_told >= 9


def test_accept_without_an_incident_says_nothing() -> None:
    traffic = Traffic()
    assert run([*traffic.take(300), Accept(**about(traffic)), *traffic.take(300)]).alerts == []


@pytest.mark.parametrize("seed", SEEDS)
def test_an_announced_change_is_told_never_paged_and_normal_later(seed: int) -> None:
    traffic = Traffic(seed)
    records: list[Record] = [*traffic.take(600), Deploy(**about(traffic), what="model", version="2")]
    outcome = run([*records, *traffic.take(700, latency=4.0)])
    [alerts] = outcome.incidents()
    assert {a.announced for a in alerts} == {True}
    assert "critical" in {a.severity for a in alerts}, "it would have paged"
    assert (alerts[-1].status, alerts[-1].resolution) == ("resolve", "accepted")
    assert 400 <= alerts[-1].change.calls_since <= 440
    assert outcome.pages() == []


@pytest.mark.parametrize(
    ("route", "calls_between", "announced"),
    [("answer", 0, True), ("answer", 150, True), ("answer", 400, False), ("*", 0, True), ("other", 0, False)],
)
def test_a_deploy_announces_what_begins_soon_after_it_in_its_scope(
    route: str, calls_between: int, announced: bool
) -> None:
    traffic = Traffic(every_ms=10 * MINUTE_MS)
    records: list[Record] = traffic.take(600)
    records.append(Deploy(**{**about(traffic), "route": route}, what="release"))
    records += traffic.take(calls_between)
    alerts = run([*records, *traffic.take(60, latency=2.0)]).alerts
    assert {a.announced for a in alerts} == {announced}


def test_a_muted_incident_pages_only_after_its_mute() -> None:
    traffic = Traffic()
    records: list[Record] = traffic.take(600)
    until = traffic.time_ms + 150 * MINUTE_MS
    outcome = run([*records, Mute(**about(traffic), until=until), *traffic.take(400, latency=3.0)])
    assert outcome.alerts[0].muted and any(not a.muted for a in outcome.alerts)
    assert all(a.muted == (a.time < until) for a in outcome.alerts)
    [paged] = triggers(outcome)
    assert paged.time >= until


def test_a_newer_mute_takes_the_place_of_the_older() -> None:
    traffic = Traffic()
    records: list[Record] = [Mute(**about(traffic), until=traffic.time_ms + DAY_MS)]
    records = [*traffic.take(1), Mute(**about(traffic), until=traffic.time_ms + DAY_MS), *traffic.take(599)]
    records += [Mute(**about(traffic), until=0), *traffic.take(60, latency=2.0)]
    assert {a.muted for a in run(records).alerts} == {False}


@pytest.mark.parametrize("after_the_end", [False, True])
def test_a_confirmed_page_is_told_to_the_gate(after_the_end: bool) -> None:
    traffic = Traffic()
    records = slow(traffic)
    if after_the_end:
        records += traffic.take(500)
    before = run(records)
    key = before.alerts[0].dedup_key
    said = Confirm(**about(traffic), dedup_key=key)
    outcome = run([*records, said, said])
    assert [encode(a) for a in outcome.alerts[:-1]] == [encode(a) for a in before.alerts]
    last = outcome.alerts[-1]
    assert (last.status, last.dedup_key, last.confirmed) == ("update", key, True)
    assert last.resolution == ("recovered" if after_the_end else None)
    assert len({a.id for a in outcome.alerts}) == len(outcome.alerts)
    pages = outcome.pages()
    assert [page.status for page in pages].count("trigger") == 1, "a word about an old page is no new page"


def test_later_alerts_repeat_what_was_confirmed_and_a_person_may_think_again() -> None:
    traffic = Traffic()
    records = slow(traffic)
    key = run(records).alerts[0].dedup_key
    records += [Confirm(**about(traffic), dedup_key=key), *traffic.take(100, latency=1.8)]
    told = run(records).alerts
    assert told[-1].confirmed is True and sequence(told[-1]) > 720
    records += [Confirm(**about(traffic), dedup_key=key, real=False), *traffic.take(400)]
    assert run(records).alerts[-1].confirmed is False


def test_only_the_last_incidents_of_a_scope_can_be_confirmed() -> None:
    traffic = Traffic()
    records: list[Record] = traffic.take(600)
    for k in range(MAX_CLOSED + 1):
        records += [*traffic.take(60, price=2.0 ** (k + 1)), Accept(**about(traffic))]
        records += traffic.take(300, price=2.0 ** (k + 1))
    keys = [alerts[0].dedup_key for alerts in run(records).incidents()]
    assert len(keys) == MAX_CLOSED + 1
    records += [Confirm(**about(traffic), dedup_key=key) for key in ["leeboard-unknown", *keys]]
    outcome = run(records)
    assert [a.dedup_key for a in outcome.alerts if a.confirmed] == keys[1:]


def test_controls_reach_exactly_the_scopes_that_they_name() -> None:
    settings = EngineSettings(scope=ScopeSettings(tenant=True), watch=WatchSettings(summary_minutes=1e6))
    engine = Engine(settings)
    [call] = Traffic().take(1)
    keys = ["a/shop/default/x", "b/shop/default/x", "b/shop/default/y", "b/shop/live/y", "b/bar/default/y"]
    engine.step([replace(call, scope=key, id=key) for key in keys], range(len(keys)))
    position = count(len(keys))

    def muted(**named: Any) -> list[str]:
        engine.step([Mute(**{"time": call.time, "app": "shop", "until": call.time + 1, **named})], [next(position)])
        found = [key for key in keys if engine.scopes[key].muted_until]
        for scope in engine.scopes.values():
            scope.muted_until = 0
        return found

    assert muted(route="*", tenant="*") == keys[:3]
    assert muted(route="*", tenant="b") == keys[1:3]
    assert muted(route="x", tenant="*") == keys[:2]
    assert muted(route="y", tenant="b") == keys[2:3]
    assert muted(route="y", tenant="b", env="live") == keys[3:4]
    assert muted(route="y", tenant=None) == muted(route="z", tenant="b") == []


def judged(traffic: Traffic, n: int, mean: float, name: str = "grounded", *, late: bool, seed: int = 0) -> list[Record]:
    """Calls with a score of each, inside it or after it."""
    values = np.random.default_rng([seed, n]).normal(mean, 1.0, n).tolist()
    records: list[Record] = []
    for call, value in zip(traffic.take(n), values, strict=True):
        if late:
            records += [call, score(traffic, call, value, name)]
        else:
            records.append(replace(call, scores={name: value}))
    return records


def score(traffic: Traffic, call: Observation, value: float | str, name: str = "grounded") -> Score:
    said = {**about(traffic), "time": call.time}
    return Score(**said, call_id=call.id, name=name, value=value, evaluator="judge", evaluator_version="3")


@pytest.mark.parametrize("late", [False, True], ids=["inline", "later"])
@pytest.mark.parametrize("seed", SEEDS)
def test_scores_that_fall_are_an_incident(late: bool, seed: int) -> None:
    traffic = Traffic(seed)
    records = judged(traffic, 600, 5.0, late=late, seed=seed) + judged(traffic, 200, 3.0, late=late, seed=seed)
    outcome = run(records)
    [alerts] = outcome.incidents()
    shift = alerts[-1].signals[0]
    assert shift.name == f"score.{'judge' if late else 'call'}.grounded"
    assert (shift.channel, shift.unit, shift.direction) == ("quality", "score", "down")
    assert -2.6 < shift.effect < -1.4, "in standard deviations"
    assert 2.5 < shift.after < 3.5 < 4.7 < shift.before < 5.3
    assert len(triggers(outcome)) == 1


@pytest.mark.parametrize("late", [False, True], ids=["inline", "later"])
def test_a_judgement_in_words_that_turns_is_an_incident(late: bool) -> None:
    traffic = Traffic()
    records: list[Record] = []
    for k, call in enumerate(traffic.take(800)):
        tone = "shrill" if k % (2 if k > 600 else 20) == 0 else "calm"
        records += [call, score(traffic, call, tone, "tone")] if late else [replace(call, scores={"tone": tone})]
    [alerts] = run(records).incidents()
    shift = next(s for s in alerts[-1].signals if s.category == "shrill")
    assert shift.name == f"score.{'judge' if late else 'call'}.tone"
    assert shift.direction == "up" and 0.3 < shift.effect < 0.6
    assert 600 < sequence(alerts[0]) < 660


def test_more_words_than_places_share_one_and_leave_the_known_ones_alone() -> None:
    """A judge that writes free text must not push the verdicts out that matter."""
    traffic = Traffic()
    records: list[Record] = []
    for k, call in enumerate(traffic.take(900)):
        word = f"hm, {k}" if k % 3 == 0 else "bad" if k > 700 and k % 3 == 1 else "good"
        records += [call, score(traffic, call, word, "tone")]
    outcome = run(records)
    (scope,) = outcome.engine.scopes.values()
    named = {name for place, name in scope.names.items() if place.column >= 10}
    assert len(named) == 16 and {"good", "other"} < named
    assert any(s.category == "good" and s.direction == "down" for a in outcome.alerts for s in a.signals)


def test_a_score_of_a_scope_without_calls_is_set_aside() -> None:
    traffic = Traffic()
    [call] = traffic.take(1)
    stray = replace(score(traffic, call, 1.0), route="elsewhere")
    outcome = run([stray, call, score(traffic, call, 1.0), stray])
    assert [(r.reason, r.position) for r in outcome.rejects] == [("no_scope", "0"), ("no_scope", "3")]
    assert list(outcome.engine.scopes) == [traffic.scope]


def test_scores_beyond_the_limit_are_counted_and_left_out() -> None:
    traffic = Traffic()
    [call] = traffic.take(1)
    scores: dict[str, float | str] = {f"s{k}": 1.0 for k in range(MAX_SCORES + 3)}
    engine = run([replace(call, scores=scores)]).engine
    [summary] = engine.summarise()
    assert summary.counts == {"scores_left_out": 3}
    assert sum(s.name.startswith("score.") for s in summary.signals) == MAX_SCORES


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_score_that_is_no_number_spoils_nothing(value: float) -> None:
    traffic = Traffic()
    records = judged(traffic, 600, 5.0, late=True)
    call = next(r for r in records if isinstance(r, Observation))
    with_it = [*records[:400], score(traffic, call, value), *records[400:]]
    tail = judged(traffic, 100, 3.0, late=True)
    plain, spoilt = run([*records, *tail]), run([*with_it, *tail])
    assert [sequence(a) for a in spoilt.alerts if a.status == "trigger"] == pytest.approx(
        [sequence(a) for a in plain.alerts if a.status == "trigger"], abs=5
    )
    (summary,) = spoilt.engine.summarise()
    shown = next(s for s in summary.signals if s.name == "score.judge.grounded")
    assert shown.median is not None and 2.5 < shown.median < 5.5


def test_a_score_that_is_switched_off_is_not_watched() -> None:
    settings = EngineSettings(
        signals={"score.judge.grounded": SignalSettings(enabled=False)}, watch=WatchSettings(summary_minutes=1e6)
    )
    traffic = Traffic()
    records = judged(traffic, 300, 5.0, late=True) + judged(traffic, 100, 1.0, late=True)
    outcome = run(records, settings)
    assert outcome.alerts == []
    assert not [s for s in outcome.engine.summarise()[0].signals if s.name.startswith("score.")]


def test_calls_sent_again_change_nothing() -> None:
    traffic = Traffic()
    calls = slow(traffic)
    twice: list[Record] = []
    for at in range(0, len(calls), 50):
        twice += [*calls[at : at + 50], *calls[max(at - 20, 0) : at + 50]]
    again = run(twice)
    assert [encode(a) for a in again.alerts] == [encode(a) for a in run(calls).alerts]
    assert again.engine.summarise()[0].counts == {"duplicate_id": len(twice) - len(calls)}


@pytest.mark.parametrize("batch", [1, 7, 5000])
def test_calls_sent_again_do_not_feed_the_detectors_of_river(batch: int) -> None:
    """In whatever batch the second one comes: it has to be known before the kernel finds it."""
    traffic = Traffic()
    calls: list[Record] = [*traffic.take(300), *traffic.take(100, latency=4.0, errors=0.5)]
    settings = EngineSettings(
        signals={
            "latency_ms": SignalSettings(detector="river:ADWIN(delta=0.01)"),
            "error": SignalSettings(detector="river:PageHinkley(threshold=5)"),
        },
        watch=ALERTS_ONLY.watch,
    )
    twice: list[Record] = []
    for at in range(0, len(calls), 20):
        twice += [*calls[at : at + 20], *calls[max(at - 15, 0) : at + 20 : 2], calls[at], calls[at]]
    once, again = run(calls, settings), run(twice, settings, batch=batch)
    assert {s.detector.partition(":")[0] for alert in once.alerts for s in alert.signals} >= {"river"}
    assert [encode(a) for a in again.alerts] == [encode(a) for a in once.alerts]
    dumps = [e.bank.river.dump(e.scopes[traffic.scope].slot) for e in (once.engine, again.engine)]
    assert dumps[0] == dumps[1] and dumps[0].keys() == {"latency_ms", "error"}


def test_repeats_are_found_ahead_of_the_kernel_as_the_kernel_finds_them() -> None:
    """Also where ids have left the ring, and come again so long after that they are new."""
    rng = np.random.default_rng(1)
    traffic = Traffic()
    [call] = traffic.take(1)
    engine = Engine(ALERTS_ONLY)
    position = 0
    found = 0
    while position < 14_000:
        ids = (position + rng.integers(0, 4700, int(rng.integers(1, 900)))).tolist()
        calls = [replace(call, id=str(k), id_hash=k + 1) for k in ids]
        scope = engine.scopes.get(traffic.scope)
        ahead = engine.bank.history.repeats(scope.slot, [c.id_hash for c in calls]) if scope is not None else None
        before = engine.summarise()[0].counts.get("duplicate_id", 0) if scope is not None else 0
        engine.step(calls, range(position, position + len(calls)))
        position += len(calls)
        if ahead is not None:
            repeated = engine.summarise()[0].counts.get("duplicate_id", 0) - before
            assert repeated == sum(ahead)
            found += repeated
    assert 1000 < found < 13_000


def test_a_call_sent_again_with_other_content_changes_nothing() -> None:
    """Its first measurement of a signal and its new categories are those of a call that was already counted."""
    traffic = Traffic()
    [call, *rest] = traffic.calls(50)
    other = {"reasoning_tokens": 7, "finish_reason": "odd", "model_served": "m-9", "tool_calls": ["x"], "tools": ["x"]}
    from msgspec.structs import replace as changed

    again = MEASURER.measure(changed(call, **other))
    records = [MEASURER.measure(call), again, *map(MEASURER.measure, rest)]
    settings = EngineSettings()
    outcome = run(records, settings, batch=2)
    neighbours = run(Traffic(route="b").take(80), settings, engine=outcome.engine).engine
    [summary, _] = neighbours.summarise()
    assert summary.counts == {"duplicate_id": 1} and summary.sequence == 50
    assert {s.status for s in summary.signals} <= {"learning", "watching"}
    assert "reasoning_tokens" not in {s.name for s in summary.signals}
    neighbours.drop(traffic.scope)
    neighbours.validate_state()
    assert run(Traffic(route="b").take(80), settings, engine=neighbours).alerts == []


def test_failed_calls_enter_no_statistics_of_latency_cost_or_output() -> None:
    """Half of the calls fail after a minute with nothing answered; only the errors are told."""
    traffic = Traffic()
    records = traffic.take(600)
    for k in range(100):
        failed = {"error_type": "timeout", "latency_ms": 60_000.0, "cost_usd": 1.0, "output_tokens": 0}
        records += traffic.take(1, **failed, finish_reason="length", ttft_ms=1.0) if k % 2 else traffic.take(1)
    outcome = run(records, EngineSettings())
    assert {s.name for a in outcome.alerts for s in a.signals} == {"error", "error_type"}
    by_name = {s.name: s for s in outcome.engine.summarise()[0].signals}
    assert by_name["latency_ms"].p99 is not None and by_name["latency_ms"].p99 < 20_000
    assert "ttft_ms" not in by_name and by_name["coverage.latency"].share == 1.0


def test_calls_answered_from_a_cache_enter_no_statistics_of_latency_or_cost() -> None:
    traffic = Traffic()
    records = traffic.take(600)
    for k in range(300):
        records += traffic.take(1, cached=True, latency_ms=2.0, cost_usd=0.0) if k % 2 else traffic.take(1)
    assert opened(run(records)) == []


def test_several_changes_of_one_signal_in_a_row_stay_apart() -> None:
    """Each is accepted, so each is told against the level before it."""
    traffic = Traffic()
    records: list[Record] = traffic.take(600)
    for price in (2.0, 4.0, 8.0):
        records += [*traffic.take(60, price=price), Accept(**about(traffic)), *traffic.take(300, price=price)]
    incidents = run(records, only("cost_usd")).incidents()
    assert len(incidents) == 3
    for alerts in incidents:
        assert 0.6 < alerts[-1].signals[0].effect < 1.5


def test_alerts_only_settings_give_the_same_alerts_as_the_defaults_with_summaries() -> None:
    records = slow(Traffic())
    settings = replace(ALERTS_ONLY, watch=WatchSettings(summary_minutes=1.0))
    quiet, talkative = run(records), run(records, settings)
    assert len(talkative.summaries) > 20 and not quiet.summaries
    assert [(sequence(a), a.status, a.level) for a in quiet.alerts] == [
        (sequence(a), a.status, a.level) for a in talkative.alerts
    ]
