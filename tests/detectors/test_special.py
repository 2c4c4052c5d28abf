"""The kernels' special functions against SciPy's, and the uniforms of events against their law."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors import event_uniforms, hash64
from leeboard.detectors.core.special import exp_bounded, log_normal_tail, normal_quantile, uniform
from scipy import special, stats

#: a test statistic beyond this quantile of its law under the null fails; the seeds are fixed
SURE = 1 - 1e-4
EVENTS = 20_000


def draws(events: np.ndarray, salt: int, k: int) -> np.ndarray:
    """Uniform k of so many events for one signal."""
    return np.array([uniform(event, np.uint64(salt), k) for event in events])


def hashed(prefix: str) -> np.ndarray:
    """Event hashes of consecutive ids, as a counter in the app would give them."""
    return np.array([hash64(f"{prefix}{n}") for n in range(EVENTS)], np.uint64)


def is_uniform(u: np.ndarray) -> bool:
    return bool(stats.kstest(u, "uniform").pvalue > 1 - SURE)


def are_independent(u: np.ndarray, v: np.ndarray) -> bool:
    """Chi-square over a grid of 16 x 16 cells, with the margins known."""
    cells, _, _ = np.histogram2d(u, v, bins=16, range=[[0, 1], [0, 1]])
    expected = u.size / 256
    return bool(((cells - expected) ** 2 / expected).sum() < stats.chi2(255).ppf(SURE))


def test_exp_bounded_is_exp_to_nine_digits_wherever_a_bet_can_reach() -> None:
    for x in np.linspace(-12, 12, 5001).tolist():
        assert exp_bounded(x) == pytest.approx(math.exp(x), rel=1e-9)


def test_exp_bounded_grows() -> None:
    values = [exp_bounded(x) for x in np.linspace(-12, 12, 5001).tolist()]
    assert all(low < high for low, high in pairwise(values))


def test_normal_quantile_inverts_the_normal_distribution() -> None:
    tails = np.logspace(-12, math.log10(0.5), 2000)
    for p in np.concatenate([tails, 1 - tails[tails > 1e-4]]).tolist():
        assert normal_quantile(p) == pytest.approx(special.ndtri(p), rel=2e-9, abs=1e-12)


def test_normal_quantile_is_finite_for_any_number() -> None:
    for p in (0.0, 1.0, -1.0, 2.0, 1e-300, 5e-324):
        assert 7 < abs(normal_quantile(p)) < 8


@given(st.floats(1e-12, 1 - 1e-12), st.floats(1e-12, 1 - 1e-12))
def test_normal_quantile_keeps_order(p: float, q: float) -> None:
    low, high = sorted((p, q))
    assert normal_quantile(low) <= normal_quantile(high) + 1e-8


def test_log_normal_tail_follows_the_normal_tail_far_out() -> None:
    for z in np.linspace(0, 60, 1201).tolist():
        assert log_normal_tail(z) == pytest.approx(special.log_ndtr(-z), rel=1e-12, abs=3e-5)
        if z < 20:
            assert log_normal_tail(z) == pytest.approx(special.log_ndtr(-z), rel=1e-10)


def test_log_normal_tail_falls_everywhere_also_where_its_two_formulas_meet() -> None:
    values = [log_normal_tail(z) for z in np.linspace(0, 40, 4001).tolist()]
    assert all(high > low for high, low in pairwise(values))


@pytest.mark.parametrize("k", range(3))
def test_the_uniforms_of_consecutive_ids_are_uniform(k: int) -> None:
    u = draws(hashed("call-"), hash64("latency_ms"), k)
    assert 0 < u.min() < u.max() < 1
    assert is_uniform(u)


@pytest.mark.parametrize(("j", "k"), [(0, 1), (0, 2), (1, 2)])
def test_the_three_uniforms_of_an_event_are_independent(j: int, k: int) -> None:
    events, salt = hashed("req_"), hash64("cost_usd")
    assert are_independent(draws(events, salt, j), draws(events, salt, k))


@pytest.mark.parametrize("k", range(3))
def test_the_uniforms_of_neighbouring_events_are_independent(k: int) -> None:
    u = draws(hashed("call-"), hash64("error"), k)
    assert are_independent(u[:-1], u[1:])


def test_the_uniforms_of_an_event_for_two_signals_are_independent() -> None:
    events = hashed("call-")
    first, second = (draws(events, hash64(name), 0) for name in ("latency_ms", "latency_given_tokens"))
    assert are_independent(first, second)


def test_even_without_a_hash_consecutive_events_and_salts_are_spread() -> None:
    """The mixer alone does it, so that nothing hangs on how an id was hashed."""
    counted = np.arange(EVENTS, dtype=np.uint64)
    u = draws(counted, 0, 0)
    assert is_uniform(u)
    assert are_independent(u[:-1], u[1:])
    assert are_independent(u, draws(counted, 1 << 40, 0))
    assert is_uniform(np.array([uniform(np.uint64(7), np.uint64(salt), 1) for salt in range(EVENTS)]))


def test_event_uniforms_are_the_kernels_uniforms_of_the_hashed_id() -> None:
    event, salt = np.uint64(hash64("call-17")), np.uint64(hash64("ttft_ms"))
    assert event_uniforms("call-17", "ttft_ms") == tuple(uniform(event, salt, k) for k in range(3))


@given(st.text(), st.text())
def test_any_id_and_name_have_uniforms(event_id: str, name: str) -> None:
    assert all(0 < u < 1 for u in event_uniforms(event_id, name))
    assert event_uniforms(event_id, name) == event_uniforms(event_id, name)


def test_an_id_that_is_no_valid_text_has_uniforms_too() -> None:
    assert all(0 < u < 1 for u in event_uniforms("\ud800", "error"))


def test_the_independence_check_finds_dependence() -> None:
    u = draws(hashed("call-"), 1, 0)
    assert not are_independent(u[:-1], 0.95 * u[1:] + 0.05 * u[:-1])
    assert not is_uniform(u**1.05)
