"""Bounded state, whatever comes; and what is no measurement spoils nothing."""

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
from leeboard.pipelines import simulate as sim
from leeboard.pipelines.measure.fingerprints import id_hash
from leeboard.pipelines.signals import NUMERIC
from leeboard.pipelines.watch.engine import Engine, EngineRecord
from leeboard.pipelines.watch.incidents.alerts import MAX_EXAMPLES, MAX_SIGNALS
from leeboard.pipelines.watch.settings import EngineSettings, WatchSettings
from leeboard.pipelines.watch.state.history import RECENT_IDS
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.labels import MAX_COMBINATIONS, MAX_COUNTED, WILD_VALUES
from leeboard.pipelines.watch.state.layout import CATEGORIES
from leeboard.pipelines.watch.state.scope import MAX_CLOSED, MAX_DEPLOYS
from leeboard.schemas import NUMBERS, Accept, Deploy, Observation
from msgspec.structs import replace

from .eventful import SETTINGS, about, eventful, merged
from .streams import ALERTS_ONLY, DAY_MS, MEASURER, START_MS, Traffic, arenas, opened, run, used

ARENAS = ("scopes", "numeric", "frozen", "clocks", "givens", "shares", "frozen_shares", "ring", "ids")
ROUTES, MAX_SCOPES = 3000, 500


def on_routes(count: int, busy: int) -> list[EngineRecord]:
    """One call of every route, with one of the busy routes' after each."""
    [call] = Traffic().take(1)
    names = [(name, f"{name}/{k}") for k in range(count) for name in (f"route-{k}", f"busy-{k % busy}")]
    return [replace(call, id=own, id_hash=id_hash(own), scope=f"/shop/default/{name}") for name, own in names]


def test_more_routes_than_the_limit_push_the_quietest_out_and_are_counted() -> None:
    engine = Engine(EngineSettings(watch=WatchSettings(max_scopes=MAX_SCOPES)))
    records = on_routes(ROUTES, busy=20)
    for at in range(0, len(records), 600):
        engine.step(records[at : at + 600], range(at, min(at + 600, len(records))))
        engine.validate_state()
        assert len(engine.scopes) <= MAX_SCOPES
    assert engine.dropped == ROUTES + 20 - len(engine.scopes)
    assert len(engine.scopes) >= 0.9 * MAX_SCOPES
    assert {f"/shop/default/busy-{k}" for k in range(20)} < engine.scopes.keys()
    assert [s.sequence for s in engine.summarise() if "busy" in s.scope] == [ROUTES // 20] * 20
    assert used(engine)["scopes"] == len(engine.scopes)
    assert used(engine)["numeric"] <= MAX_SCOPES * len(NUMERIC)
    assert len(engine.bank.numeric.detectors.rows.array) <= 2 * MAX_SCOPES * len(NUMERIC)
    assert len(engine.bank.numeric.rows) <= 2 * MAX_SCOPES


@pytest.mark.parametrize("batch", [1, 3])
def test_a_scope_that_is_pushed_out_within_a_batch_takes_its_late_calls_with_it(batch: int) -> None:
    traffic, other = Traffic(), Traffic(route="other")
    [first, second] = traffic.take(2)
    late = replace(second, time=first.time - 8 * DAY_MS)
    outcome = run([first, late, *other.take(1)], EngineSettings(watch=WatchSettings(max_scopes=1)), batch=batch)
    assert list(outcome.engine.scopes) == [other.scope] and outcome.engine.dropped == 1


def test_a_dropped_scope_gives_every_row_back() -> None:
    """Also those of open changes, watchers, frozen and retained references, and categories that came and went."""
    engine = Engine(SETTINGS)
    most = dict.fromkeys(ARENAS, 0)
    records = merged(eventful())
    for at in range(0, len(records), 500):
        engine.step(records[at : at + 500], range(at, min(at + 500, len(records))))
        most = {name: max(rows, used(engine)[name]) for name, rows in most.items()}
    assert min(most.values()) > 0
    alone = Traffic(route="alone")
    run(alone.take(300), SETTINGS, engine=engine)
    for key in [key for key in engine.scopes if key != alone.scope]:
        engine.drop(key)
        engine.validate_state()
    lonely = run(Traffic(route="alone").take(300), SETTINGS).engine
    assert used(engine) == used(lonely)
    engine.drop(alone.scope)
    assert set(used(engine).values()) == {0}
    bank = engine.bank
    tables = (bank.numeric.rows, bank.numeric.regressions, bank.binary.rows, bank.categorical.rows)
    for table in (*tables, bank.history.ring_chunks, bank.history.id_chunks):
        assert (table == -1).all()


def test_a_scope_in_the_place_of_a_dropped_one_starts_from_nothing() -> None:
    engine = run(merged(eventful()), SETTINGS, batch=5000).engine
    for key in list(engine.scopes):
        engine.drop(key)
    traffic = Traffic(seed=5)
    records = traffic.take(600) + traffic.take(100, latency=2.0)
    again, new_shifts = run(records, SETTINGS, engine=engine), run(records, SETTINGS)
    assert new_shifts.alerts and again.alerts == new_shifts.alerts


def labelled(n: int, label: Any) -> list[EngineRecord]:
    return [
        replace(call, labels=label(k), id_hash=id_hash(call.id))
        for k, call in enumerate(Traffic(every_ms=1000).take(n))
    ]


@pytest.mark.parametrize(
    ("label", "wild"),
    [
        (lambda k: {"request": str(k)}, 1),
        (lambda k: {f"name-{k}-{i}": "v" for i in range(16)}, 0),
        (lambda k: {f"{i}": f"{k * (i + 7) % 49}" for i in range(16)}, 0),
        (lambda k: {f"name-{k // 60}-{i}": f"{k}" for i in range(16)}, MAX_COUNTED),
    ],
    ids=["a value a call", "names a call", "few values in many combinations", "new names that run wild"],
)
def test_labels_are_bounded(label: Any, wild: int) -> None:
    outcome = run(labelled(3000, label))
    (scope,) = outcome.engine.scopes.values()
    labels = scope.labels
    assert len(labels.wild) == wild
    assert len(labels.combinations) <= MAX_COMBINATIONS
    assert len(labels.window) <= MAX_COUNTED
    assert max(len(values) for values in labels.window.values()) <= WILD_VALUES + 1
    assert outcome.alerts == []


def test_categories_are_bounded_and_a_long_unseen_one_gives_its_place_to_a_new_one() -> None:
    settings = EngineSettings(watch=WatchSettings(ring_calls=250, summary_minutes=1e6))
    traffic = Traffic(every_ms=1000)
    records: list[EngineRecord] = []
    for k in range(40):
        records += traffic.take(2, finish_reason=f"reason-{k}", errors=0.0)
    engine = run(records, settings).engine
    (scope,) = engine.scopes.values()
    reasons = [name for place, name in scope.names.items() if place.column == 0]
    assert sorted(reasons) == sorted([*(f"reason-{k}" for k in range(CATEGORIES - 1)), "other"])
    run(traffic.take(8500, errors=0.0, finish_reason="reason-3"), engine=engine, batch=4096)
    run(traffic.take(1, errors=0.0, finish_reason="new_shifts"), engine=engine)
    reasons = [name for place, name in scope.names.items() if place.column == 0]
    assert len(reasons) == CATEGORIES and {"new_shifts", "reason-3", "other"} < set(reasons)
    assert len(engine.summarise()[0].first_seen["finish_reason"]) <= 41


def test_a_category_that_is_called_other_shares_the_place_of_all_others() -> None:
    traffic = Traffic()
    records: list[EngineRecord] = [*traffic.take(5, errors=0.0), *traffic.take(5, finish_reason="other", errors=0.0)]
    for k in range(30):
        records += traffic.take(1, finish_reason=f"reason-{k}", errors=0.0)
    engine = run(records).engine
    (scope,) = engine.scopes.values()
    others = [place for place, name in scope.names.items() if name == "other"]
    assert others == [DetectorKey("categorical", 0, CATEGORIES - 1)]
    assert engine.bank.categorical.record(scope.slot, others[0])["hits"] == 5 + 30 - (CATEGORIES - 2)


def test_what_a_scope_remembers_is_bounded() -> None:
    traffic = Traffic()
    records: list[EngineRecord] = traffic.take(500)
    for k in range(12):
        records += [Deploy(**about(traffic), what=str(k)), *traffic.take(80, price=2.0**k), Accept(**about(traffic))]
        records += traffic.take(300, price=2.0**k)
    outcome = run(records)
    (scope,) = outcome.engine.scopes.values()
    assert len(outcome.incidents()) > MAX_CLOSED
    recent = outcome.engine.bank.history.recent(scope.slot)
    assert (len(scope.closed), len(scope.deploys), len(recent)) == (MAX_CLOSED, MAX_DEPLOYS, RECENT_IDS)
    assert max(len(a.examples) for a in outcome.alerts) <= MAX_EXAMPLES
    assert max(len(a.signals) for a in outcome.alerts) <= MAX_SIGNALS


def test_the_state_of_a_young_scope_is_small() -> None:
    """Every application of the simulated fleet, at its 100th call: 40 KB, and up to 23 KB of texts beside it."""
    engine, calls, sizes, texts = Engine(EngineSettings()), {}, {}, {}
    for position, call in enumerate(islice(sim.simulate(sim.demo_scenario(0)), 8000)):
        observation = MEASURER.measure(call)
        key = observation.scope
        calls[key] = calls.get(key, 0) + 1
        if calls[key] <= 100:
            engine.step([observation], [position])
        if calls[key] == 100:
            parts = engine.snapshot(key)
            texts[key] = sum(len(part) for name, part in parts.items() if name.startswith(("texts", "warm_up")))
            sizes[key] = sum(map(len, parts.values())) - texts[key]
    assert len(sizes) == 8
    assert max(sizes.values()) < 40 * 1024, sizes
    assert max(texts.values()) < 23 * 1024, texts


def test_time_that_goes_backwards_moves_no_scope_back() -> None:
    traffic = Traffic()
    calls = traffic.take(400)
    shuffled = [replace(c, time=c.time - (k % 5) * DAY_MS) for k, c in enumerate(calls)]
    outcome = run([*shuffled, *traffic.take(100, latency=2.0)])
    times = [a.time for a in outcome.alerts]
    assert times == sorted(times) and times[0] > calls[-1].time
    assert outcome.engine.summarise()[0].counts == {}


def test_calls_older_than_seven_days_are_counted_and_not_learned() -> None:
    traffic = Traffic()
    calls = traffic.take(400)
    late = [
        replace(c, id=f"{c.id}-late", id_hash=c.id_hash + 1, time=c.time - 8 * DAY_MS)
        for c in traffic.take(300, latency=9.0)
    ]
    outcome = run([*calls, *late])
    [summary] = outcome.engine.summarise()
    assert (summary.sequence, summary.counts, opened(outcome)) == (400, {"late": 300}, [])


def test_a_clock_far_ahead_moves_its_scope_by_no_more_than_five_minutes() -> None:
    """Where it is known when the record was written; otherwise one wrong clock would make all later calls late."""
    traffic = Traffic()
    calls = [replace(call, received=call.time) for call in traffic.take(300)]
    calls[100] = replace(calls[100], time=calls[100].time + 300 * DAY_MS)
    outcome = run(calls)
    assert outcome.engine.summarise()[0].sequence == 300
    assert outcome.engine.scopes[traffic.scope].time == calls[-1].time


def numbers(observation: Observation, **values: float) -> Observation:
    array = np.frombuffer(observation.numbers, "<f4").copy()
    for name, value in values.items():
        array[NUMBERS.index(name)] = value
    return replace(observation, numbers=array.tobytes())


def is_finite(state: np.ndarray[Any, Any]) -> bool:
    """Are all numbers of a structured array numbers? Levels may be -inf, milestones inf."""
    if state.dtype.names is None:
        return state.dtype.kind != "f" or not np.isnan(state).any()
    return all(is_finite(state[name]) for name in state.dtype.names)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, -5.0, 3.4e38, 1e-45])
@pytest.mark.parametrize("at", [3, 300])
def test_a_number_that_is_no_amount_is_not_measured_and_spoils_nothing(value: float, at: int) -> None:
    traffic = Traffic()
    calls = traffic.take(500)
    calls[at] = numbers(calls[at], **dict.fromkeys(NUMBERS, value))
    with np.errstate(over="ignore"):
        outcome = run([*calls, *traffic.take(100, latency=2.0)])
    for name in ("numeric", "frozen", "clocks", "givens", "shares"):
        assert is_finite(arenas(outcome.engine)[name].array), name
    assert 500 < outcome.alerts[0].evidence.positions.this.sequence < 530
    shown = {s.name: s.median for s in outcome.engine.summarise()[0].signals}
    assert shown["latency_ms"] is not None and 1000 < shown["latency_ms"] < 8000


def test_a_flag_that_means_nothing_is_not_measured() -> None:
    calls = [replace(call, flags=0b111111) for call in Traffic().take(50)]
    names = {s.name for s in run(calls, ALERTS_ONLY).engine.summarise()[0].signals}
    assert not names & {"error", "truncated", "empty"}


def test_all_sixteen_flags_that_the_schema_allows_are_kept_with_a_call() -> None:
    flags = [0b10 << 2 * k for k in range(16)] + [2**32 - 1]
    calls = [replace(call, flags=value) for call, value in zip(Traffic().take(17), flags, strict=True)]
    engine = run(calls).engine
    (scope,) = engine.scopes.values()
    assert engine.bank.history.read_all(scope.slot)["flags"].tolist() == flags


def test_the_first_call_may_come_from_any_time() -> None:
    for time in (0, START_MS, 253_402_300_799_999):
        [call] = Traffic().take(1)
        outcome = run([replace(call, time=time), replace(call, id="b", id_hash=5, time=time)])
        assert [(s.time, s.sequence) for s in outcome.engine.summarise()] == [(time, 2)]
