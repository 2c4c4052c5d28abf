"""Prewhitening removes autocorrelation, late enough for a change to stay; blocks know their long-run variance."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors.core import ranks
from leeboard.detectors.core.betting import BETS, CLIP
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.ranks import REFERENCE
from leeboard.detectors.numeric import dependence
from leeboard.detectors.numeric.dependence import BLOCK_EVENTS, LAG, LEVEL_FEATURES, LONG_RUN, SCALES, WHITENER
from leeboard.detectors.numeric.kernels import clipped_score

from tests.detectors.streams import Arena, Floats, poisson_limit

SEED = 77
finite = st.floats(-30, 30)


@kernel
def whiten_all(refs: Arena, whitener: Arena, x: Floats, u: Floats) -> Floats:
    """Columns: score of every value, residual score; as `numeric.advance` makes them."""
    found = np.empty((x.size, 2))
    gain = np.zeros(BETS)
    for t in range(x.size):
        z = clipped_score(ranks.rank(refs[0], x[t], u[t, 0]))
        residual = dependence.whiten(whitener[0], z, True, gain[:LEVEL_FEATURES])
        found[t, 0] = z
        found[t, 1] = clipped_score(ranks.rank(refs[1], residual, u[t, 1]))
    return found


@kernel
def all_blocks(long_run: Arena, z: Floats) -> Floats:
    """Log level of the blocks that end at each event, for a reference that is old."""
    found = np.empty(z.size)
    for t in range(z.size):
        found[t] = dependence.block_evidence(long_run[0], z[t], t, -10_000)
    return found


def opened() -> npt.NDArray[np.void]:
    state = np.zeros(1, WHITENER)
    dependence.open_whitener(state[0])
    return state


def whitened(x: Floats, seed: int = SEED) -> tuple[Floats, np.void]:
    state = opened()
    u = np.random.default_rng(seed).random((x.size, 2))
    return whiten_all(np.zeros(2, REFERENCE), state, x, u), state[0]


def autoregressive(phi: float, events: int, rng: np.random.Generator) -> Floats:
    x, noise = np.zeros(events), rng.standard_normal(events)
    for t in range(1, events):
        x[t] = phi * x[t - 1] + math.sqrt(1 - phi * phi) * noise[t]
    return x


def correlation(x: Floats, lag: int = 1) -> float:
    return float(np.corrcoef(x[:-lag], x[lag:])[0, 1])


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.9])
def test_whitening_takes_autocorrelation_out(phi: float) -> None:
    found, _ = whitened(autoregressive(phi, 20_000, np.random.default_rng(SEED)))
    raw, residual = found[3000:].T
    assert correlation(raw) == pytest.approx(phi, abs=0.07)
    assert max(abs(correlation(residual, lag)) for lag in (1, 2, 5, 10)) < 0.05
    assert residual.std() == pytest.approx(1, abs=0.05)


def test_whitening_takes_clusters_of_large_moves_out() -> None:
    """Spread that comes and goes over 100 events: the energies of the residuals correlate less."""
    rng = np.random.default_rng(SEED)
    spread = np.exp(autoregressive(0.99, 30_000, rng) * 0.8)
    raw, residual = whitened(spread * rng.standard_normal(30_000))[0][5000:].T
    assert correlation(raw**2) > 0.2
    assert correlation(residual**2) < 0.5 * correlation(raw**2)


def test_a_stream_that_cannot_be_predicted_is_left_almost_as_it_is() -> None:
    found, state = whitened(np.random.default_rng(SEED).standard_normal(20_000))
    z, residual = found[3000:].T
    assert np.corrcoef(z, residual)[0, 1] > 0.98
    assert dependence.trust(state["level_cross"], state["level_power"]) < 0.5


def test_nothing_is_learned_from_an_event_until_64_later() -> None:
    """Two streams that part at one event teach the same for LAG events more, and not longer."""
    one, other = opened()[0], opened()[0]
    gain = np.zeros(BETS)
    scores = autoregressive(0.6, 600, np.random.default_rng(SEED)).clip(-CLIP, CLIP)
    learned = ("level_coefficients", "level_precision", "level_cross", "spread_coefficients", "spread_cross")
    for t, z in enumerate(scores.tolist()):
        dependence.whiten(one, z, True, gain)
        dependence.whiten(other, z if t < 500 else min(z + 1.5, CLIP), True, gain)
        same = all(np.array_equal(one[name], other[name]) for name in learned)
        assert same == (t < 500 + LAG), t


def test_nothing_at_all_is_learned_from_the_first_64_events_until_they_are_over() -> None:
    state, untouched, gain = opened()[0], opened()[0], np.zeros(BETS)
    for z in np.random.default_rng(SEED).standard_normal(LAG).tolist():
        dependence.whiten(state, z, True, gain)
    for name in ("level_coefficients", "level_precision", "spread_precision", "level_late"):
        assert np.array_equal(state[name], untouched[name])
    dependence.whiten(state, 0.0, True, gain)
    assert not np.array_equal(state["level_late"], untouched["level_late"])


def test_filters_that_only_run_teach_nothing() -> None:
    state, gain = opened()[0], np.zeros(BETS)
    for z in np.random.default_rng(SEED).standard_normal(300).tolist():
        dependence.whiten(state, z, False, gain)
    untouched = opened()[0]
    assert np.array_equal(state["level_coefficients"], untouched["level_coefficients"])
    assert np.array_equal(state["level_precision"], untouched["level_precision"])
    assert state["queued"] == 0
    assert state["level"].any()


def test_a_restart_forgets_the_course_and_keeps_what_was_learned() -> None:
    _, state = whitened(autoregressive(0.6, 2000, np.random.default_rng(SEED)))
    before = state.copy()
    dependence.restart_whitener(state)
    assert not state["level"].any()
    assert not state["spread_late"].any()
    assert state["queued"] == 0
    for name in ("level_coefficients", "level_precision", "level_power", "spread_coefficients"):
        assert np.array_equal(state[name], before[name])


def test_teaching_step_by_step_is_ridge_regression() -> None:
    rng = np.random.default_rng(SEED)
    features, targets = rng.standard_normal((400, 3)), rng.standard_normal(400)
    ridge = 30.0
    coefficients, precision, gain = np.zeros(3), np.eye(3) / ridge, np.zeros(3)
    for row, target in zip(features, targets.tolist(), strict=True):
        dependence.teach(coefficients, precision, row, target, gain)
    expected = np.linalg.solve(features.T @ features + ridge * np.eye(3), features.T @ targets)
    assert coefficients == pytest.approx(expected, rel=1e-9)


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_trust_is_a_share(cross: float, power: float) -> None:
    assert 0 <= dependence.trust(cross, power) <= 1


@given(st.floats(0, 1e6), st.floats(0, 200), st.floats(-1e6, 1e6), st.floats(-300, 300))
def test_past_blocks_can_only_lower_the_score_of_a_block(squares: float, blocks: float, cross: float, q: float) -> None:
    long_run = np.zeros(1, LONG_RUN)[0]
    long_run["squares"][0], long_run["blocks"][0], long_run["cross"][0] = squares, blocks, cross
    assert 0 <= dependence.student_score(long_run, 0, q) <= abs(q) + 1e-9
    assert dependence.block_variance(long_run, 0) >= 1


@pytest.mark.parametrize("level", [1e3, 1e4])
def test_blocks_of_independent_scores_claim_half_of_the_budget_at_most(level: float) -> None:
    events = 2_000_000
    z = np.random.default_rng(SEED).standard_normal(events).clip(-CLIP, CLIP)
    found = all_blocks(np.zeros(1, LONG_RUN), z)
    assert (found >= math.log(level)).sum() <= poisson_limit(0.5 * events / level)
    assert (found >= math.log(level)).sum() > 0


def test_blocks_of_an_autocorrelated_level_are_judged_by_their_long_run_variance() -> None:
    """Block means have been three times as far from 0 as independent ones from the beginning: no evidence."""
    rng = np.random.default_rng(SEED)
    z = (np.repeat(rng.standard_normal(4000) * 0.7, 64) + rng.standard_normal(256_000)).clip(-CLIP, CLIP)
    long_run = np.zeros(1, LONG_RUN)
    late = all_blocks(long_run, z)[100_000:]
    assert (late >= math.log(1e4)).sum() <= 3 * poisson_limit(0.5 * late.size / 1e4)
    assert dependence.block_variance(long_run[0], 1) > 10
    calm = np.zeros(1, LONG_RUN)
    all_blocks(calm, rng.standard_normal(256_000))
    visible, in_calm = (dependence.visible_shift(each[0], math.log(1e4)) for each in (long_run, calm))
    assert visible > 3 * in_calm


def test_a_small_lasting_shift_shows_in_the_long_blocks() -> None:
    rng = np.random.default_rng(SEED)
    z = rng.standard_normal(12_288)
    z[8192:] += 0.3
    found = all_blocks(np.zeros(1, LONG_RUN), z.clip(-CLIP, CLIP))
    assert found[:8192].max() < math.log(1e4)
    assert found[8192:].max() > math.log(1e4)


def test_a_new_reference_and_few_blocks_claim_nothing() -> None:
    long_run = np.zeros(1, LONG_RUN)[0]
    for t in range(3 * 16):
        assert dependence.block_evidence(long_run, 3.0, t, 0) == -math.inf


@given(st.lists(st.floats(-CLIP, CLIP), max_size=200), st.floats(0, 30))
def test_the_smallest_visible_shift_grows_with_the_claim(z: list[float], nats: float) -> None:
    long_run = np.zeros(1, LONG_RUN)[0]
    for t, score in enumerate(z):
        dependence.block_evidence(long_run, score, t, 0)
    lower, higher = (dependence.visible_shift(long_run, n) for n in (nats, nats + 1))
    assert 0 < lower <= higher
    assert math.isfinite(higher) == (len(z) >= 3 * BLOCK_EVENTS[0])


def test_clearing_blocks_keeps_the_memory_of_past_ones() -> None:
    long_run = np.zeros(1, LONG_RUN)
    all_blocks(long_run, np.random.default_rng(SEED).standard_normal(5000))
    before = long_run.copy()[0]
    dependence.clear_blocks(long_run[0])
    assert not long_run[0]["count"].any()
    assert np.array_equal(long_run[0]["squares"], before["squares"])
    assert (long_run[0]["blocks"][:SCALES] == before["blocks"]).all()
