"""Replay equals live: alerts depend on the ordered records of their scope, the configuration and the version only."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from leeboard.pipelines.watch.engine import ENGINE_VERSION, Engine, Record
from leeboard.pipelines.watch.settings import (
    BudgetSettings,
    ChannelSettings,
    EngineSettings,
    ScopeSettings,
    SignalSettings,
    WatchSettings,
)
from leeboard.pipelines.watch.snapshot import codec
from leeboard.schemas import Alert, Summary, encode

from .eventful import ROUTES, SETTINGS, Logged, eventful, merged
from .streams import ALERTS_ONLY, DAY_MS, NUMERICS, START_MS, Outcome, Traffic, run, used

ROOT = Path(__file__).parents[3]
SCOPES = [f"/shop/default/{route}" for route in ROUTES]

Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def logs() -> list[list[Logged]]:
    return eventful()


@pytest.fixture(scope="module")
def records(logs: list[list[Logged]]) -> list[Record]:
    return merged(logs)


@pytest.fixture(scope="module")
def whole(records: list[Record]) -> Outcome:
    """Everything in one batch."""
    return run(records, SETTINGS, batch=len(records))


def lines(said: Sequence[Alert | Summary]) -> list[bytes]:
    return [encode(record) for record in said]


def by_scope(alerts: Sequence[Alert]) -> list[bytes]:
    """The order in which a backtest merges alerts."""
    return lines(sorted(alerts, key=lambda a: (a.time, a.scope, a.evidence.positions.this.sequence)))


def handed_over(records: list[Record], size: int, parts_of: Callable[[Engine, str, dict[str, int]], Parts]) -> Outcome:
    """Every batch by another engine, which knows of the one before only what was written down."""
    outcome = Outcome(Engine(SETTINGS, NUMERICS))
    stored: dict[str, Parts] = {}
    calls: dict[str, int] = {}
    for at in range(0, len(records), size):
        for output in outcome.engine.step(records[at : at + size], range(at, min(at + size, len(records)))):
            outcome.add(output.record)
        for key in outcome.engine.scopes:
            stored[key] = {**stored.get(key, {}), **parts_of(outcome.engine, key, calls)}
            slot = outcome.engine.scopes[key].slot
            calls[key] = int(outcome.engine.bank.scopes.array[slot]["calls"])
        outcome.engine = Engine(SETTINGS, NUMERICS)
        for key in reversed(stored):
            restored = outcome.engine.restore(stored[key])
            assert restored.scope.key == key and restored.same
        outcome.engine.validate_state()
    return outcome


def test_the_records_hold_everything_that_a_replay_has_to_repeat(whole: Outcome) -> None:
    seen = {signal.detector.partition(":")[0] for alert in whole.alerts for signal in alert.signals}
    assert seen == {"river", "numeric", "share"}
    assert {(a.status, a.resolution) for a in whole.alerts} >= {
        ("trigger", None),
        ("update", None),
        ("resolve", "recovered"),
        ("resolve", "accepted"),
        ("resolve", "superseded"),
    }
    assert any(a.announced for a in whole.alerts) and any(a.muted for a in whole.alerts)
    assert any(a.confirmed for a in whole.alerts)
    assert {s.name for a in whole.alerts for s in a.signals} >= {"score.judge.grounded", "error", "latency_ms"}
    scopes = whole.engine.scopes
    assert [[*scopes[key].labels.wild] for key in SCOPES] == [["request"], [], ["request"]], "one began afresh"
    assert any(name == "other" for name in scopes[SCOPES[0]].names.values())
    assert scopes[SCOPES[1]].first_call == "shop-two-000700", "the idle scope began afresh"
    copy = Engine(SETTINGS, NUMERICS)  # to summarise begins another interval
    copy.restore(whole.engine.snapshot(SCOPES[0]))
    assert copy.summarise()[0].counts == {"late": 5, "duplicate_id": 40}
    assert len(whole.summaries) > 100


def test_batching_changes_no_byte(records: list[Record], whole: Outcome) -> None:
    in_sevens = run(records, SETTINGS, batch=7)
    assert lines(in_sevens.alerts) == lines(whole.alerts)
    assert lines(in_sevens.summaries) == lines(whole.summaries)


def test_a_restart_after_every_batch_changes_no_byte(records: list[Record], whole: Outcome) -> None:
    restarted = handed_over(records, 61, lambda engine, key, _: engine.snapshot(key))
    assert lines(restarted.alerts) == lines(whole.alerts)
    assert lines(restarted.summaries) == lines(whole.summaries)
    assert {key: restarted.engine.snapshot(key) for key in SCOPES} == {
        key: whole.engine.snapshot(key) for key in SCOPES
    }, "nor a byte of the state"


def test_a_state_written_in_increments_is_the_whole_state(records: list[Record], whole: Outcome) -> None:
    """Scopes that began afresh are written in full: nothing of their earlier life is overwritten by an increment."""

    def increment(engine: Engine, key: str, calls: dict[str, int]) -> Parts:
        slot = engine.scopes[key].slot
        begun_afresh = int(engine.bank.scopes.array[slot]["calls"]) < calls.get(key, 0)
        return engine.snapshot(key, 0 if begun_afresh else calls.get(key, 0))

    restarted = handed_over(records, 149, increment)
    assert lines(restarted.alerts) == lines(whole.alerts)
    assert lines(restarted.summaries) == lines(whole.summaries)


def test_an_increment_holds_only_the_chunks_that_were_written_since() -> None:
    traffic = Traffic()
    engine = run(traffic.take(700)).engine
    (key,) = engine.scopes
    assert {"ring.0", "ring.1", "ring.2", "ids.0", "ids.1"} < set(engine.snapshot(key))
    assert set(engine.snapshot(key, 600)) == {"scope", "detectors", "ring.2", "ids.1"}
    assert set(engine.snapshot(key, 700)) == {"scope", "detectors"}


def test_a_snapshot_of_a_restored_scope_is_the_same_snapshot(whole: Outcome) -> None:
    for key in SCOPES:
        parts = whole.engine.snapshot(key)
        other = Engine(SETTINGS, NUMERICS)
        other.restore(parts)
        assert other.snapshot(key) == parts


def test_another_interleaving_of_the_scopes_gives_the_same_alerts(logs: list[list[Logged]], whole: Outcome) -> None:
    one_after_the_other = [record for log in reversed(logs) for _, record in log]
    assert by_scope(run(one_after_the_other, SETTINGS, batch=1000).alerts) == by_scope(whole.alerts)


@pytest.mark.parametrize("batch", [1, 13])
def test_a_burst_of_scores_hides_no_recent_call(batch: int) -> None:
    """Examples name the calls before a decision, however many scores stand between them in the batch."""
    from .eventful import logged, scored

    traffic = Traffic(seed=2)
    calls = traffic.take(300)
    log = [*logged(calls[:200]), *scored(traffic, calls[:200], 4.0, "calm"), *logged(calls[200:])]
    for _ in range(3):
        log += scored(traffic, calls[:200], 4.0, "calm")
    log += scored(traffic, calls[:60], 0.0, "calm")
    records = [record for _, record in log]
    small, large = run(records, batch=batch), run(records, batch=len(records))
    assert large.alerts
    assert lines(small.alerts) == lines(large.alerts)
    assert "shop-answer-000299" in {example.call_id for example in large.alerts[0].examples}


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_late_calls_before_a_scope_begins_afresh_count_for_its_old_life(batch: int) -> None:
    traffic = Traffic()
    (first, late, next_life) = traffic.take(3)
    late = msgspec.structs.replace(late, time=first.time - 8 * 86_400_000)
    next_life = msgspec.structs.replace(next_life, time=first.time + 40 * 86_400_000)
    engine = run([first, late, next_life], batch=batch).engine
    assert [summary.counts for summary in engine.summarise()] == [{}]


CONFIGURATIONS = [
    EngineSettings(budget=BudgetSettings(pages_per_week=2.0)),
    EngineSettings(budget=BudgetSettings(notices_per_week=1.0)),
    EngineSettings(channels=ChannelSettings(latency=0.3)),
    EngineSettings(signals={"latency_ms": SignalSettings(floor=0.3)}),
    EngineSettings(runbook_url="https://runbooks.example"),
]


def test_another_configuration_gives_other_fingerprints_and_dedup_keys() -> None:
    traffic = Traffic()
    records = traffic.take(400) + traffic.take(80, latency=2.5)
    found: dict[str, str] = {}
    for settings in [EngineSettings(), *CONFIGURATIONS]:
        alert = run(records, settings).alerts[0]
        assert alert.evidence.config_fingerprint == settings.fingerprint()
        found[settings.fingerprint()] = alert.dedup_key
    assert len(found) == len({*found.values()}) == 1 + len(CONFIGURATIONS)


def test_equal_configurations_have_one_fingerprint() -> None:
    settings = EngineSettings(signals={"error": SignalSettings(), "empty": SignalSettings(weight=2.0)})
    same = EngineSettings(signals={"empty": SignalSettings(weight=2.0), "error": SignalSettings()})
    assert settings.fingerprint() == same.fingerprint() != EngineSettings().fingerprint()


def test_every_alert_says_how_to_make_it_again(whole: Outcome) -> None:
    for alert in whole.alerts:
        assert alert.evidence.numerics == NUMERICS
        assert alert.evidence.engine_version == ENGINE_VERSION
        assert alert.evidence.config_fingerprint == SETTINGS.fingerprint()
    assert len({alert.id for alert in whole.alerts}) == len(whole.alerts)


def repacked(parts: Parts, name: str, kind: type[msgspec.Struct], **changes: object) -> Parts:
    part = msgspec.msgpack.decode(zlib.decompress(parts[name]), type=kind)
    changed = msgspec.msgpack.encode(msgspec.structs.replace(part, **changes))
    return {**parts, name: zlib.compress(changed)}


def damaged(parts: Parts) -> dict[str, Parts]:
    """Parts that are no state of this engine, by what is wrong with them."""
    broken = {f"without {name}": {k: v for k, v in parts.items() if k != name} for name in parts}
    broken |= {f"{name} cut": {**parts, name: parts[name][: len(parts[name]) // 2]} for name in parts}
    broken |= {f"{name} empty": {**parts, name: b""} for name in parts}
    broken |= {
        f"{name} is text": {**parts, name: zlib.compress(b'"text"')} for name in ("scope", "detectors", "signals")
    }
    changes: dict[str, dict[str, object]] = {
        "version 1": {"version": 1},
        "version 9": {"version": 9},
        "no record": {"record": {}},
        "no number": {"record": {name: [] for name in codec.FIELDS}},
        "no events": {"binary": [], "categorical": []},
        "one event": {"categorical": [1]},
        "river": {"river": {"latency_ms": b"ADWIN()\nleeboard river 1 00\n"}},
    }
    broken |= {what: repacked(parts, "scope", codec.ScopePart, **change) for what, change in changes.items()}
    detectors = msgspec.msgpack.decode(zlib.decompress(parts["detectors"]), type=list[codec.DetectorPart])
    at = next(k for k, one in enumerate(detectors) if one.watcher is not None)
    for field in ("row", "watcher", "frozen"):
        kept = getattr(detectors[at], field)
        for what, value in (("short", kept[:-8]), ("gone", None)):
            if field == "row" and value is None:
                continue
            changed = [*detectors[:at], msgspec.structs.replace(detectors[at], **{field: value}), *detectors[at + 1 :]]
            broken[f"{field} {what}"] = {**parts, "detectors": zlib.compress(msgspec.msgpack.encode(changed))}
    return broken


def test_what_is_no_state_is_refused_and_leaves_the_engine_as_it_was() -> None:
    traffic, neighbour = Traffic(), Traffic(route="neighbour")
    parts = run(traffic.take(600) + traffic.take(60, latency=1.8)).engine.snapshot(traffic.scope)
    before, after = neighbour.take(600) + neighbour.take(60, latency=1.8), neighbour.take(300)
    engine = run(before).engine
    before_all = used(engine)
    for what, broken in damaged(parts).items():
        with pytest.raises(codec.StateError):
            engine.restore(broken)
        engine.validate_state()
        assert used(engine) == before_all, what
    expected = run(before + after).alerts
    said = run(before).alerts + run(after, engine=engine).alerts
    assert lines(said) == lines(expected)
    assert engine.restore(parts).scope.key == traffic.scope
    engine.validate_state()


def test_a_state_made_for_something_else_is_refused() -> None:
    parts = run(Traffic().take(50)).engine.snapshot("/shop/default/answer")
    for settings in (
        EngineSettings(scope=ScopeSettings(tenant=True)),
        EngineSettings(watch=WatchSettings(ring_calls=500)),
    ):
        with pytest.raises(codec.StateError, match="another configuration"):
            Engine(settings).restore(parts)


def test_other_floors_and_budgets_keep_the_baselines() -> None:
    parts = run(Traffic().take(50)).engine.snapshot("/shop/default/answer")
    for settings in (
        EngineSettings(budget=BudgetSettings(pages_per_week=10)),
        EngineSettings(signals={"latency_ms": SignalSettings(floor=0.5)}),
        EngineSettings(signals={"latency_ms": SignalSettings(weight=3.0)}, channels=ChannelSettings(cost=0.3)),
        EngineSettings(runbook_url="https://runbooks.example/{app}"),
    ):
        engine = Engine(settings)
        restored = engine.restore(parts)
        engine.validate_state()
        assert (restored.dropped, restored.new) == (0, 0)
        assert run(Traffic(time_ms=START_MS + DAY_MS, number=50).take(100), engine=engine).engine.scopes


def test_a_log_read_again_from_any_earlier_place_changes_nothing(records: list[Record], whole: Outcome) -> None:
    """Parts are as old as their last write, each scope's its own; what they hold already is not applied twice."""
    half = len(records) // 2
    first = run(records[:half], settings=SETTINGS, batch=100)
    second = Outcome(Engine(SETTINGS, NUMERICS))
    for at, key in enumerate(sorted(first.engine.scopes)):
        if at % 2:  # the state of every second scope is lost, and made again from the log
            second.engine.restore(first.engine.snapshot(key))
    for at in range(0, len(records), 100):
        for output in second.engine.step(records[at : at + 100], range(at, min(at + 100, len(records)))):
            if output.position >= half:
                second.add(output.record)
    assert lines(first.alerts + second.alerts) == lines(whole.alerts)


def test_a_restore_replaces_the_scope_of_the_same_name() -> None:
    traffic = Traffic()
    engine = run(traffic.take(50)).engine
    parts = engine.snapshot(traffic.scope)
    rows = used(engine)
    run(traffic.take(100), engine=engine)
    engine.restore(parts)
    assert engine.snapshot(traffic.scope)["scope"] == parts["scope"]
    assert used(engine) == rows


UNJITTED = """
import sys
import numpy as np
from tests.pipelines.watch.streams import run
from tests.pipelines.watch.test_determinism import two_scopes
from leeboard.schemas import encode
with np.errstate(over="ignore"):  # integers wrap around, as in the compiled kernels
    for alert in run(two_scopes()).alerts:
        print(encode(alert).decode())
"""


def two_scopes() -> list[Record]:
    one, two = Traffic(route="one"), Traffic(seed=3, route="two")
    first = one.take(250) + one.take(100, latency=1.6, errors=0.2)
    second = two.take(250) + two.take(100, answer=1.7, model_served="m-2")
    return [record for pair in zip(first, second, strict=True) for record in pair]


def test_kernels_as_plain_python_give_the_same_bytes() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", UNJITTED], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    compiled = run(two_scopes(), ALERTS_ONLY)
    assert done.stdout.splitlines() == [line.decode() for line in lines(compiled.alerts)]
    assert {alert.scope for alert in compiled.alerts} == {"/shop/default/one", "/shop/default/two"}
