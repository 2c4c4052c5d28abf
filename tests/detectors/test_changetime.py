"""The change time: the best split of the recent scores, and how often its interval holds the truth."""

from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors.core.changetime import WIDTH_NATS, refine
from leeboard.detectors.numeric.dependence import RECENT

Scores = npt.NDArray[np.float64]
anything = st.lists(st.floats(-3.5, 3.5, width=32), min_size=1, max_size=300)


def ring(scores: Scores | list[float]) -> tuple[npt.NDArray[np.float32], int]:
    """The ring of newest scores after these, and their number."""
    newest = np.zeros(RECENT, np.float32)
    for n, z in enumerate(scores):
        newest[n % RECENT] = z
    return newest, len(scores)


def gains(scores: list[float], look_back: int) -> list[float]:
    """Log likelihood ratio of a level shift that began k events ago, for every k up to `look_back`."""
    totals = accumulate(list(reversed(scores[-RECENT:]))[: look_back + 1])
    return [total * total / (2 * (k + 1)) for k, total in enumerate(totals)]


@given(anything, st.integers(0, 200))
def test_the_estimate_is_the_most_likely_split_and_the_interval_all_that_come_near(
    scores: list[float], look_back: int
) -> None:
    estimate, earliest, latest = refine(*ring(scores), look_back)
    found = gains(scores, look_back)
    near = [k for k, gain in enumerate(found) if gain >= max(found) - WIDTH_NATS]
    assert estimate == found.index(max(found))
    assert (earliest, latest) == (max(near), min(near))


@given(anything, st.integers(0, 200))
def test_the_interval_holds_the_estimate_and_nothing_that_was_not_seen(scores: list[float], look_back: int) -> None:
    estimate, earliest, latest = refine(*ring(scores), look_back)
    assert 0 <= latest <= estimate <= earliest < min(RECENT, len(scores), look_back + 1)


def test_without_scores_the_change_is_the_newest_event() -> None:
    assert refine(*ring([]), 10) == (0, 0, 0)


@pytest.mark.parametrize(("shift", "since", "error"), [(1.0, 25, 4), (2.0, 8, 1), (-1.0, 60, 4)])
def test_a_shift_is_dated_and_the_interval_holds_the_truth(shift: float, since: int, error: int) -> None:
    rng = np.random.default_rng(11)
    errors, held = [], 0
    for _ in range(300):
        scores = rng.standard_normal(400)
        scores[-since:] += shift
        estimate, earliest, latest = refine(*ring(scores.clip(-3.5, 3.5)), 127)
        errors.append(abs(estimate - (since - 1)))
        held += latest <= since - 1 <= earliest
    assert np.median(errors) <= error
    assert held >= 0.85 * 300
