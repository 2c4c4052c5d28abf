"""An open change: its frozen reference is what was before, its watcher what came since; return, acceptance, steps."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors.core import lifecycle, ranks
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.lifecycle import RECENT_VALUES, RETURN_BLOCK
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.share import kernels as categorical

Arena = npt.NDArray[np.void]
SEED = 23
OLD, NEW = 600, 25
NEVER = 1e9
SCRATCH = np.zeros(BETS)


def numbers(events: list[float]) -> tuple[Arena, Arena]:
    """Row 0 has seen these transformed values, and opened nothing."""
    rows, frozen = np.zeros(2, numeric.NUMERIC_STATE), np.zeros(1, numeric.FROZEN_NUMERIC_STATE)
    numeric.open_row(rows[0], math.log(1e3), math.log(1e4))
    feed(rows, frozen, events)
    return rows, frozen


def feed(rows: Arena, frozen: Arena, events: list[float]) -> list[int]:
    uniforms = np.random.default_rng(SEED).random((len(events), 2)).tolist()
    pairs = zip(events, uniforms, strict=True)
    return [numeric.observe(rows, 0, frozen, y, u, v, NEVER, SCRATCH) for y, (u, v) in pairs]


def normal(mean: float, events: int, seed: int = SEED) -> list[float]:
    values: list[float] = np.random.default_rng(seed).normal(mean, 1, events).astype(np.float32).tolist()
    return values


def opened(floor: float = 0.0) -> tuple[Arena, Arena, list[float], list[float]]:
    old, new = normal(10, OLD), normal(12, NEW)
    rows, frozen = numbers([*old, *new])
    numeric.open_change(rows, 0, 1, frozen, 0, OLD, floor, SCRATCH)
    return rows, frozen, old, new


def known(reference: np.void) -> tuple[int, float, float]:
    return int(reference["seen"]), ranks.mean(reference), ranks.variance(reference)


def law(values: list[float]) -> tuple[int, object, object]:
    return len(values), pytest.approx(np.mean(values)), pytest.approx(np.var(values, ddof=1), rel=1e-4)


def test_the_frozen_reference_is_what_was_before_the_change_and_the_watcher_what_came_since() -> None:
    rows, frozen, old, new = opened()
    assert known(frozen[0]["reference"]) == law(old)
    assert known(rows[1]["reference"]) == law(new)
    assert numeric.shift(rows, 0, frozen) == pytest.approx(np.mean(new) - np.mean(old))
    assert rows[1]["log_notice"] == -math.inf
    assert rows[1]["surcharge_notice"] == rows[0]["surcharge_notice"] + 1


def test_opening_a_change_leaves_the_process_that_found_it_undisturbed() -> None:
    """It alone carries the evidence from notice to page."""
    rows, _, old, new = opened()
    alone, frozen = numbers([*old, *new])
    for name in ("reference", "residuals", "whitener", "long_run", "wealth", "log_notice", "log_page", "events"):
        assert np.array_equal(rows[0][name], alone[0][name]), name
    later = normal(12, 30, 3)
    feed(rows, np.zeros(1, numeric.FROZEN_NUMERIC_STATE), later)
    feed(alone, frozen, later)
    assert rows[0]["log_page"] == alone[0]["log_page"]


def test_a_return_gives_the_old_references_back() -> None:
    rows, frozen, old, _ = opened()
    feed(rows, frozen, normal(10, 40, 5))
    numeric.restore_number(rows, 0, frozen)
    assert known(rows[0]["reference"]) == law(old)
    assert (rows[0]["watcher"], rows[0]["frozen"], rows[0]["retained"]) == (-1, -1, -1)
    assert rows[0]["log_notice"] == -math.inf
    assert rows[0]["surcharge_notice"] > 0.9


@pytest.mark.parametrize(("level", "comes_back"), [(10.0, True), (12.0, False), (11.2, False)])
def test_the_return_test_tells_the_old_level_from_others(level: float, comes_back: bool) -> None:
    returns = 0
    for seed in range(30):
        rows, frozen, _, _ = opened()
        returns += numeric.RETURNED in feed(rows, frozen, normal(level, 200, 100 + seed))
    assert returns >= 27 if comes_back else returns <= 3


def test_accepting_makes_the_watcher_the_process() -> None:
    rows, frozen, _, new = opened()
    later = normal(12, 100, 6)
    feed(rows, frozen, later)
    watcher = rows[1].copy()
    lifecycle.accept(rows, 0)
    assert known(rows[0]["reference"]) == known(watcher["reference"]) == law([*new, *later])
    assert (rows[0]["watcher"], rows[0]["frozen"], rows[0]["retained"]) == (-1, -1, -1)


def test_after_a_change_too_small_to_matter_the_next_is_measured_from_the_same_reference() -> None:
    """So that drift in small steps cannot hide."""
    rows, frozen, old, new = opened(floor=5.0)
    lifecycle.close_immaterial(rows, 0)
    assert (rows[0]["frozen"], rows[0]["retained"]) == (-1, 0)
    later = normal(14, 60, 7)
    feed(rows, frozen, later)
    numeric.open_change(rows, 0, 1, frozen, rows[0]["retained"], OLD + NEW, 5.0, SCRATCH)
    assert known(frozen[0]["reference"]) == law(old)
    assert numeric.shift(rows, 0, frozen) == pytest.approx(np.mean(later) - np.mean(old))
    assert known(rows[0]["reference"]) == law([*new, *later])


def test_the_next_change_keeps_the_oldest_frozen_reference() -> None:
    rows, frozen, old, _ = opened()
    later = normal(15, 40, 8)
    feed(rows, frozen, later)
    rows[1]["change"] = OLD + NEW
    numeric.supersede(rows, 0, frozen, 0.0, SCRATCH)
    assert known(frozen[0]["reference"]) == law(old)
    assert known(rows[1]["reference"]) == law(later)
    assert (rows[0]["watcher"], rows[0]["frozen"]) == (1, 0)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_block_of_the_return_test_is_as_long_as_the_change_took_within_bounds(since: int, took: int) -> None:
    length = lifecycle.return_block(since + took, since)
    assert length == min(max(took, RETURN_BLOCK[0]), RETURN_BLOCK[1])


said = st.lists(st.booleans(), min_size=1, max_size=300)


@given(said, st.lists(st.booleans(), min_size=1, max_size=RECENT_VALUES))
def test_the_counts_of_a_share_are_split_at_the_change(old: list[bool], new: list[bool]) -> None:
    rows, frozen = np.zeros(2, categorical.SHARE_STATE), np.zeros(1, categorical.FROZEN_SHARE_STATE)
    categorical.open_share(rows[0], 0, False, math.log(1e3), math.log(1e4))
    for t, hit in enumerate([*old, *new]):
        categorical.advance_share(rows[0], hit, (t % 7 + 0.5) / 7, np.zeros(categorical.RATIO_BETS))
    categorical.open_share_change(rows, 0, 1, frozen, 0, len(old), 0.0)
    assert (frozen[0]["hits"], frozen[0]["misses"]) == (sum(old), len(old) - sum(old))
    assert (rows[1]["hits"], rows[1]["misses"]) == (sum(new), len(new) - sum(new))
    assert categorical.share_shift(rows, 0, frozen) == pytest.approx(np.mean(new) - np.mean(old))
    categorical.restore_share(rows, 0, frozen)
    assert (rows[0]["hits"], rows[0]["misses"]) == (sum(old), len(old) - sum(old))
    assert rows[0]["frozen"] == -1


def test_a_category_that_comes_late_has_missed_all_earlier_events() -> None:
    row = np.zeros(1, categorical.SHARE_STATE)[0]
    categorical.open_share(row, 40, False, 7.0, 9.0)
    categorical.count_share(row, True)
    assert (row["events"], row["hits"], row["misses"]) == (41, 1, 40)
    assert categorical.hits_since(row, 30) == (1, 11)
