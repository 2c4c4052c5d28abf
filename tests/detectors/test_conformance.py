"""What every detector owes: one suite over all that the package has, discovered, not listed."""

import ast
import doctest
import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import leeboard.detectors
import numpy as np
import pytest
from leeboard.detectors import (
    BinaryDetector,
    CategoricalDetector,
    ChangeTime,
    ConditionalDetector,
    Detector,
    DirectionDetector,
    Evidence,
    FeaturesDetector,
    NumericDetector,
    Uniforms,
)
from leeboard.detectors.base import Value
from leeboard.detectors.river import RiverDetector

from tests.detectors.streams import poisson_limit

CONTRACT = ("update", "accept", "snapshot", "restore", "log_level", "open")
SEED = 1234
#: a stream's life here: normal, changed, and normal again
NORMAL, CHANGED, BACK = 1200, 300, 500
MOST_STATE_BYTES = 32_768
#: the same for vectors, whose newest 1,184 are kept: 9 bytes and one a number each, twice, and a few laws
MOST_VECTOR_BYTES = 131_072


@dataclass(frozen=True)
class Kind:
    """Values of a kind: as they are before a change, after it, always the same, and what is no such value."""

    normal: Callable[[np.random.Generator], Value]
    changed: Callable[[np.random.Generator], Value]
    constant: Value
    wrong: tuple[object, ...]


NO_NUMBER = (math.nan, math.inf, -math.inf, None, 10**400, 1j, b"3", [1.0], (2.0,), {}, object(), np.array([1.0, 2.0]))
NO_EVENT = (np.float32("nan"), np.float64("inf"), *NO_NUMBER)
NUMBERS = Kind(
    lambda rng: float(rng.lognormal(5, 0.4)),
    lambda rng: float(rng.lognormal(6.2, 0.4)),
    7.5,
    (*NO_EVENT, "7.5", "", "x"),
)
SIGNED = Kind(lambda rng: float(rng.normal(0, 2)), lambda rng: float(rng.normal(8, 2)), -3.0, NUMBERS.wrong)
YES_NO = Kind(lambda rng: rng.random() < 0.03, lambda rng: rng.random() < 0.5, 0.0, (*NO_EVENT, "1", "yes", 0.5, 2, -1))
CATEGORIES = Kind(
    lambda rng: str(rng.choice(["stop", "length", "tool"], p=[0.9, 0.07, 0.03])),
    lambda rng: str(rng.choice(["stop", "length", "tool"], p=[0.17, 0.8, 0.03])),
    "stop",
    NO_EVENT,
)
DIMENSIONS = 3
NO_VECTOR = (
    *NO_EVENT,
    "abc",
    7.0,
    [],
    [1.0, 2.0],
    [1.0, 2.0, 3.0, 4.0],
    [1.0, math.nan, 3.0],
    (math.inf, 1.0, 2.0),
    [1.0, "2", 3.0],
    [1.0, None, 3.0],
    [1.0, 2.0, 10**400],
    [[1.0, 2.0, 3.0]],
    np.array([1.0, np.nan, 2.0]),
    np.zeros((3, 1)),
    np.array(["a", "b", "c"]),
    np.array([1j, 2.0, 3.0]),
)
VECTORS = Kind(
    lambda rng: rng.normal(0, 1, DIMENSIONS).tolist(),
    lambda rng: (rng.normal(0, 1, DIMENSIONS) + np.array([0.0, 1.5, -1.5])).tolist(),
    [0.0, 7.5, -3.0],
    NO_VECTOR,
)


@dataclass(frozen=True)
class Case:
    """One way to make a detector, what it eats, and what comes with every value."""

    cls: type
    kind: Kind
    arguments: dict[str, Any] = field(default_factory=dict)
    clock: bool = False
    covariates: int = 0

    @property
    def most_bytes(self) -> int:
        """Largest state."""
        return MOST_VECTOR_BYTES if self.kind is VECTORS else MOST_STATE_BYTES

    def make(self) -> Detector:
        detector: Detector = self.cls(**self.arguments)
        return detector

    def __str__(self) -> str:
        return f"{self.cls.__name__}({', '.join(f'{name}={value}' for name, value in self.arguments.items())})"


CASES = (
    Case(NumericDetector, NUMBERS, {"level": 1e4}),
    Case(NumericDetector, SIGNED, {"level": 1e3, "page_level": 1e6, "logarithmic": False, "unit": 1.0}),
    Case(NumericDetector, NUMBERS, {"level": 1e4, "seasonal": True, "covariates": 2}, clock=True, covariates=2),
    Case(BinaryDetector, YES_NO, {"level": 1e4}),
    Case(CategoricalDetector, CATEGORIES, {"level": 1e4}),
    Case(DirectionDetector, VECTORS, {"level": 1e4, "dimensions": DIMENSIONS}),
    Case(
        ConditionalDetector,
        VECTORS,
        {"level": 1e3, "page_level": 1e6, "dimensions": 3, "conditioning_dimensions": 2},
        covariates=2,
    ),
    Case(FeaturesDetector, VECTORS, {"level": 1e4, "features": DIMENSIONS}),
    Case(RiverDetector, NUMBERS, {"spec": "ADWIN(delta=0.0001)"}),
    Case(RiverDetector, SIGNED, {"spec": "KSWIN(alpha=1e-8)"}),
    Case(RiverDetector, SIGNED, {"spec": "PageHinkley(threshold=150)"}),
)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@dataclass(frozen=True)
class Event:
    value: Value
    uniforms: Uniforms
    clock: int | None
    covariates: tuple[float, ...] | None

    def give(self, detector: Detector) -> Evidence | None:
        return detector.update(self.value, uniforms=self.uniforms, clock=self.clock, covariates=self.covariates)


def events(case: Case, values: list[Value], seed: int = SEED) -> list[Event]:
    rng = np.random.default_rng([seed, 1])
    uniforms, tokens = rng.random((len(values), 3)).tolist(), rng.normal(5, 1, (len(values), case.covariates)).tolist()
    return [
        Event(value, tuple(u), 1_700_000_000_000 + 60_000 * t if case.clock else None, tuple(known) or None)
        for t, (value, u, known) in enumerate(zip(values, uniforms, tokens, strict=True))
    ]


def life(case: Case, seed: int = SEED) -> list[Event]:
    rng = np.random.default_rng([seed, 0])
    plan = [case.kind.normal] * NORMAL + [case.kind.changed] * CHANGED + [case.kind.normal] * BACK
    return events(case, [draw(rng) for draw in plan], seed)


def run(detector: Detector, stream: list[Event]) -> list[tuple[Evidence | None, bool, float]]:
    return [(event.give(detector), detector.open, detector.log_level) for event in stream]


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(leeboard.detectors.__path__, "leeboard.detectors.")
    return [leeboard.detectors, *(importlib.import_module(each.name) for each in found)]


def discovered() -> set[type]:
    """Every class of the package that has all of the contract's members, under whatever name it is exported."""
    classes = {each for module in modules() for each in vars(module).values() if isinstance(each, type)}
    return {each for each in classes if each is not Detector and all(hasattr(each, name) for name in CONTRACT)}


def test_every_detector_of_the_package_is_in_this_suite() -> None:
    """A new one is found by itself, and fails here until CASES says how it is made."""
    assert discovered() == {case.cls for case in CASES}


@every_case
def test_it_satisfies_the_contract(case: Case) -> None:
    detector = case.make()
    assert isinstance(detector, Detector)
    assert (detector.refused, detector.open, detector.log_level) == (0, False, -math.inf)


@every_case
def test_what_is_not_such_a_value_changes_nothing_and_is_counted(case: Case) -> None:
    detector, stream = case.make(), life(case)[: NORMAL + 40]
    for t, event in enumerate(stream):
        if t in (0, 1, NORMAL, len(stream) - 1):
            before = (detector.snapshot(), detector.refused, detector.open, detector.log_level)
            for value in case.kind.wrong:
                refused = detector.refused
                assert Event(value, event.uniforms, event.clock, event.covariates).give(detector) is None  # type: ignore[arg-type]
                assert detector.refused == refused + 1, value
            detector.refused = before[1]
            assert (detector.snapshot(), detector.refused, detector.open, detector.log_level) == before
        event.give(detector)


@pytest.mark.parametrize(
    "covariates", [None, (), (1.0,), (1.0, math.nan), (math.inf, 1.0), (1.0, 2.0, 3.0), (1e300, 1.0)]
)
def test_covariates_that_are_missing_or_not_finite_refuse_their_value(covariates: tuple[float, ...] | None) -> None:
    detector = NumericDetector(covariates=2)
    before = detector.snapshot()
    assert detector.update(1.0, uniforms=(0.5, 0.5, 0.5), covariates=covariates) is None
    assert detector.refused == 1
    detector.refused = 0
    assert detector.snapshot() == before


@every_case
def test_a_constant_stream_never_moves(case: Case) -> None:
    """Shares never fire. Numbers, whose ties are broken at random, may do so by chance, with an effect of zero."""
    found = [each for each, _, _ in run(case.make(), events(case, [case.kind.constant] * 3000)) if each]
    by_chance = poisson_limit(3000 / case.arguments["level"]) if case.cls is NumericDetector else 0
    assert len(found) <= by_chance
    assert all(abs(each.after - each.before) < 1e-3 * abs(each.before) for each in found)


@pytest.mark.parametrize("case", [case for case in CASES if case.kind in (NUMBERS, SIGNED)], ids=str)
def test_numbers_of_any_size_leave_a_detector_that_still_works(case: Case) -> None:
    """Finite numbers near the limits of a float, one after the other, between normal ones."""
    detector, rng = case.make(), np.random.default_rng(SEED)
    extremes: list[Value] = [5e-324, 1e-300, 1e300, -1e300, 1.7e308, -1.7e308, 0.0, -0.0, 1e-40, 3.4e38, 1e39]
    values = [*extremes, *(case.kind.normal(rng) for _ in range(400)), *extremes, *extremes]
    for event in events(case, values):
        if (evidence := event.give(detector)) and case.cls is NumericDetector:
            check(evidence, len(values))
        assert not math.isnan(detector.log_level)
    changed = [case.kind.changed(rng) for _ in range(200)]
    run(detector, events(case, [*(case.kind.normal(rng) for _ in range(400)), *changed]))
    assert math.isfinite(detector.log_level) or case.cls is RiverDetector


@every_case
def test_two_runs_are_equal(case: Case) -> None:
    one, other = case.make(), case.make()
    assert run(one, life(case)) == run(other, life(case))
    assert one.snapshot() == other.snapshot()


@every_case
def test_a_restored_detector_goes_on_as_if_nothing_had_happened(case: Case) -> None:
    """Cut before the first value, in and after the warm-up, inside an open change, on the way back, and at the end."""
    stream = life(case)
    reference, cuts = (
        case.make(),
        (0, 1, 40, 254, 255, 700, NORMAL + 5, NORMAL + 60, NORMAL + CHANGED + 20, len(stream)),
    )
    states = {}
    truth = []
    for t, event in enumerate(stream):
        if t in cuts:
            states[t] = reference.snapshot()
        truth.append((event.give(reference), reference.open, reference.log_level))
    states[len(stream)] = reference.snapshot()
    assert truth[NORMAL + 60][1] or case.cls is RiverDetector
    for cut in cuts:
        restored = case.make()
        run(restored, stream[:300])  # whatever it knew before is forgotten
        kept = bytes(states[cut])
        restored.restore(states[cut])
        assert restored.snapshot() == states[cut] == kept
        assert run(restored, stream[cut:]) == truth[cut:]
        assert restored.snapshot() == reference.snapshot()


@every_case
def test_detectors_restored_from_the_same_bytes_share_nothing(case: Case) -> None:
    detector = case.make()
    run(detector, life(case)[:400])
    state = bytearray(detector.snapshot())
    one, other = case.make(), case.make()
    one.restore(state)
    other.restore(state)
    state[:] = bytes(len(state))
    run(one, life(case)[400:500])
    assert other.snapshot() == detector.snapshot()


@every_case
def test_damaged_bytes_are_no_snapshot_and_leave_the_detector_as_it_was(case: Case) -> None:
    detector = case.make()
    run(detector, life(case)[:300])
    good = detector.snapshot()
    head, rng = good[: good.index(b"\n") + 1], np.random.default_rng(SEED)
    flipped = [bytearray(good) for _ in range(60)]
    for state in flipped:
        state[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
    strangers = [each.make().snapshot() for each in CASES if each.cls is not case.cls]
    bad = [
        b"",
        b"\n",
        b"\xff\xfe",
        head,
        good[:-1],
        good + b"\0",
        good[1:],
        rng.bytes(len(good)),
        head + rng.bytes(5000),
    ]
    for state in [*bad, head + rng.bytes(len(good) - len(head)), *strangers, *flipped]:
        with pytest.raises(ValueError, match=r"snapshot|codec"):
            detector.restore(bytes(state))
        assert detector.snapshot() == good
    restored = case.make()
    restored.restore(good)
    assert run(detector, life(case)[300:]) == run(restored, life(case)[300:])


@every_case
def test_a_snapshot_names_its_version(case: Case) -> None:
    detector = case.make()
    state = detector.snapshot()
    newer = state.replace(b" 1 ", b" 999 ", 1)
    assert newer != state
    with pytest.raises(ValueError, match="version"):
        detector.restore(newer)


@every_case
def test_the_state_is_bounded_whatever_the_length_of_the_stream(case: Case) -> None:
    rng = np.random.default_rng(SEED)
    detector, sizes = case.make(), []
    for t, event in enumerate(events(case, [case.kind.normal(rng) for _ in range(9000)])):
        event.give(detector)
        if t % 50 == 0:
            sizes.append(len(detector.snapshot()))
    assert max(sizes) <= case.most_bytes
    assert max(sizes[90:]) <= max(MOST_STATE_BYTES * (case.cls is RiverDetector), max(sizes[:90]) + 8)


def test_the_state_is_bounded_whatever_the_categories() -> None:
    detector = CategoricalDetector()
    for t in range(500):
        detector.update(f"{t}-{'x' * 10_000}", uniforms=(0.5, 0.5, 0.5))
    assert len(detector.snapshot()) <= MOST_STATE_BYTES


@every_case
def test_what_comes_in_is_left_as_it_was(case: Case) -> None:
    detector = case.make()
    for event in life(case)[: NORMAL + 100]:
        uniforms, covariates = list(event.uniforms), list(event.covariates or ())
        kept = (list(uniforms), list(covariates))
        detector.update(event.value, uniforms=uniforms, clock=event.clock, covariates=covariates)  # type: ignore[arg-type]
        assert (uniforms, covariates) == kept


def check(evidence: Evidence, seen: int) -> None:
    """Fields that any evidence of a detector with a level must have."""
    low, high = evidence.effect_interval
    numbers = (evidence.level, evidence.before, evidence.after, evidence.effect, low, high)
    assert all(math.isfinite(each) for each in numbers), evidence
    assert low <= evidence.effect <= high
    assert evidence.n_before > 0
    assert evidence.n_after > 0
    assert isinstance(evidence.change, ChangeTime)
    assert 0 <= evidence.change.latest <= evidence.change.estimate <= evidence.change.earliest < seen
    assert evidence.direction in ("up", "down", "spread")
    assert evidence.guarantee in ("exact", "approximate", "empirical")
    assert evidence.detector


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_a_clear_change_is_found_stays_open_and_closes_when_the_stream_returns(case: Case, seed: int) -> None:
    detector = case.make()
    history = run(detector, life(case, seed))
    found = [(t, evidence) for t, (evidence, _, _) in enumerate(history) if evidence]
    first = next((t for t, _ in found if t >= NORMAL), None)
    assert first is not None
    assert first < NORMAL + 100
    assert history[first][1]
    assert not history[-1][1], "it returned"
    for t, evidence in found:
        if case.cls is RiverDetector:
            assert evidence.level == 0
            assert min(evidence.n_before, evidence.n_after) > 0
            assert 0 <= evidence.change.latest <= evidence.change.earliest
            continue
        check(evidence, t + 1)
        assert evidence.level >= case.arguments["level"] * (1 - 1e-9)
        assert all(is_open for _, is_open, _ in history[t : t + 20])
        assert history[t][2] >= math.log(case.arguments["level"]) - 1e-9


@every_case
def test_accepting_closes_a_change_and_the_new_level_is_normal(case: Case) -> None:
    detector, stream = case.make(), life(case)
    history = run(detector, stream[:NORMAL])
    for event in stream[NORMAL : NORMAL + 100]:
        history.append((event.give(detector), detector.open, detector.log_level))
        if history[-1][1]:
            break
    assert detector.open
    detector.accept()
    assert not detector.open
    rng = np.random.default_rng(SEED)
    later = run(detector, events(case, [case.kind.changed(rng) for _ in range(600)]))
    others = 1 if case.kind is CATEGORIES else 0  # a category that had not fired yet was not accepted either
    assert sum(found is not None for found, _, _ in later) <= 1 + others
    restored = case.make()
    restored.accept()
    assert restored.snapshot() == case.make().snapshot(), "with nothing open there is nothing to accept"


BAD_SETTINGS = (
    *({"level": level} for level in (1.0, 0.0, -5.0, math.nan, math.inf)),
    *({"page_level": level} for level in (0.5, math.nan)),
    *({"floor": floor} for floor in (-1.0, math.nan)),
)


@pytest.mark.parametrize("cls", [NumericDetector, BinaryDetector, CategoricalDetector])
@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=str)
def test_bad_settings_are_refused_by_name(cls: type, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        cls(**settings)


@pytest.mark.parametrize("settings", [{"unit": -1.0}, {"unit": math.nan}, {"covariates": 1}], ids=str)
def test_bad_settings_of_numbers_are_refused_by_name(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        NumericDetector(**settings)


@pytest.mark.parametrize("cls", sorted(discovered(), key=lambda cls: cls.__name__))
def test_a_detector_shows_where_it_fires_in_a_runnable_example(cls: type) -> None:
    (example,) = [each for each in doctest.DocTestFinder(recurse=False).find(cls, cls.__name__) if each.examples]
    assert any(each.want for each in example.examples)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_examples_of_the_documentation_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module, report=True).failed == 0


def imported(code: str) -> set[str]:
    """First parts of the names of all modules that the code imports or names in a string for import."""
    return {
        name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else [str(node.args[0].value)]
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
            else []
        )
    }


PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_no_detector_pickles() -> None:
    sources = [module.__loader__.get_source(module.__name__) for module in modules()]  # type: ignore[union-attr]
    assert len(sources) > 15
    assert not [code for code in sources if imported(code) & PICKLES]
    assert not [code for code in sources if "allow_pickle" in code or "__reduce__" in code]


@pytest.mark.parametrize("code", ["import pickle", "from pickle import dumps", "importlib.import_module('dill')"])
def test_the_check_for_pickle_sees_one(code: str) -> None:
    assert imported(code) & PICKLES
