"""Streams of vectors: the budget holds where nothing changes, and what is found where something does."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from leeboard.detectors import ConditionalDetector, Detector, DirectionDetector, FeaturesDetector
from leeboard.detectors.core.lifecycle import NEXT, RETURNED
from leeboard.detectors.vector.detector import event_hash
from scipy.signal import lfilter

from tests.detectors.streams import Floats, firings, poisson_limit
from tests.detectors.vector_streams import Codes, direction_codes, features_codes

SEED = 83
EVENTS, DIMENSIONS = 200_000, 8
LEVELS = (1e3, 1e4)
Law = Callable[[np.random.Generator, int], Floats]


def shares_and_zeros(rng: np.random.Generator, n: int) -> Floats:
    """As counts of tokens: mostly zeros, ties, heavy tails, constants."""
    x = rng.gamma(0.5, 1.0, (n, DIMENSIONS)) * (rng.random((n, DIMENSIONS)) < np.linspace(0.03, 1.0, DIMENSIONS))
    return np.round(np.column_stack([x[:, :-1], np.full(n, 0.5)]), 1)


def correlated(rng: np.random.Generator, n: int) -> Floats:
    return np.asarray(rng.standard_normal((n, DIMENSIONS)) + 2 * rng.standard_normal((n, 1)))


LAWS: dict[str, Law] = {
    "independent": lambda rng, n: rng.standard_normal((n, DIMENSIONS)),
    "correlated": correlated,
    "without variance": lambda rng, n: rng.standard_cauchy((n, DIMENSIONS)),
    "shares and zeros": shares_and_zeros,
    "a few kinds": lambda rng, n: rng.standard_normal((12, DIMENSIONS))[rng.integers(0, 12, n)],
    "always the same": lambda rng, n: np.full((n, DIMENSIONS), 0.25),
}


def hashes(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 2**63, n).astype(np.uint64)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("law", LAWS)
def test_independent_vectors_of_any_law_keep_the_budget(law: str, level: float) -> None:
    rng = np.random.default_rng(SEED)
    codes = direction_codes(LAWS[law](rng, EVENTS), hashes(rng, EVENTS), level)
    found = len(firings(codes))
    assert found <= poisson_limit(EVENTS / level)
    assert found > 0 or level > LEVELS[0], "nothing fires at all"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("law", LAWS)
def test_features_of_any_law_keep_one_budget_together(law: str, level: float) -> None:
    rng = np.random.default_rng(SEED)
    codes = features_codes(LAWS[law](rng, EVENTS), hashes(rng, EVENTS), level)
    assert 0 < len(firings(codes)) <= poisson_limit(EVENTS / level)


@pytest.mark.parametrize("level", LEVELS)
def test_new_streams_keep_the_budget(level: float) -> None:
    """Evidence has just begun to count, after the shortest warm-up."""
    rng, streams, length = np.random.default_rng(SEED), 100, 1500
    found = 0
    for _ in range(streams):
        found += len(firings(direction_codes(correlated(rng, length), hashes(rng, length), level)))
        found += len(firings(features_codes(shares_and_zeros(rng, length), hashes(rng, length), level)))
    assert found <= poisson_limit(2 * streams * length / level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("phi", [0.3, 0.6])
def test_vectors_that_follow_their_past_keep_the_budget(phi: float, level: float) -> None:
    """Approximate in theory: the variance inflation of block means divides the evidence."""
    rng = np.random.default_rng(SEED)
    x = lfilter([1.0], [1.0, -phi], rng.standard_normal((EVENTS, DIMENSIONS)), axis=0)
    assert len(firings(direction_codes(x, hashes(rng, EVENTS), level))) <= poisson_limit(EVENTS / level)


def explained(rng: np.random.Generator, given: Floats, noise: float = 1.0) -> Floats:
    """Vectors that are half explained by their conditioning vectors."""
    weights = np.random.default_rng(SEED).standard_normal((given.shape[1], DIMENSIONS)) / 2
    return np.asarray(given @ weights + noise * rng.standard_normal((len(given), DIMENSIONS)))


@pytest.mark.parametrize("level", LEVELS)
def test_residuals_keep_the_budget(level: float) -> None:
    rng = np.random.default_rng(SEED)
    given = rng.standard_normal((EVENTS, 4))
    codes = direction_codes(explained(rng, given), hashes(rng, EVENTS), level, given=given)
    assert len(firings(codes)) <= poisson_limit(EVENTS / level)


def test_the_count_sees_vectors_that_do_move() -> None:
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((EVENTS, DIMENSIONS))
    x[:, 3] += np.arange(EVENTS) // 1000 % 2
    assert len(firings(direction_codes(x, hashes(rng, EVENTS), 1e4))) > poisson_limit(EVENTS / 1e4)


def first_after(codes: Codes, change: int) -> float:
    """Events from a change to the first firing; infinite where there is none, or one before it."""
    found = firings(codes)
    return found[0] - change + 1 if found and found[0] >= change else math.inf


def test_a_shift_of_no_single_number_is_found_by_its_direction() -> None:
    """A quarter of a standard deviation in each of eight numbers; alone each would take hundreds of events."""
    rng, change = np.random.default_rng(SEED), 2000
    delays = []
    for _ in range(20):
        x = rng.standard_normal((3000, DIMENSIONS))
        x[change:] += 0.25 * np.sign(np.arange(DIMENSIONS) % 2 - 0.5)
        delays.append(first_after(direction_codes(x, hashes(rng, 3000)), change))
    assert np.median(delays) <= 120
    assert np.isfinite(delays).mean() >= 0.9


def test_a_change_of_conditioning_vectors_is_none_of_the_residuals() -> None:
    """The same change of vectors: unseen where the conditioning vectors explain it, found where they do not."""
    rng, change, n = np.random.default_rng(SEED), 1500, 2500
    unseen, found, marginal = 0, 0, 0
    for _ in range(20):
        given, events = rng.standard_normal((n, 4)), hashes(rng, n)
        given[change:] += 0.8
        x = explained(rng, given)
        unseen += math.isinf(first_after(direction_codes(x, events, given=given), change))
        marginal += math.isfinite(first_after(direction_codes(x, events), change))
        given[change:] -= 0.8  # now nothing explains it
        found += math.isfinite(first_after(direction_codes(x, events, given=given), change))
    assert (unseen, marginal, found) == (20, 20, 20)


def test_the_feature_that_moved_is_found() -> None:
    rng, change = np.random.default_rng(SEED), 1500
    delays = []
    for _ in range(20):
        x = rng.standard_normal((2100, DIMENSIONS))
        x[change:, 5] += 1.0
        delays.append(first_after(features_codes(x, hashes(rng, 2100)), change))
    assert np.median(delays) <= 40


def eventful(rng: np.random.Generator, n: int = 9000) -> Floats:
    """A life with a change that returns, two on top of each other, and one for good."""
    plan = [(0, 1500), (1, 300), (0, 1500), (1, 800), (3, 900), (0, 1200), (2, 2800)]
    level = np.repeat([float(step) for step, _ in plan], [events for _, events in plan])
    x = rng.standard_normal((n, 3))
    x[:, 1] += level
    x[:, 2] -= level
    return x


@pytest.mark.parametrize("kind", ["direction", "conditional", "features"])
def test_the_fast_path_is_the_detector_event_for_event(kind: str) -> None:
    rng = np.random.default_rng(SEED)
    x, uniforms = eventful(rng), rng.random((9000, 3)).tolist()
    given = rng.standard_normal((9000, 2))
    events = np.array([event_hash((a, b, c)) for a, b, c in uniforms], np.uint64)
    detector: Detector
    if kind == "direction":
        detector, codes = DirectionDetector(dimensions=3, level=1e3), direction_codes(x, events, 1e3)
    elif kind == "conditional":
        detector = ConditionalDetector(dimensions=3, conditioning_dimensions=2, level=1e3)
        codes = direction_codes(x, events, 1e3, given=given)
    else:
        detector, codes = FeaturesDetector(features=3, level=1e3), features_codes(x, events, 1e3)
    found, closed = [], []
    for t, (value, (a, b, c)) in enumerate(zip(x.tolist(), uniforms, strict=True)):
        if detector.update(value, uniforms=(a, b, c), covariates=tuple(given[t].tolist())):
            found.append(t)
        closed += [] if detector.open else [t]
    assert found == firings(codes)
    assert {RETURNED, NEXT} <= set(codes.tolist())
    assert set(np.flatnonzero(codes == RETURNED).tolist()) <= set(closed)
