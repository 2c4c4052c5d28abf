"""Texts through the engine: what opens, what pages, what is told of it, and what starts afresh without a word."""

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
from leeboard.pipelines.signals import TEXT
from leeboard.pipelines.watch.batch.texts import SWITCH_CALLS
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings, WatchSettings
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.schemas import FEATURES, FLAGS, NUMBERS, STYLE, Alert, Observation, TextMeasures, encode
from msgspec.structs import replace

from tests.detectors.texts import MOVED_FEATURE, MOVED_TOKENS, made_up
from tests.realdata.texts import join

from .streams import ALERTS_ONLY, NUMERICS, Outcome, run, used
from .text_calls import EMBEDDER, text_calls

#: calls before a change, and with it
BEFORE, CHANGED = 1000, 500
KEY = "/shop/default/answer"
OUTPUTS, INPUTS = ({s.name for s in TEXT if s.channel == channel} for channel in ("output", "input"))


def calls(n: int, seed: int, *, moved: float = 0.0, first: int = 0, **how: Any) -> list[Observation]:
    outputs, inputs = made_up(n, seed, moved=moved)
    return text_calls(outputs, inputs, first=first, **how)


@pytest.fixture(scope="module")
def changed() -> list[Observation]:
    """Outputs change after BEFORE calls and return CHANGED calls later."""
    plan = ((BEFORE, 1, 0.0), (CHANGED, 2, 2.0), (900, 3, 0.0))
    parts = [made_up(n, seed, moved=moved) for n, seed, moved in plan]
    return text_calls(join(*(outputs for outputs, _ in parts)), join(*(inputs for _, inputs in parts)))


@pytest.fixture(scope="module")
def outcome(changed: list[Observation]) -> Outcome:
    return run(changed)


def names(alerts: list[Alert]) -> set[str]:
    return {signal.name for alert in alerts for signal in alert.signals}


def only_outputs(records: list[Observation]) -> list[Observation]:
    return [replace(record, input=None) for record in records]


def test_a_change_of_outputs_is_one_incident_that_pages_and_recovers(outcome: Outcome) -> None:
    (incident,) = outcome.incidents()
    assert incident[0].status == "trigger"
    assert BEFORE < incident[0].evidence.positions.opening.sequence <= BEFORE + 60
    assert names(incident) == OUTPUTS
    assert "warning" in {alert.severity for alert in incident}
    assert (incident[-1].status, incident[-1].resolution) == ("resolve", "recovered")
    assert [page.status for page in outcome.pages()] == ["trigger", "resolve"]
    last = incident[-1]
    assert abs(last.change.estimate - incident[0].opened_at) < 3_600_000


@pytest.mark.parametrize("seed", range(3))
def test_what_returns_is_no_second_incident(seed: int) -> None:
    """However the three signals that moved find their way back."""
    parts = [
        made_up(n, 10 * seed + k, moved=moved) for k, (n, moved) in enumerate(((1000, 0.0), (500, 2.0), (900, 0.0)))
    ]
    outcome = run(text_calls(join(*(outputs for outputs, _ in parts)), join(*(inputs for _, inputs in parts))))
    assert len(outcome.incidents()) == 1


def test_an_alert_names_what_moved_and_calls_that_show_it(outcome: Outcome) -> None:
    told = [alert for alert in outcome.alerts if alert.severity == "warning" and names([alert]) == OUTPUTS][-1]
    (texts,) = told.texts
    assert texts.side == "output"
    assert texts.n_before + texts.n_after == told.evidence.positions.this.sequence
    features = [move for move in texts.moves if move.kind == "feature"]
    assert features[0].name == FEATURES[MOVED_FEATURE].name
    assert features[0].after > features[0].before
    assert features[0].sd is not None
    assert features[0].sd > 0.5
    entries = {move.name: (move.before, move.after) for move in texts.moves if move.kind == "style"}
    assert entries.keys() <= {STYLE[token] for token in MOVED_TOKENS}
    assert all(abs(after - before) > 0.1 for before, after in entries.values())
    assert len(entries) >= 3
    shown = [example for example in told.examples if "hardly any" in example.why]
    assert shown
    assert all(int(example.call_id.rpartition("-")[2]) >= BEFORE for example in shown)
    assert FEATURES[MOVED_FEATURE].name in told.verdict.sentence
    assert all(f'"{name}"' in told.verdict.sentence for name in islice(entries, 3))
    leading = next(signal for signal in told.signals if signal.name == "output_features")
    assert leading.category == FEATURES[MOVED_FEATURE].name


def test_outputs_whose_inputs_are_not_captured_page_by_their_style(changed: list[Observation]) -> None:
    outcome = run(only_outputs(changed[: BEFORE + CHANGED]))
    assert names(outcome.alerts) == {"output_features", "output_style"}
    assert "warning" in {alert.severity for alert in outcome.alerts}
    assert len(outcome.pages()) == 1


def test_features_are_notices_however_sure(changed: list[Observation]) -> None:
    settings = EngineSettings(signals={"output_style": SignalSettings(enabled=False)}, watch=ALERTS_ONLY.watch)
    outcome = run(only_outputs(changed[: BEFORE + CHANGED]), settings)
    assert names(outcome.alerts) == {"output_features"}
    assert {alert.severity for alert in outcome.alerts} == {"info"}
    surest = max(signal.log10_level for alert in outcome.alerts for signal in alert.signals)
    assert surest > 7
    assert max(alert.level for alert in outcome.alerts) < math.exp(outcome.engine.page_nats)
    assert outcome.pages() == []


def test_new_inputs_are_counted_and_shown_and_page_nobody() -> None:
    outputs, inputs = made_up(BEFORE + CHANGED, 4)
    new = np.flatnonzero(np.random.default_rng(1).random(CHANGED) < 0.4) + BEFORE
    inputs.vectors[new] = np.random.default_rng(2).normal(60, 20, (len(new), inputs.vectors.shape[1])).clip(-127, 127)
    outcome = run(text_calls(outputs, inputs))
    assert names(outcome.alerts) >= {"input_content"}
    assert outcome.pages() == []
    told = outcome.alerts[-1]
    (texts,) = [texts for texts in told.texts if texts.side == "input"]
    assert texts.new_share is not None
    assert 0.25 < texts.new_share < 0.5
    shown = [example for example in told.examples if "unlike" in example.why]
    assert shown
    assert {int(example.call_id.rpartition("-")[2]) for example in shown} <= set(new.tolist())


def test_a_text_signal_can_be_switched_off_and_its_floor_be_set(changed: list[Observation]) -> None:
    settings = EngineSettings(
        signals={
            "output_style": SignalSettings(enabled=False),
            "output_given_input": SignalSettings(floor=9.0),
        },
        watch=WatchSettings(summary_minutes=1e6),
    )
    outcome = run(changed[: BEFORE + CHANGED], settings)
    assert names(outcome.alerts) == {"output_features", "output_given_input"}
    assert outcome.pages() == []


def test_another_embedder_is_a_notice_and_a_new_baseline() -> None:
    """Its vectors have nothing to do with those of before; a change of outputs afterwards is found as ever."""
    mixed = np.random.default_rng(1).permutation(128)
    outputs, inputs = made_up(2000, 5)
    other = inputs._replace(vectors=np.ascontiguousarray(inputs.vectors[:, mixed]))
    moved_outputs, moved_inputs = made_up(400, 6, moved=2.0)
    moved_inputs = moved_inputs._replace(vectors=np.ascontiguousarray(moved_inputs.vectors[:, mixed]))
    records = [
        *text_calls(outputs.take(range(1000)), inputs.take(range(1000))),
        *text_calls(outputs.take(range(1000, 2000)), other.take(range(1000, 2000)), first=1000, embedder="table-2"),
        *text_calls(moved_outputs, moved_inputs, first=2000, embedder="table-2"),
    ]
    outcome = run(records)
    first, *later = outcome.incidents()
    assert names(first) == {"embedder"}
    assert {alert.severity for alert in first} == {"info"}
    assert {signal.category for signal in first[0].signals} <= {"table-1", "table-2"}
    assert first[0].evidence.positions.opening.sequence < 1100
    assert [names(incident) for incident in later] == [OUTPUTS]
    assert later[0][0].evidence.positions.opening.sequence > 2000


def test_another_counting_is_a_notice_and_a_new_baseline() -> None:
    outputs, inputs = made_up(2000, 5)
    other = outputs._replace(features=5 + 100 * outputs.features, style=outputs.style[:, ::-1].copy())
    records = [
        *text_calls(outputs.take(range(1000)), inputs.take(range(1000))),
        *text_calls(other.take(range(1000, 2000)), inputs.take(range(1000, 2000)), first=1000, version="texts-2"),
    ]
    outcome = run(records)
    assert [names(incident) for incident in outcome.incidents()] == [{"text_version"}]
    slot = outcome.engine.scopes[KEY].slot
    assert outcome.engine.bank.text.record(slot, DetectorKey("text", 1))["events"] == 1000 - SWITCH_CALLS + 1


def test_what_another_counting_finds_more_often_is_no_change() -> None:
    """Refusals, repetition and languages come from the same counting: they start afresh with it, and go on to watch."""
    outputs, inputs = made_up(2400, 5)
    refusal, repetition = 2 * FLAGS.index("refusal"), NUMBERS.index("repetition")
    rng = np.random.default_rng(2)

    def counted(call: Observation, share: float, level: float, language: str) -> Observation:
        numbers = np.frombuffer(call.numbers, "<f4").copy()
        numbers[repetition] = level * rng.random()
        said = (2 if rng.random() < share else 1) << refusal
        categories = {**call.categories, "output_language": language}
        return replace(call, numbers=numbers.tobytes(), flags=call.flags | said, categories=categories)

    old = [counted(c, 0.02, 0.1, "en") for c in text_calls(outputs.take(range(1000)), inputs.take(range(1000)))]
    rest = text_calls(outputs.take(range(1000, 2400)), inputs.take(range(1000, 2400)), first=1000, version="texts-2")
    # one language was only ever named while the baselines of before still held
    new = [counted(c, 0.3 if k < 1000 else 0.9, 0.8, "latin" if k else "cyrillic") for k, c in enumerate(rest)]
    first, *later = run(old + new).incidents()
    assert names(first) == {"text_version"}
    assert [names(incident) for incident in later] == [{"refusal"}]


def test_while_workers_are_replaced_the_baselines_stay() -> None:
    """Every other call comes from a worker with another embedder: those tell nothing of vectors and restart nothing."""
    outputs, inputs = made_up(1400, 5)
    mixed = np.random.default_rng(1).permutation(128)
    other = inputs._replace(vectors=np.ascontiguousarray(inputs.vectors[:, mixed]))
    old, new = text_calls(outputs, inputs), text_calls(outputs, other, embedder="table-2")
    records = [old[k] if k < 1000 or k % 2 else new[k] for k in range(1400)]
    outcome = run(records)
    assert names(outcome.alerts) <= {"embedder"}
    slot = outcome.engine.scopes[KEY].slot
    events = [
        int(outcome.engine.bank.text.record(slot, DetectorKey("text", column))["events"]) for column in range(len(TEXT))
    ]
    assert events == [1300, 1400, 1200, 1300, 1200]


def test_an_open_change_ends_without_a_word_when_its_vectors_mean_something_else(changed: list[Observation]) -> None:
    outputs, inputs = made_up(500, 7, moved=2.0)
    outcome = run(changed[: BEFORE + 300])
    run(text_calls(outputs, inputs, first=BEFORE + 300, embedder="table-2"), engine=outcome.engine)
    incident = outcome.engine.scopes[KEY].incident
    assert incident is not None
    assert {shift.name for shift in incident.shifts} == {"output_features", "output_style", "embedder"}


def test_measures_of_a_wrong_size_are_taken_for_missing() -> None:
    records = calls(700, 8)
    bad = TextMeasures(features=b"\0" * 8, style=b"\1" * 3, vector=b"\1\2", scale=math.nan, embedder=EMBEDDER)
    spoiled = [replace(r, input=bad, output=bad) if k % 3 == 0 else r for k, r in enumerate(records)]
    outcome = run(spoiled)
    slot = outcome.engine.scopes[KEY].slot
    assert outcome.engine.bank.text.record(slot, DetectorKey("text", 1))["events"] == 700 - 234
    assert outcome.alerts == []


def test_scopes_know_nothing_of_each_others_texts(changed: list[Observation]) -> None:
    """A scope alone, and among others whose texts come in between."""
    others = [calls(1500, 20 + k, route=f"other{k}") for k in range(3)]
    between = [record for four in zip(changed[:1500], *others, strict=True) for record in four]
    alone = run(changed[:1500])
    among = run(between, batch=400)
    assert [encode(a) for a in among.alerts if a.scope == KEY] != []
    texts = [(a.texts, a.signals) for a in among.alerts if a.scope == KEY]
    assert texts == [(a.texts, a.signals) for a in alone.alerts]


def eventful(changed: list[Observation]) -> list[Observation]:
    """Everything that the state of a scope has to hold: a change, its return, and both kinds of new baselines."""
    outputs, inputs = made_up(900, 31)
    end = len(changed)
    return [
        *changed,
        *text_calls(outputs.take(range(450)), inputs.take(range(450)), first=end, embedder="table-2"),
        *text_calls(
            outputs.take(range(450, 900)),
            inputs.take(range(450, 900)),
            first=end + 450,
            embedder="table-2",
            version="t-2",
        ),
    ]


@pytest.mark.parametrize("size", [53, 400])
def test_a_state_written_in_increments_gives_the_same_bytes(changed: list[Observation], size: int) -> None:
    records = eventful(changed)
    whole = run(records, batch=997)
    assert names(whole.alerts) == {
        *OUTPUTS,
        "embedder",
        "text_version",
    }
    stored: dict[str, bytes] = {}
    said: list[bytes] = []
    engine, known = Engine(ALERTS_ONLY, NUMERICS), 0
    for at in range(0, len(records), size):
        part = run(records[at : at + size], engine=engine, batch=size)
        said += [encode(alert) for alert in part.alerts]
        stored |= engine.snapshot(KEY, known)
        known = int(engine.bank.scopes.array[engine.scopes[KEY].slot]["calls"])
        engine = Engine(ALERTS_ONLY, NUMERICS)
        engine.restore(stored)
    assert said == [encode(alert) for alert in whole.alerts]
    assert engine.snapshot(KEY) == whole.engine.snapshot(KEY)


def test_what_is_left_of_an_earlier_scope_of_that_name_is_not_read(changed: list[Observation]) -> None:
    old = run(changed[:700]).engine.snapshot(KEY)
    young = run(calls(120, 9)).engine
    engine = Engine(ALERTS_ONLY, NUMERICS)
    engine.restore(old | young.snapshot(KEY))
    assert engine.snapshot(KEY) == young.snapshot(KEY)


def test_a_dropped_scope_gives_everything_back(changed: list[Observation]) -> None:
    engine = run(changed[: BEFORE + 300]).engine
    bank, filled = engine.bank.text.bank, used(engine)
    assert all(filled[name] > 0 for name in ("texts", "stores", "directions", "frozen_directions", "parts"))
    assert filled["warm_up"] == 0
    engine.drop(KEY)
    assert not any(used(engine).values())
    assert (bank.table == -1).all()
    assert (bank.chunks == -1).all()


def test_the_state_of_a_scope_of_texts_stays_within_its_bounds(changed: list[Observation]) -> None:
    """KB written: 40 for 100 calls, 512 for a busy scope, with three open changes as well (docs/BENCHMARKS.md)."""

    def size(engine: Engine) -> float:
        return sum(map(len, engine.snapshot(KEY).values())) / 1024

    assert size(run(changed[:100]).engine) < 40
    assert size(run(changed[:BEFORE]).engine) < 512
    assert size(run(changed[: BEFORE + CHANGED]).engine) < 512


def test_summaries_say_how_far_the_texts_have_come(changed: list[Observation]) -> None:
    def statuses(n: int) -> dict[str, tuple[str, int]]:
        summary = run(changed[:n]).engine.summarise()[0]
        return {signal.name: (signal.status, signal.n) for signal in summary.signals if signal.name in OUTPUTS | INPUTS}

    assert statuses(100) == {}
    assert statuses(250) == {"output_features": ("learning", 150), "input_features": ("learning", 150)}
    assert statuses(500)["output_style"] == ("learning", 500)
    assert statuses(700) == {
        "output_features": ("watching", 600),
        "output_style": ("watching", 700),
        "output_given_input": ("watching", 700),
        "input_features": ("watching", 600),
        "input_content": ("watching", 700),
    }
