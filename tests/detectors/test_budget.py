"""What the notice level of an owner and the fleet's page level cost, against DESIGN's figures."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors.core.budget import STEP_NATS, notice_nats, page_nats

events = st.integers(0, 10**9)
weeks = st.floats(0, 1e9)


def designed(events: int, events_per_week: float, notices_per_week: float) -> float:
    """The notice level before it is rounded: DESIGN, section 8."""
    return max(1e3, min(10 * events, 1e4), events_per_week / notices_per_week)


@given(events, weeks, st.floats(0.01, 100))
def test_a_notice_level_is_the_designed_one_rounded_up_by_at_most_a_quarter(
    events: int, week: float, notices: float
) -> None:
    ratio = math.exp(notice_nats(events, week, notices)) / designed(events, week, notices)
    assert 1 - 1e-9 <= ratio <= 1.25 + 1e-9


@given(events, events, weeks, weeks)
def test_a_notice_level_never_falls_while_events_grow(first: int, second: int, week: float, later: float) -> None:
    (few, many), (slow, fast) = sorted((first, second)), sorted((week, later))
    assert notice_nats(few, slow, 2.0) <= notice_nats(many, slow, 2.0) <= notice_nats(many, fast, 2.0)


def test_the_first_thousand_events_cost_a_third_of_a_false_notice_at_most() -> None:
    price = sum(math.exp(-notice_nats(n, float(n), 2.0)) for n in range(1, 1001))
    assert 0.2 < price <= 0.3305


@pytest.mark.parametrize("rate", [5e4, 1e6])
def test_a_busy_owner_costs_the_allowed_notices_a_week(rate: float) -> None:
    assert rate * math.exp(-notice_nats(10**8, rate, 2.0)) <= 2.0


def test_a_notice_level_moves_in_few_steps() -> None:
    """Every step makes all bets of an owner refresh their exponents."""
    levels = [notice_nats(n, float(n), 2.0) for n in range(1, 100_000)]
    steps = [after - before for before, after in pairwise(levels) if after != before]
    assert 5 < len(steps) < 25
    assert min(steps) >= STEP_NATS * (1 - 1e-9)


def test_the_page_level_is_the_events_that_share_a_page() -> None:
    assert page_nats(1e6, 1.0) == pytest.approx(math.log(1e6))
    assert page_nats(1e6, 10.0) == pytest.approx(math.log(1e5))
