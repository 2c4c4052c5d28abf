"""The expected value given clock and covariates: used only where it explains something, too late to hide a change."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors import NumericDetector
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.numeric import season
from leeboard.detectors.numeric.dependence import LAG
from leeboard.detectors.numeric.season import (
    CLOCK,
    CLOCK_FEATURES,
    DAILY_FEATURES,
    FEATURES,
    MINUTES_A_WEEK,
    TWO_DAYS,
    TWO_WEEKS,
    minute_of_week,
)

from tests.detectors.streams import Arena, Floats, Integers, poisson_limit

DAY = 1440
SEEDS = range(20)
Single = npt.NDArray[np.float32]


@kernel
def adjust_all(state: Arena, y: Floats, minutes: Integers, covariates: Single, coefficients: Floats) -> Floats:
    """Columns: adjusted value, gate; `coefficients` (events x features) are written as they are after each event."""
    found = np.empty((y.size, 2))
    features, gain = np.zeros(FEATURES), np.zeros(FEATURES)
    for t in range(y.size):
        found[t, 0], _ = season.adjust(state[0], y[t], minutes[t], covariates[t], False, features, gain)
        found[t, 1] = state[0]["active"]
        coefficients[t] = state[0]["coefficients"]
    return found


def adjusted(y: Floats, minutes: Integers | None = None, tokens: Floats | None = None) -> tuple[Floats, Floats]:
    """Adjusted values and gate of every event, and the coefficients after it. `minutes`: from the stream's start."""
    state = np.zeros(1, season.regression_dtype(0 if tokens is None else season.COVARIATES))
    season.open_regression(state[0])
    of_week = np.full(y.size, -1) if minutes is None else minutes % MINUTES_A_WEEK
    covariates = np.zeros((y.size, 1), np.float32) if tokens is None else np.log1p(tokens).astype(np.float32)
    coefficients = np.zeros((y.size, state["coefficients"].shape[1]))
    return adjust_all(state, y, of_week, covariates, coefficients), coefficients


def daily(minutes: Integers) -> Floats:
    return np.sin(2 * math.pi * minutes / DAY) + 0.5 * np.cos(4 * math.pi * minutes / DAY)


def two_tokens(rng: np.random.Generator, events: int) -> Floats:
    z = rng.standard_normal((events, 2))
    return np.round(np.exp(np.array([6.4, 5.3]) + np.array([0.8, 0.6]) * z)) + 1


def noise(law: str, rng: np.random.Generator, events: int) -> Floats:
    if law == "normal":
        return rng.standard_normal(events)
    if law == "heavy tails":
        return np.arcsinh(16 * rng.standard_cauchy(events))
    x = rng.standard_normal(events)
    for t in range(1, events):
        x[t] = 0.5 * x[t - 1] + x[t]
    return x


@pytest.mark.parametrize("law", ["normal", "heavy tails", "autocorrelated"])
@pytest.mark.parametrize("spacing", [1, 5, 20])
def test_the_gate_stays_shut_where_there_is_no_season(law: str, spacing: int) -> None:
    for seed in SEEDS:
        y = noise(law, np.random.default_rng(seed), 6000)
        found, _ = adjusted(y, np.arange(6000) * spacing)
        assert not found[:, 1].any(), seed
        assert np.array_equal(found[:, 0], y), seed


def test_the_gate_opens_on_a_daily_cycle_after_two_days_and_takes_it_out() -> None:
    minutes = np.arange(10_000) * 2
    for seed in SEEDS:
        y = 0.8 * np.random.default_rng(seed).standard_normal(minutes.size) + daily(minutes)
        values, gate = adjusted(y, minutes)[0].T
        opened = minutes[int(np.argmax(gate))]
        assert 2 * DAY <= opened <= 4 * DAY, seed
        assert gate[minutes >= 4 * DAY].all(), seed
        late = minutes >= 6 * DAY
        assert abs(np.corrcoef(values[late], daily(minutes)[late])[0, 1]) < 0.15, seed
        assert np.corrcoef(y[late], daily(minutes)[late])[0, 1] > 0.6, seed


def test_the_gate_shuts_again_when_the_season_ends() -> None:
    minutes = np.arange(30_000) * 2
    amplitude = np.where(minutes < 10 * DAY, 1.0, 0.0)
    y = 0.5 * np.random.default_rng(1).standard_normal(minutes.size) + amplitude * daily(minutes)
    gate = adjusted(y, minutes)[0][:, 1]
    assert gate[minutes < 10 * DAY].any()
    assert not gate[-1]


@given(st.integers(0, MINUTES_A_WEEK - 1), st.integers(0, 5 * MINUTES_A_WEEK))
def test_no_harmonic_is_used_before_the_stream_has_lasted_two_of_its_periods(minute: int, elapsed: int) -> None:
    state, features = np.zeros(1, season.regression_dtype(0))[0], np.zeros(FEATURES)
    state["coefficients"][:] = [5, 1, 2, 4, 8, 16, 32]
    state["elapsed"] = elapsed
    season.fill_features(state, minute, np.zeros(1, np.float32), features)
    usable = CLOCK_FEATURES if elapsed >= TWO_WEEKS else DAILY_FEATURES if elapsed >= TWO_DAYS else 0
    products = state["coefficients"][1 : 1 + usable] * features[1 : 1 + usable]
    assert season.expected(state, features) == pytest.approx(products.sum(), abs=1e-9)


def test_calls_that_come_late_do_not_age_the_stream() -> None:
    """In log order the minutes go back and forth; a step back is not almost a week ahead."""
    minutes, rng = np.arange(1000) * 3, np.random.default_rng(2)
    state, features, gain = np.zeros(1, season.regression_dtype(0))[0], np.zeros(FEATURES), np.zeros(FEATURES)
    season.open_regression(state)
    for minute in (minutes - rng.integers(0, 10, 1000)).tolist():
        season.adjust(state, 1.0, minute % MINUTES_A_WEEK, np.zeros(1, np.float32), False, features, gain)
    assert state["elapsed"] == pytest.approx(minutes[-1], abs=10)


def test_the_intercept_is_never_subtracted() -> None:
    """Else a level that moved would be learned away."""
    state = np.zeros(1, season.regression_dtype(2))[0]
    state["coefficients"][0], state["elapsed"] = 7.0, TWO_WEEKS
    assert season.expected(state, np.ones(FEATURES)) == 0


@pytest.mark.parametrize("given_tokens", [False, True])
def test_the_regression_learns_nothing_from_an_event_until_64_later(given_tokens: bool) -> None:
    rng = np.random.default_rng(3)
    y, minutes = rng.standard_normal(1000), np.arange(1000) * 7
    tokens = two_tokens(rng, 1000) if given_tokens else None
    moved = y + 3.0 * (np.arange(1000) >= 600)
    _, coefficients = adjusted(y, minutes, tokens)
    _, others = adjusted(moved, minutes, tokens)
    same = (coefficients == others).all(axis=1)
    assert same[: 600 + LAG - 1].all()
    assert not same[600 + LAG + 1 :].any()


@pytest.mark.parametrize("curved", [False, True])
def test_given_tokens_a_value_no_longer_depends_on_them(curved: bool) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        tokens = two_tokens(rng, 6000)
        latency = 400 + 12 * tokens[:, 1] + (tokens[:, 0] / 100) ** 2 if curved else tokens[:, 1] ** 0.8
        y = np.log(latency) + 0.3 * rng.standard_normal(6000)
        values, gate = adjusted(y, None, tokens)[0].T
        assert gate[1000:].all(), seed
        for known in np.log1p(tokens[3000:]).T:
            assert abs(np.corrcoef(values[3000:], known)[0, 1]) < 0.1, seed
        assert abs(np.corrcoef(y[3000:], np.log1p(tokens[3000:, 1]))[0, 1]) > 0.5, seed
        assert values[3000:].std() == pytest.approx(0.3, abs=0.06), seed


def test_tokens_that_explain_nothing_leave_values_as_they_are() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        y = rng.standard_normal(4000)
        assert np.array_equal(adjusted(y, None, two_tokens(rng, 4000))[0][:, 0], y), seed


COSTS = {
    "exact function of both": lambda tokens: tokens @ [2.5e-6, 1e-5],
    "exact function of one": lambda tokens: tokens[:, 0] * 2.5e-6,
    "rounded to a hundredth of a cent": lambda tokens: np.round(tokens @ [2.5e-6, 1e-5], 4),
    "the same for every call": lambda tokens: tokens[:, 0] * 0 + 0.002,
}


@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_that_follows_from_the_tokens_keeps_the_budget(cost: str) -> None:
    """What is left of it is the error of the regression, which is no news either."""
    events, level, found = 3000, 1e3, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        tokens = two_tokens(rng, events)
        detector = NumericDetector(level=level, covariates=2)
        known, uniforms = np.log1p(tokens).tolist(), rng.random((events, 3)).tolist()
        for value, logs, u in zip(COSTS[cost](tokens).tolist(), known, uniforms, strict=True):
            found += detector.update(value, uniforms=tuple(u), covariates=tuple(logs)) is not None
        assert detector.refused == 0
    assert found <= poisson_limit(10 * events / level)


def test_given_tokens_a_price_that_rose_by_a_fifth_is_seen_at_once_and_longer_answers_are_not() -> None:
    rng = np.random.default_rng(5)
    tokens = two_tokens(rng, 2400)
    tokens[1500:2000, 1] *= 1.6
    cost = tokens @ [2.5e-6, 1e-5] * np.exp(0.1 * rng.standard_normal(2400))
    cost[2000:] *= 1.2
    detector, found = NumericDetector(level=1e4, covariates=2), []
    for t, (value, logs, u) in enumerate(
        zip(cost, np.log1p(tokens).tolist(), rng.random((2400, 3)).tolist(), strict=True)
    ):
        if detector.update(float(value), uniforms=tuple(u), covariates=tuple(logs)):
            found.append(t)
    assert found
    assert 2000 <= found[0] <= 2020, found


def first_firing_after(t: int, values: Floats, minutes: Integers, seed: int, *, seasonal: bool) -> float:
    detector = NumericDetector(level=1e4, seasonal=seasonal)
    uniforms = np.random.default_rng(seed).random((values.size, 3))
    for now, (value, u) in enumerate(zip(values.tolist(), uniforms.tolist(), strict=True)):
        if detector.update(value, uniforms=tuple(u), clock=int(minutes[now]) * 60_000) and now >= t:
            return now - t
    return math.inf


def test_given_the_clock_a_shift_is_found_that_the_daily_cycle_hides() -> None:
    minutes, delays = np.arange(7500) * 2, {}
    for seasonal in (False, True):
        found = []
        for seed in range(5):
            values = 5 + 0.2 * np.random.default_rng(seed).standard_normal(minutes.size) + 0.4 * daily(minutes)
            values[7000:] += math.log(1.6)
            found.append(first_firing_after(7000, np.exp(values), minutes, 100 + seed, seasonal=seasonal))
        delays[seasonal] = float(np.median(found))
    assert delays[True] <= 30, delays
    assert delays[False] > 3 * delays[True], delays


@given(st.integers(0, 4_000_000_000_000))
def test_minutes_of_the_week_start_on_monday_midnight(epoch_ms: int) -> None:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
    assert minute_of_week(epoch_ms) == time.weekday() * DAY + time.hour * 60 + time.minute


def test_the_clock_features_are_sines_of_day_and_week_without_a_mean() -> None:
    assert CLOCK.shape == (MINUTES_A_WEEK, CLOCK_FEATURES)
    assert CLOCK.mean(axis=0) == pytest.approx(np.zeros(CLOCK_FEATURES), abs=1e-9)
    assert (CLOCK**2).mean(axis=0) == pytest.approx(np.full(CLOCK_FEATURES, 0.5), abs=1e-6)
    assert np.abs(CLOCK[:DAY, :DAILY_FEATURES] - CLOCK[DAY : 2 * DAY, :DAILY_FEATURES]).max() < 1e-8
