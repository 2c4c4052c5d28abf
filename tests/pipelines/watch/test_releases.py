"""State outlives releases: a build with other signals or other detectors keeps every baseline that it can use."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leeboard.detectors.numeric.changes import NumericChanges
from leeboard.detectors.share.changes import ShareChanges
from leeboard.detectors.vector.changes import DirectionChanges, FeatureChanges
from leeboard.pipelines.signals import NUMERIC
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings, WatchSettings
from leeboard.pipelines.watch.snapshot.catalogue import fingerprint
from leeboard.pipelines.watch.state.layout import NOT_MEASURED
from leeboard.pipelines.watch.texts.bank import TextBank
from leeboard.schemas import Accept, Observation, encode, encode_observation

from tests.detectors.texts import made_up

from .builds import Answer, Task, answered
from .eventful import about
from .streams import ALERTS_ONLY, NUMERICS, Outcome, Traffic, opened, run, used
from .text_calls import text_calls

ROOT = Path(__file__).parents[3]
PROBE = {"app_version": "1.4"}


def stored(*, slow: int = 0) -> tuple[Traffic, dict[str, bytes]]:
    """A scope of 600 calls, after which it may have become slow; and its traffic, to go on with."""
    traffic = Traffic()
    engine = run(traffic.take(600, **PROBE) + traffic.take(slow, latency=1.8, **PROBE)).engine
    assert (engine.scopes[traffic.scope].incident is not None) == (slow > 0)
    return traffic, engine.snapshot(traffic.scope)


def answer_of(build: str, task: Task, folder: Path, *, compiled: bool = True) -> Answer:
    """What another build makes of a task, in a process of its own."""
    source, target = folder / f"{build}.in", folder / f"{build}.out"
    source.write_bytes(msgspec.msgpack.encode(task))
    environment = os.environ if compiled else {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "tests.pipelines.watch.builds", build]
    done = subprocess.run(
        [*command, str(source), str(target)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return msgspec.msgpack.decode(target.read_bytes(), type=Answer)


def task_of(parts: dict[str, bytes], calls: list[Observation]) -> Task:
    return Task(parts, [encode_observation(call) for call in calls])


def of_others(answer: Answer, *channels_changed: str) -> dict[str, str]:
    """The detectors of all signals but those named by a part of their name."""
    return {
        name: state for name, state in answer.detectors.items() if not any(part in name for part in channels_changed)
    }


#: parts of the names of signals whose channel has another budget: more or fewer share it
SHARED = ("cost", "input_tokens", *("provider", "model_served", "params_hash", "system_hash", "app_version"))


def test_a_build_with_signals_more_and_fewer_keeps_all_other_baselines(tmp_path: Path) -> None:
    """A slow scope, then one that is as before, then errors: said by both builds in the same bytes."""
    traffic, parts = stored(slow=60)
    calls = traffic.take(250, **PROBE) + traffic.take(60, errors=0.5, **PROBE)
    task = task_of(parts, calls)
    this, other = answered(task), answer_of("swap", task, tmp_path)
    assert (this.dropped, this.new) == (0, 0) and this.counts == {}
    assert (other.dropped, other.new) == (2, 2)
    assert other.counts == {"state_signals_dropped": 2, "state_signals_new": 2}
    assert other.alerts == this.alerts and len(this.alerts) >= 3
    assert of_others(other, *SHARED) == of_others(this, *SHARED)
    assert len(of_others(this, *SHARED)) > 8
    gained, lost = set(other.summarised) - set(this.summarised), set(this.summarised) - set(other.summarised)
    assert gained == {"cost_again", "app_version"} and lost == {"input_tokens", "system_hash"}


def test_a_flag_more_keeps_what_the_flags_and_groups_after_it_have_learned(tmp_path: Path) -> None:
    traffic, parts = stored()
    calls = [msgspec.structs.replace(call, flags=call.flags | 1 << 12) for call in traffic.take(60, errors=0.5)]
    task = task_of(parts, calls)
    this, other = answered(task), answer_of("another_flag", task, tmp_path)
    assert (other.dropped, other.new) == (0, 1)
    assert other.alerts == this.alerts and this.alerts
    assert set(other.summarised) - set(this.summarised) == {"cut_short"}
    assert "coverage.cost" in this.summarised
    # the channel of the new flag is divided among one more
    shared = ("truncated", "empty", "refusal", "json_valid", "repetition")
    assert of_others(other, *shared) == of_others(this, *shared)


@pytest.mark.parametrize(("build", "counts"), [("more", (0, 2)), ("fewer", (2, 0))])
def test_more_and_fewer_columns_change_nothing_for_the_others(
    build: str, counts: tuple[int, int], tmp_path: Path
) -> None:
    """Some calls, through uncompiled kernels, which give the same bits: compiled ones know how many columns exist."""
    traffic, parts = stored(slow=60)
    task = task_of(parts, traffic.take(15, **PROBE))
    this, other = answered(task), answer_of(build, task, tmp_path, compiled=False)
    assert (other.dropped, other.new) == counts
    assert of_others(other, *SHARED) == of_others(this, *SHARED)
    assert len(of_others(this, *SHARED)) > 8


def test_an_incident_whose_signals_are_all_gone_ends_as_accepted_with_the_next_call(tmp_path: Path) -> None:
    traffic, parts = stored(slow=60)
    other = answer_of("no_latency", task_of(parts, traffic.take(40, latency=1.8)), tmp_path)
    assert (other.dropped, other.new) == (2, 2)
    [ended] = [msgspec.json.decode(alert) for alert in other.alerts]
    assert (ended["status"], ended["resolution"]) == ("resolve", "accepted")


def taken_over(parts: dict[str, bytes], settings: EngineSettings = ALERTS_ONLY) -> Engine:
    """By another engine; the invariants of its state hold at once."""
    engine = Engine(settings, NUMERICS)
    engine.restore(parts)
    engine.validate_state()
    return engine


def names(outcome: Outcome) -> set[str]:
    return {signal.name for alert in outcome.alerts for signal in alert.signals}


def test_another_version_of_one_kind_of_detectors_keeps_those_of_other_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, parts = stored(slow=60)
    calls = traffic.take(150, **PROBE) + traffic.take(100, latency=2.5, **PROBE)
    same = run(calls, engine=taken_over(parts))
    monkeypatch.setattr(ShareChanges, "version", 2)
    engine = taken_over(parts)
    [summary] = engine.summarise()
    assert {s.name for s in summary.signals} >= {"latency_ms", "cost_usd"}
    assert not {s.name for s in summary.signals} & {"error", "truncated", "model_served", "coverage.cost"}
    changed = run(calls, engine=engine)
    assert names(same) == {"latency_ms", "latency_given_tokens"}
    assert [encode(alert) for alert in changed.alerts] == [encode(alert) for alert in same.alerts]
    # what was dropped has learned again
    status = {s.name: (s.status, s.n) for s in engine.summarise()[0].signals}
    assert status["model_served"] == ("watching", 250) and status["error"][1] == 250
    monkeypatch.setattr(ShareChanges, "version", 1)
    monkeypatch.setattr(NumericChanges, "version", 2)
    engine = taken_over(parts)
    assert {s.name for s in engine.summarise()[0].signals} >= {"error", "truncated", "model_served", "coverage.cost"}
    ended = run(traffic.take(60, errors=0.5, **PROBE), engine=engine)
    assert (ended.alerts[0].status, ended.alerts[0].resolution) == ("resolve", "accepted")
    assert "error" in names(ended)


def test_a_category_of_a_signal_that_starts_anew_is_seen_again_with_its_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it belongs to a combination of labels that the scope knew before."""
    traffic, parts = stored()
    monkeypatch.setattr(ShareChanges, "version", 2)
    engine = taken_over(parts)
    scope = engine.scopes[traffic.scope]
    before = scope.labels.by_number()
    assert scope.names == {} and not any(scope.labels.categories)
    run(traffic.take(100, **PROBE), engine=engine)
    assert {"stop", "length"} <= set(scope.names.values())
    assert scope.labels.by_number() == before, "labels of calls in the ring are still those"
    switched = run(traffic.take(60, model_served="m-2", **PROBE), engine=engine)
    assert "model_served" in names(switched)


def test_a_detector_that_is_dropped_frees_everything_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    _, parts = stored(slow=60)
    monkeypatch.setattr(NumericChanges, "version", 2)
    engine = taken_over(parts)
    assert {used(engine)[name] for name in ("numeric", "frozen", "clocks", "givens")} == {0}


def test_signals_may_be_switched_off_and_on_again() -> None:
    """Off: the baseline goes, its shift leaves the incident; on: it learns again. The engine goes on both times."""
    traffic, parts = stored(slow=60)
    off = EngineSettings(
        signals={"latency_ms": SignalSettings(enabled=False), "model_served": SignalSettings(enabled=False)},
        watch=ALERTS_ONLY.watch,
    )
    engine = taken_over(parts, off)
    incident = engine.scopes[traffic.scope].incident
    assert incident is not None and [shift.name for shift in incident.shifts] == ["latency_given_tokens"]
    less = run(traffic.take(300), engine=engine)
    assert [(a.status, a.resolution) for a in less.alerts][-1] == ("resolve", "recovered"), opened(less)
    [summary] = engine.summarise()
    assert not {"latency_ms", "model_served"} & {s.name for s in summary.signals}
    assert summary.counts == {"state_signals_dropped": 2}
    engine = taken_over(engine.snapshot(traffic.scope))
    again = run(traffic.take(300) + traffic.take(60, latency=1.8, model_served="m-2"), engine=engine)
    assert names(again) >= {"latency_ms", "model_served"}
    assert engine.summarise()[0].counts == {"state_signals_dropped": 2, "state_signals_new": 2}


def test_a_river_detector_in_place_of_ours_begins_with_its_own_values_and_leaves_when_it_is_another() -> None:
    traffic, parts = stored()
    river = EngineSettings(signals={"latency_ms": SignalSettings(detector="river:ADWIN()")}, watch=ALERTS_ONLY.watch)
    engine = taken_over(parts, river)
    scope = engine.scopes[traffic.scope]
    assert scope.counts == {"state_signals_dropped": 1}
    run(traffic.take(50), engine=engine)
    assert list(engine.bank.river.dump(scope.slot)) == ["latency_ms"]
    kept = taken_over(engine.snapshot(traffic.scope), river)
    assert kept.bank.river.dump(kept.scopes[traffic.scope].slot) == engine.bank.river.dump(scope.slot)
    other = EngineSettings(signals={"latency_ms": SignalSettings(detector="river:KSWIN()")}, watch=ALERTS_ONLY.watch)
    fresh = taken_over(engine.snapshot(traffic.scope), other)
    assert fresh.bank.river.dump(fresh.scopes[traffic.scope].slot) == {}
    assert fresh.scopes[traffic.scope].counts["state_signals_dropped"] == 2


def test_scores_keep_their_baselines_by_name() -> None:
    traffic = Traffic()
    calls = [msgspec.structs.replace(call, scores={"good": 0.1 * (k % 7)}) for k, call in enumerate(traffic.take(300))]
    parts = run(calls).engine.snapshot(traffic.scope)
    off = EngineSettings(signals={"score.call.good": SignalSettings(enabled=False)}, watch=ALERTS_ONLY.watch)
    assert "score.call.good" not in {s.name for s in taken_over(parts, off).summarise()[0].signals}
    weighted = EngineSettings(signals={"error": SignalSettings(weight=2.0)}, watch=ALERTS_ONLY.watch)
    engine = taken_over(parts, weighted)
    assert {s.name: s.n for s in engine.summarise()[0].signals}["score.call.good"] == 300


def test_a_changed_weight_divides_the_budget_anew_and_keeps_every_baseline() -> None:
    traffic, parts = stored()
    weighted = EngineSettings(signals={"latency_ms": SignalSettings(weight=3.0)}, watch=ALERTS_ONLY.watch)
    engine, fresh = taken_over(parts, weighted), run(Traffic().take(600, **PROBE), weighted).engine
    slots = engine.scopes[traffic.scope].slot, fresh.scopes[traffic.scope].slot
    for name in ("measured", "channel_nats"):
        of_both = (e.bank.scopes.array[slot][name].tolist() for e, slot in zip((engine, fresh), slots, strict=True))
        assert next(of_both) == pytest.approx(next(of_both), rel=1e-12)


@pytest.fixture(scope="module")
def texts() -> tuple[list[Observation], list[Observation]]:
    """A scope of 900 texts, and 900 more."""
    calls = text_calls(*made_up(1800, 1))
    return calls[:900], calls[900:]


@pytest.mark.parametrize("bump", [DirectionChanges, FeatureChanges, TextBank])
def test_text_detectors_of_another_version_learn_again_beside_those_that_stay(
    bump: type, texts: tuple[list[Observation], list[Observation]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = texts
    parts = run(before).engine.snapshot(before[0].scope)
    monkeypatch.setattr(bump, "version", 2)
    engine = taken_over(parts)
    scope = engine.scopes[before[0].scope]
    features, directions = (
        {"output_features", "input_features"},
        {"output_style", "output_given_input", "input_content"},
    )
    gone = {DirectionChanges: directions, FeatureChanges: features, TextBank: features | directions}[bump]
    assert scope.counts["state_signals_dropped"] == len(gone)
    run(after, engine=engine, batch=300)
    status = {s.name: s.status for s in engine.summarise()[0].signals if s.name in features | directions}
    assert set(status.values()) == {"watching"} and len(status) == 5
    assert (scope.texts is not None) and scope.texts.outputs == (900 if bump is TextBank else 1800)


def test_every_kind_of_change_of_the_definition_of_a_signal_makes_it_another_one() -> None:
    family, own = Engine(ALERTS_ONLY).bank.numeric, NUMERIC[0]

    def printed(**fields: Any) -> bytes:
        return fingerprint(family, 0, replace(own, **fields))

    others: list[dict[str, Any]] = [
        {"scale": 2.0},
        {"measure": "difference"},
        {"given_tokens": True},
        {"field": "output_tokens"},
        {"river": "ADWIN()"},
    ]
    assert len({printed(), *(printed(**fields) for fields in others)}) == 1 + len(others)
    assert {printed(floor=0.7), printed(weight=2.0), printed(severe=1.0), printed(unit="t")} == {printed()}


def test_the_ring_keeps_what_it_knows_by_name_and_calls_not_measured_what_it_does_not_know() -> None:
    traffic, parts = stored()
    off = EngineSettings(
        signals={"latency_ms": SignalSettings(enabled=False)}, watch=WatchSettings(summary_minutes=1e6)
    )
    engine, this = taken_over(parts, off), taken_over(parts)
    rings = [e.bank.history.read_all(e.scopes[traffic.scope].slot) for e in (engine, this)]
    for column, signal in enumerate(NUMERIC):
        old, new = (ring["scores"][:, column] for ring in rings[::-1])
        assert (new == (NOT_MEASURED if signal.name == "latency_ms" else old)).all()
    for name in ("time", "flags", "labels", "texts"):
        assert (rings[0][name] == rings[1][name]).all()


def test_a_person_may_accept_an_incident_that_has_lost_its_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, parts = stored(slow=60)
    monkeypatch.setattr(NumericChanges, "version", 2)
    outcome = run([Accept(**about(traffic))], engine=taken_over(parts))
    assert [(a.status, a.resolution) for a in outcome.alerts] == [("resolve", "accepted")]
