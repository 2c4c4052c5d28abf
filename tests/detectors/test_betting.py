"""The bets: e-values of mean 1 at most while nothing changes, tempered before the event, within their budget."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors.core import betting
from leeboard.detectors.core.betting import (
    BETS,
    CLIP,
    CONTAMINATIONS,
    LOCATIONS,
    QUADRATIC,
    SPREADS,
    STEPS,
    WEALTH,
)
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.share import kernels as categorical
from scipy import special

from tests.detectors.streams import Floats, poisson_limit

#: quadrature on the table's own grid, five Gauss-Legendre points a cell
CELLS = np.arange(-CLIP, CLIP + 0.5 / STEPS, 1 / STEPS)
POINTS, POINT_WEIGHTS = np.polynomial.legendre.leggauss(5)
scores = st.floats(-CLIP, CLIP)


def new_wealth(nats_notice: float = math.log(1e3), nats_page: float = math.log(1e4)) -> npt.NDArray[np.void]:
    wealth = np.zeros(1, WEALTH)
    betting.claim(wealth[0], nats_notice, nats_page)
    return wealth


def log_bets(z: float) -> Floats:
    """Log e-values of all bets on one score."""
    logs = np.zeros(BETS)
    betting.bet(new_wealth()[0], z, 0, logs)
    return logs


def intended(z: float) -> list[float]:
    """The same from the definitions of the bets."""
    shifts = [d * z - d * d / 2 for d in LOCATIONS]
    spreads = [0.5 * z * z * (1 - 1 / (s * s)) - math.log(s) for s in SPREADS]
    return [*shifts, *spreads, *(math.log(1 - e + e * math.exp(d * z - d * d / 2)) for e, d in CONTAMINATIONS)]


@pytest.fixture(scope="module")
def integral() -> tuple[Floats, Floats]:
    """Log e-values (points x bets) and probabilities of a N(0,1) score that is clipped at +-CLIP."""
    middle = (CELLS[:-1] + CELLS[1:]) / 2
    z = (middle[:, None] + POINTS / (2 * STEPS)).ravel()
    inside = np.tile(POINT_WEIGHTS / (2 * STEPS), middle.size) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    z = np.concatenate([[-CLIP], z, [CLIP]])
    probabilities = np.concatenate([[special.ndtr(-CLIP)], inside, [special.ndtr(-CLIP)]])
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    return np.array([log_bets(each) for each in z.tolist()]), probabilities


@pytest.mark.parametrize("theta", [0.01, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_no_e_value_has_a_mean_above_1_while_scores_are_normal(integral: tuple[Floats, Floats], theta: float) -> None:
    logs, probabilities = integral
    means = probabilities @ np.exp(theta * logs)
    assert means.shape == (BETS,)
    assert (means <= 1 + 1e-9).all(), means
    assert (means > 0.4).all(), means


def test_untempered_bets_waste_little(integral: tuple[Floats, Floats]) -> None:
    """What clipping and the table cost: nothing for bets on small shifts, a third for that on the largest."""
    logs, probabilities = integral
    means = probabilities @ np.exp(logs)
    assert (means[[LOCATIONS.index(d) for d in (-0.6, -0.3, -0.15, 0.15, 0.3, 0.6)]] > 0.99).all(), means


@given(scores)
def test_the_e_values_are_those_of_the_bets_definitions_and_never_above_them(z: float) -> None:
    logs, exact = log_bets(z), intended(z)
    assert logs[:QUADRATIC] == pytest.approx(exact[:QUADRATIC], abs=1e-12)
    short = np.array(exact[QUADRATIC:]) - logs[QUADRATIC:]
    assert (short >= -1e-12).all()
    assert (short <= 2e-5).all()


def test_the_weights_of_the_bets_share_one_budget() -> None:
    assert betting.WEIGHTS.sum() == pytest.approx(1, abs=1e-12)
    assert categorical.RATIO_WEIGHTS.sum() == pytest.approx(1, abs=1e-12)
    assert betting.WEIGHTS.min() > 0
    assert categorical.RATIO_WEIGHTS.min() > 0


@given(st.floats(0, 200), st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.01, 60), st.floats(0.01, 60))
def test_tempering_grows_with_heights_and_with_the_claim_and_stays_in_range(
    finished: float, height: float, other: float, nats: float, claim: float
) -> None:
    (low, high), (lower, higher) = sorted((height, other)), sorted((nats, claim))
    theta = betting.temper(finished, low, lower)
    assert 0 < theta <= 1
    assert betting.temper(finished, high, lower) <= theta
    assert betting.temper(finished, low, higher) <= theta + 1e-12


@given(st.floats(0.5, 60), st.integers(0, 100))
def test_excursions_as_low_as_those_of_independent_scores_raise_the_exponent(nats: float, finished: int) -> None:
    """Independent scores leave a mean height of 1 nat above the floor."""
    assert betting.temper(finished + 1, finished + 1, nats) > betting.temper(finished, finished, nats)


@given(st.lists(scores, min_size=1, max_size=200), st.integers(0, 199))
def test_an_exponent_is_fixed_before_the_event_and_never_moves_inside_an_excursion(z: list[float], at: int) -> None:
    """Also where the levels that are claimed move in between (at event `at`)."""
    wealth, logs = new_wealth(), np.zeros(BETS)
    row = wealth[0]
    for t, score in enumerate(z):
        if t == at:
            inside = row["excursion"] > 0
            before = wealth.copy()[0]
            betting.claim(row, math.log(2e3), math.log(1e5))
            for name in ("theta_notice", "theta_page"):
                assert (row[name] == before[name])[inside].all()
                assert (row[name] < before[name])[~inside].all()
        before = wealth.copy()[0]
        betting.bet(row, score, t, logs)
        running = row["excursion"] > 0
        for process, name in (("notice", "theta_notice"), ("page", "theta_page")):
            assert row[process] == pytest.approx((before[process] + 1) * np.exp(before[name] * logs), rel=1e-8)
            assert (row[name] == before[name])[running].all()
            assert ((row[name] > 0) & (row[name] <= 1)).all()


def test_a_claim_made_inside_an_excursion_holds_from_its_end() -> None:
    wealth, logs = new_wealth(), np.zeros(BETS)
    row = wealth[0]
    up = LOCATIONS.index(0.6)
    betting.bet(row, 3.0, 0, logs)
    before = float(row["theta_page"][up])
    betting.claim(row, math.log(1e3), math.log(1e9))
    assert row["theta_page"][up] == before
    betting.bet(row, -3.0, 1, logs)
    betting.bet(row, -3.0, 2, logs)
    assert row["excursion"][up] == 0
    assert 0 < row["theta_page"][up] < before


def test_high_finished_excursions_of_the_stream_temper_its_bets() -> None:
    """A stream that went up by 2 sd for ten events, twenty times, believes such moves less."""
    wealth, logs = new_wealth(), np.zeros(BETS)
    up = LOCATIONS.index(1.2)
    before = float(wealth[0]["theta_notice"][up])
    for t in range(400):
        betting.bet(wealth[0], 2.0 if t % 20 < 10 else -2.0, t, logs)
    assert wealth[0]["finished"][up] == 20
    assert wealth[0]["theta_notice"][up] < 0.3 * before


def test_the_memory_of_excursions_is_bounded() -> None:
    wealth, logs = new_wealth(), np.zeros(BETS)
    for t in range(20_000):
        betting.bet(wealth[0], 3.0 if t % 10 < 2 else -2.0, t, logs)
    assert wealth[0]["finished"].max() == pytest.approx(betting.MEMORY)
    assert wealth[0]["heights"].max() < 20 * betting.MEMORY


def test_wealth_is_capped_far_above_every_level() -> None:
    wealth, logs = new_wealth(), np.zeros(BETS)
    for t in range(3000):
        betting.bet(wealth[0], CLIP, t, logs)
    for process in ("notice", "page"):
        assert np.isfinite(wealth[0][process]).all()
        assert 1e200 < wealth[0][process].max() <= betting.WEALTH_CAP


@kernel
def count_crossings(z: Floats, wealth: npt.NDArray[np.void], level: float) -> int:
    """Times that the weighted processes reach the level; all wealth is set to zero each time."""
    logs = np.zeros(BETS)
    crossed = 0
    for t in range(z.size):
        notice, _ = betting.bet(wealth[0], min(max(z[t], -CLIP), CLIP), t, logs)
        if notice >= level:
            crossed += 1
            betting.clear_wealth(wealth[0])
    return crossed


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("level", [1e2, 1e3, 1e4])
def test_normal_scores_cross_a_level_once_in_so_many_events_at_most(level: float, seed: int) -> None:
    """Ville's inequality for Shiryaev-Roberts processes: E[crossings in n events] <= n / level."""
    events = 500_000
    z = np.random.default_rng(seed).standard_normal(events)
    crossed = count_crossings(z, new_wealth(math.log(level), math.log(level)), level)
    assert crossed <= poisson_limit(events / level)


def test_scores_that_moved_cross_more_often_than_that() -> None:
    z = np.random.default_rng(3).standard_normal(50_000) + 0.5
    assert count_crossings(z, new_wealth(), 1e3) > 5 * poisson_limit(50)


def share_logs(hits: int, misses: int, hit: bool, u: float) -> Floats:
    row, logs = np.zeros(1, categorical.SHARE_STATE)[0], np.zeros(categorical.RATIO_BETS)
    row["hits"], row["misses"] = hits, misses
    categorical.share_log_e_values(row, hit, u, logs)
    return logs


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_an_e_value_of_a_share_has_a_mean_of_exactly_1_whatever_was_counted(hits: int, misses: int) -> None:
    """The rank is uniform and the bet has two outcomes: the probability of the better one is where their mean is 1."""
    at = min((hits + 0.5) / (hits + misses + 1), 0.5)
    win = np.exp(share_logs(hits, misses, True, 1e-9))
    lose = np.exp(share_logs(hits, misses, False, 1 - 1e-9))
    assert at * win + (1 - at) * lose == pytest.approx(np.ones(categorical.RATIO_BETS), abs=1e-11)
    assert (lose > 0.05).all()


@pytest.mark.parametrize("events", [30, 100, 1000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_over_exchangeable_events_an_e_value_has_a_mean_of_1_up_to_a_few_events(events: int, share: float) -> None:
    """Any of `events` + 1 events may be the last. The place of the bet knows which kind it was, by half an event: what
    that is worth falls with their number.
    """
    hits = max(1, round(share * (events + 1)))
    misses = events + 1 - hits
    means = np.zeros(categorical.RATIO_BETS)
    for hit, of_kind in ((True, hits), (False, misses)):
        steps = (np.arange(2 * of_kind) + 0.5) / (2 * of_kind)  # every outcome is constant on such a step of u
        outcomes = [share_logs(hits - hit, misses - (not hit), hit, u) for u in steps.tolist()]
        means += of_kind / (events + 1) * np.exp(outcomes).mean(axis=0)
    assert (means <= 1 + 5 / events).all(), means
    assert (means >= 1 - 25 / events).all(), means
