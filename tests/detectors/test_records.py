"""Bets on records: at most their part of the budget for any law, and soon won by a stream that leaves its range."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.lifecycle import RECENT_VALUES
from leeboard.detectors.numeric.dependence import LAG
from leeboard.detectors.numeric.records import (
    HITS_NEEDED,
    MARGIN,
    NEEDED,
    RECORDS,
    WEIGHT,
    bet_on_records,
    clear_records,
    restart_records,
)

from tests.detectors.streams import Arena, Floats, poisson_limit

SEED = 19


@kernel
def play(records: Arena, y: Floats, ring: npt.NDArray[np.float32], level: float, wealth: Floats) -> int:
    """Weighted wealth after every value; how often they reach the level, after which they start again."""
    crossed = 0
    for t in range(y.size):
        wealth[t], _ = bet_on_records(records[0], ring, y[t], t)
        ring[t % ring.size] = y[t]
        if wealth[t] >= level:
            crossed += 1
            clear_records(records[0])
    return crossed


def played(y: Floats, level: float = math.inf) -> tuple[int, Floats, np.void]:
    records, wealth = np.zeros(1, RECORDS), np.zeros(y.size)
    crossed = play(records, y, np.zeros(RECENT_VALUES, np.float32), level, wealth)
    return crossed, wealth, records[0]


LAWS = {
    "light tails": lambda rng, n: 5 * rng.standard_normal(n),
    "tails so long that the margin is nothing": lambda rng, n: 1000 * rng.exponential(1, n),
    "a few values far out": lambda rng, n: np.where(rng.random(n) < 0.01, 50 * rng.random(n), rng.random(n)),
    "both sides": lambda rng, n: 1000 * rng.laplace(0, 1, n),
}


@pytest.mark.parametrize("events", [300, 3000])
@pytest.mark.parametrize("law", LAWS)
def test_exchangeable_values_win_their_part_of_the_budget_at_most(law: str, events: int) -> None:
    """E[crossings in n events] <= n x weight of both sides / level, for any law and any length of the stream."""
    rng, level, total = np.random.default_rng(SEED), 1.0, 600_000
    crossed = sum(played(LAWS[law](rng, events), level)[0] for _ in range(total // events))
    assert crossed <= poisson_limit(total * 2 * WEIGHT / level)


def test_values_that_triple_after_150_events_win_a_level_of_ten_thousand_soon() -> None:
    rng = np.random.default_rng(SEED)
    logs = 0.3 * rng.standard_normal(180)
    logs[150:] += math.log(3)
    _, wealth, _ = played(logs)
    assert wealth[:150].max() < 10
    assert wealth[150:165].max() >= 1e4


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_few_values_far_out_are_outliers_and_win_nothing(sign: float) -> None:
    logs = 0.3 * np.random.default_rng(SEED).standard_normal(1000)
    logs[700 : 700 + HITS_NEEDED - 1] = 20 * sign
    assert played(logs)[1].max() == 0
    logs[700 : 700 + HITS_NEEDED] = 20 * sign
    assert played(logs)[1].max() > 1


def test_values_just_beyond_the_record_are_no_hits() -> None:
    logs = np.random.default_rng(SEED).random(600)
    logs[500:530] = 1 + 0.9 * MARGIN
    assert played(logs)[1].max() == 0


def test_a_new_stream_and_a_restarted_one_claim_nothing() -> None:
    new = np.repeat([0.0, 100.0], [NEEDED + LAG - 20, 19])
    assert played(new)[1].max() == 0
    assert played(np.concatenate([np.zeros(1), new]))[1].max() == 0
    assert played(np.concatenate([np.zeros(20), new]))[1].max() > 0
    _, _, records = played(np.random.default_rng(SEED).random(500))
    restart_records(records)
    assert bet_on_records(records, np.zeros(RECENT_VALUES, np.float32), 1e6, 500)[0] == 0
