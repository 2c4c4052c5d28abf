"""What is found, how soon, and what is left alone. Bounds are generous: benchmarks hold the figures."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from leeboard.detectors import BinaryDetector, Evidence, NumericDetector
from leeboard.detectors.core.lifecycle import NEXT, RETURNED

from tests.detectors.streams import Codes, Floats, binary_codes, category_codes, firings, numeric_codes

SEED = 47
#: independent events before the change, and after it
BEFORE, AFTER = 2000, 600
EVENTS = BEFORE + AFTER
#: 0 before the change, 1 from it on
CHANGED = (np.arange(EVENTS) >= BEFORE).astype(float)
STREAMS = 100


def values(rng: np.random.Generator, shift: Floats, events: int = EVENTS) -> Floats:
    """Lognormal values whose logs are moved by so many standard deviations."""
    return 300 * np.exp(0.5 * (rng.standard_normal(events) + shift))


def delays(codes: Callable[[np.random.Generator, Floats], Codes], streams: int = STREAMS) -> list[float]:
    """Events from the change to the first firing after it, per stream; infinite where there is none."""
    rng, found = np.random.default_rng(SEED), []
    for _ in range(streams):
        fired = firings(codes(rng, rng.random((EVENTS, 3))))
        found.append(min((t - BEFORE for t in fired if t >= BEFORE), default=math.inf))
    return found


def numeric_evidence(x: Floats, u: Floats, **settings: bool) -> list[tuple[int, Evidence]]:
    detector, found = NumericDetector(level=1e4, **settings), []
    for t, (value, row) in enumerate(zip(x.tolist(), u.tolist(), strict=True)):
        if evidence := detector.update(value, uniforms=tuple(row)):
            found.append((t, evidence))
    return found


@pytest.mark.parametrize(("shift", "within"), [(0.5, 160), (1.0, 30), (2.0, 12), (-1.0, 40), (-2.0, 15)])
def test_a_shift_of_the_level_is_found(shift: float, within: int) -> None:
    found = delays(lambda rng, u: numeric_codes(values(rng, shift * CHANGED), u))
    assert np.median(found) <= within
    assert np.isfinite(found).mean() >= 0.9


def test_a_spread_that_grew_by_half_is_found() -> None:
    found = delays(lambda rng, u: numeric_codes(values(rng, 0 * CHANGED) ** (1 + 0.5 * CHANGED), u))
    assert np.median(found) <= 90
    found = delays(lambda rng, u: numeric_codes(10 + rng.standard_normal(EVENTS) * (1 + 0.5 * CHANGED), u))
    assert np.median(found) <= 90


def test_a_share_of_errors_that_rose_to_a_fifth_is_found() -> None:
    found = delays(lambda rng, u: binary_codes(rng.random(EVENTS) < np.where(CHANGED, 0.2, 0.005), u))
    assert np.median(found) <= 40
    assert np.isfinite(found).mean() >= 0.95


@pytest.mark.parametrize("category", [1, 3])
def test_a_category_that_takes_all_traffic_is_found_known_or_new(category: int) -> None:
    known = [0.9, 0.08, 0.02]
    found = delays(lambda rng, u: category_codes(np.where(CHANGED, category, rng.choice(3, EVENTS, p=known)), u))
    assert np.median(found) <= 12
    assert np.isfinite(found).mean() >= 0.95


def test_a_change_is_dated_to_a_few_events_with_direction_and_effect() -> None:
    rng, errors, covered = np.random.default_rng(SEED), [], 0
    for _ in range(25):
        found = numeric_evidence(values(rng, CHANGED), rng.random((EVENTS, 3)))
        t, evidence = next((t, evidence) for t, evidence in found if t >= BEFORE)
        errors.append(abs(t - evidence.change.estimate - BEFORE))
        covered += t - evidence.change.earliest <= BEFORE <= t - evidence.change.latest
        assert evidence.direction == "up"
        assert evidence.before == pytest.approx(300, rel=0.1)
        assert evidence.effect_interval[0] < evidence.effect < evidence.effect_interval[1]
        assert evidence.effect_interval[0] < math.exp(0.5) - 1 + 0.6
    assert np.median(errors) <= 5
    assert covered >= 0.7 * 25


def test_a_share_is_dated_too() -> None:
    rng, errors = np.random.default_rng(SEED), []
    for _ in range(25):
        detector, uniforms = BinaryDetector(level=1e4), rng.random((EVENTS, 3)).tolist()
        x = (rng.random(EVENTS) < np.where(CHANGED, 0.3, 0.01)).tolist()
        found = [
            (t, e) for t in range(EVENTS) if (e := detector.update(x[t], uniforms=tuple(uniforms[t]))) and t >= BEFORE
        ]
        t, evidence = found[0]
        errors.append(abs(t - evidence.change.estimate - BEFORE))
        assert evidence.direction == "up"
        assert evidence.before == pytest.approx(0.01, abs=0.01)
    assert np.median(errors) <= 5


@pytest.mark.parametrize("outlier", [1e9, 0.0])
def test_a_single_extreme_value_opens_nothing(outlier: float) -> None:
    """In one stream of a hundred at most, false alarms included."""
    rng, fired = np.random.default_rng(SEED), 0
    for _ in range(1000):
        x = values(rng, 0.0, 1100)
        x[1000] = outlier
        fired += any(1000 <= t < 1050 for t in firings(numeric_codes(x, rng.random((1100, 3)))))
    assert fired <= 10


def test_up_and_back_is_one_firing_and_a_return() -> None:
    rng, single, back = np.random.default_rng(SEED), 0, []
    t = np.arange(3500)
    for _ in range(STREAMS):
        x = values(rng, ((t >= 2000) & (t < 2300)).astype(float), t.size)
        codes = numeric_codes(x, rng.random((t.size, 3)))
        single += len([f for f in firings(codes) if f >= 2000]) == 1
        back.append(min((r - 2300 for r in np.flatnonzero(codes == RETURNED).tolist() if r >= 2300), default=math.inf))
    assert single >= 0.75 * STREAMS
    assert np.median(back) <= 100
    assert np.isfinite(back).mean() >= 0.9


def test_the_watcher_finds_a_second_change_while_the_first_is_open() -> None:
    rng, delay = np.random.default_rng(SEED), []
    t = np.arange(2800)
    for _ in range(STREAMS):
        x = values(rng, 1.5 * (t >= 2000) + 1.5 * (t >= 2200), t.size)
        codes = numeric_codes(x, rng.random((t.size, 3)))
        delay.append(min((n - 2200 for n in np.flatnonzero(codes == NEXT).tolist() if n >= 2200), default=math.inf))
    assert np.median(delay) <= 40
    assert np.isfinite(delay).mean() >= 0.9


def test_evidence_of_a_second_change_compares_with_the_level_before_the_first() -> None:
    """So that drift in small steps cannot hide."""
    rng, t = np.random.default_rng(SEED), np.arange(2600)
    found = numeric_evidence(values(rng, 1.5 * (t >= 2000) + 1.5 * (t >= 2200), t.size), rng.random((t.size, 3)))
    first, second = [evidence for at, evidence in found if at >= 2000][:2]
    assert first.before == pytest.approx(second.before, rel=0.02)
    assert second.effect > first.effect
    assert second.guarantee == "empirical"


def test_a_change_of_a_new_stream_is_found() -> None:
    rng, delay = np.random.default_rng(SEED), []
    t = np.arange(400)
    for _ in range(STREAMS):
        codes = numeric_codes(values(rng, 2.5 * (t >= 100), t.size), rng.random((t.size, 3)), 1e3)
        delay.append(min((f - 100 for f in firings(codes) if f >= 100), default=math.inf))
    assert np.median(delay) <= 25
