"""The promise, measured: at level A a stream whose law stays the same fires at most once in A events on average.

Counts are compared with the 99 % quantile of a Poisson number whose mean is the whole budget, n / A; seeds are fixed.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from leeboard.detectors import BinaryDetector, CategoricalDetector, Detector, NumericDetector
from leeboard.detectors.core.lifecycle import FIRED, NEXT, RETURNED
from scipy.signal import lfilter

from tests.detectors.streams import (
    Codes,
    Floats,
    Integers,
    binary_codes,
    category_codes,
    firings,
    numeric_codes,
    poisson_limit,
)
from tests.realdata import load, names, needs_data, values

SEED = 31
EVENTS = 500_000
LEVELS = (1e3, 1e4)
#: number of new streams, and their length: most of it is warm-up
STREAMS, WARM_UP = 150, 2000

Law = Callable[[np.random.Generator, int], Floats]
#: marginal laws of what is measured on calls
LAWS: dict[str, Law] = {
    "normal": lambda rng, n: rng.normal(50, 4, n),
    "lognormal": lambda rng, n: rng.lognormal(6, 0.8, n),
    "Pareto without variance": lambda rng, n: 100 * (1 + rng.pareto(1.5, n)),
    "Cauchy, both signs": lambda rng, n: rng.standard_cauchy(n),
    "uniform": lambda rng, n: rng.random(n),
    "small counts": lambda rng, n: rng.poisson(3, n).astype(float),
    "scores from 1 to 5": lambda rng, n: rng.choice([1.0, 2, 3, 4, 5], n, p=[0.05, 0.05, 0.2, 0.4, 0.3]),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.8, 0, np.round(rng.lognormal(5, 1, n))),
    "rarely one": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "two modes": lambda rng, n: np.where(rng.random(n) < 0.4, rng.normal(20, 3, n), rng.normal(300, 60, n)),
    "constant": lambda rng, n: np.full(n, 12.5),
    "a large constant": lambda rng, n: np.full(n, 3e6),
    "large numbers with few digits": lambda rng, n: 1e6 + rng.integers(0, 12, n),
}


def draw(rng: np.random.Generator, events: int) -> Floats:
    return rng.random((events, 3))


def count(codes: Codes) -> int:
    return len(firings(codes))


def reported(detector: Detector, stream: list[float] | list[str], u: Floats) -> tuple[list[int], list[bool]]:
    """Events with evidence, and whether a change is open after each event."""
    found, states = [], []
    for t, (value, three) in enumerate(zip(stream, u.tolist(), strict=True)):
        if detector.update(value, uniforms=tuple(three)) is not None:
            found.append(t)
        states.append(detector.open)
    return found, states


def eventful(rng: np.random.Generator) -> Floats:
    """Levels (0 to 3) of 12,000 events: up and back, up twice, and up for good."""
    plan = [(0, 1500), (2, 300), (0, 700), (1, 200), (3, 300), (0, 1000), (2, 5500), (1, 500), (0, 2000)]
    return np.repeat([float(level) for level, _ in plan], [events for _, events in plan])


@pytest.mark.parametrize("logarithmic", [True, False])
def test_the_fast_path_is_the_numeric_detector_event_for_event(logarithmic: bool) -> None:
    rng = np.random.default_rng(SEED)
    x = rng.normal(10, 1, 12_000) + eventful(rng)
    u = draw(rng, x.size)
    codes = numeric_codes(x, u, 1e3, logarithmic=logarithmic)
    found, states = reported(NumericDetector(level=1e3, logarithmic=logarithmic), x.tolist(), u)
    assert {FIRED, NEXT, RETURNED} <= set(codes.tolist())
    assert found == firings(codes)
    returned = np.flatnonzero(codes == RETURNED)
    assert not any(states[t] for t in returned)
    assert all(states[t] for t in found)


def test_the_fast_path_is_the_binary_detector_event_for_event() -> None:
    rng = np.random.default_rng(SEED)
    x = rng.random(12_000) < 0.02 + 0.15 * eventful(rng)
    u = draw(rng, x.size)
    codes = binary_codes(x, u, 1e3)
    assert {FIRED, RETURNED} <= set(codes.tolist())
    assert reported(BinaryDetector(level=1e3), x.astype(float).tolist(), u)[0] == firings(codes)


def test_the_fast_path_is_the_categorical_detector_event_for_event() -> None:
    rng = np.random.default_rng(SEED)
    x = np.where(
        rng.random(12_000) < 0.25 * eventful(rng), 1, rng.choice([0, 1, 2, 5], 12_000, p=[0.8, 0.1, 0.08, 0.02])
    )
    u = draw(rng, x.size)
    codes = category_codes(x, u, 1e3)
    assert codes.max() >= RETURNED
    assert reported(CategoricalDetector(level=1e3), [f"c{each}" for each in x.tolist()], u)[0] == firings(codes)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("law", LAWS)
def test_independent_values_of_any_law_keep_the_budget(law: str, level: float) -> None:
    rng = np.random.default_rng(SEED)
    found = count(numeric_codes(LAWS[law](rng, EVENTS), draw(rng, EVENTS), level))
    assert 0 < found <= poisson_limit(EVENTS / level)


@pytest.mark.parametrize(
    "law", ["constant", "a large constant", "large numbers with few digits", "mostly zero", "Cauchy, both signs"]
)
def test_values_taken_as_they_are_keep_the_budget_in_any_unit(law: str) -> None:
    """Not as logarithms, and with a unit of 1: a 32-bit float must still tell the dithered values apart."""
    rng = np.random.default_rng(SEED)
    x, u = LAWS[law](rng, EVENTS), draw(rng, EVENTS)
    assert count(numeric_codes(x, u, 1e3, logarithmic=False, unit=1.0)) <= poisson_limit(EVENTS / 1e3)


@pytest.mark.parametrize("law", LAWS)
def test_new_streams_keep_the_budget(law: str) -> None:
    rng = np.random.default_rng(SEED)
    found = sum(count(numeric_codes(LAWS[law](rng, WARM_UP), draw(rng, WARM_UP), 1e3)) for _ in range(STREAMS))
    assert found <= poisson_limit(STREAMS * WARM_UP / 1e3)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2, 0.5, 0.9])
def test_a_constant_share_keeps_the_budget(share: float, level: float) -> None:
    rng = np.random.default_rng(SEED)
    found = count(binary_codes(rng.random(EVENTS) < share, draw(rng, EVENTS), level))
    assert 0 < found <= poisson_limit(EVENTS / level)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2, 0.5, 0.9])
def test_new_shares_keep_the_budget(share: float) -> None:
    rng = np.random.default_rng(SEED)
    found = sum(count(binary_codes(rng.random(WARM_UP) < share, draw(rng, WARM_UP), 1e3)) for _ in range(STREAMS))
    assert found <= poisson_limit(STREAMS * WARM_UP / 1e3)


SHARES = {
    "one in ten": [0.9, 0.1],
    "four alike": [0.25] * 4,
    "a long tail": [0.6, 0.3, 0.06, 0.03, 0.008, 0.002],
    "eight alike": [0.125] * 8,
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", SHARES)
def test_constant_shares_of_categories_keep_one_budget_together(kind: str, level: float) -> None:
    rng = np.random.default_rng(SEED)
    x: Integers = rng.choice(len(SHARES[kind]), EVENTS, p=SHARES[kind])
    found = count(category_codes(x, draw(rng, EVENTS), level))
    assert 0 < found <= poisson_limit(EVENTS / level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("phi", [0.3, 0.6])
def test_values_that_follow_their_past_keep_the_budget(phi: float, level: float) -> None:
    """Approximate in theory: what the past explains is learned, and taken out."""
    rng = np.random.default_rng(SEED)
    x = lfilter([1.0], [1.0, -phi], rng.standard_normal(EVENTS)) * math.sqrt(1 - phi * phi)
    assert count(numeric_codes(np.exp(0.5 * x), draw(rng, EVENTS), level)) <= poisson_limit(EVENTS / level)


@pytest.mark.data
@needs_data
@pytest.mark.parametrize("level", LEVELS)
def test_real_values_in_random_order_keep_the_budget(level: float, real_values: list[tuple[Floats, bool]]) -> None:
    rng = np.random.default_rng(SEED)
    found = events = 0
    for x, binary in real_values:
        shuffled, u = rng.permutation(x), draw(rng, x.size)
        codes = binary_codes(shuffled == 1, u, level) if binary else numeric_codes(shuffled, u, level)
        found += count(codes)
        events += x.size
    assert events > 100_000
    assert found <= poisson_limit(events / level), (found, events)


@pytest.fixture(scope="module")
def real_values() -> list[tuple[Floats, bool]]:
    """Every view of every stream that shows its models (those that hide them have the same numbers)."""
    return [(view.values, view.binary) for name in names() for view in values(load(name)).values()]


def test_the_count_sees_a_stream_that_does_move() -> None:
    rng = np.random.default_rng(SEED)
    moving = rng.standard_normal(100_000) + 2 * (np.arange(100_000) // 1000 % 2)
    assert count(numeric_codes(np.exp(moving), draw(rng, moving.size), 1e4)) > poisson_limit(10)
    share = rng.random(100_000) < np.where(np.arange(100_000) // 1000 % 2, 0.4, 0.01)
    assert count(binary_codes(share, draw(rng, share.size), 1e4)) > poisson_limit(10)
