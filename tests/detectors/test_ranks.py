"""Sequential ranks: uniform and independent for any law, exact in both tails, and reversible."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leeboard.detectors.core import ranks
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.ranks import BINS, EDGES, EXACT, HIGH, LADDER, LOW, REFERENCE
from leeboard.detectors.numeric import kernels as numeric
from scipy import stats

from tests.detectors.streams import Arena, Floats

SEED = 20261124
STREAMS, EVENTS = 400, 1200
#: a test statistic beyond this quantile of its law under the null fails; the seed is fixed
SURE = 1 - 1e-4
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
uniforms = st.floats(1e-9, 1 - 1e-9)


@kernel
def rank_all(refs: Arena, rows: Arena, x: Floats, u: Floats, v: Floats) -> Floats:
    """Ranks of every stream (row of x); with rows, values are dithered as `NumericDetector` does it."""
    found = np.empty(x.shape)
    for s in range(x.shape[0]):
        for t in range(x.shape[1]):
            y = x[s, t]
            if rows.size:
                y = numeric.prepare_number(rows[s], y, u[s, t], True, numeric.DITHER)
            found[s, t] = ranks.rank(refs[s], y, v[s, t])
    return found


def ranked(x: Floats, rng: np.random.Generator, *, dithered: bool = True) -> Floats:
    rows = np.zeros(x.shape[0] if dithered else 0, numeric.NUMERIC_STATE)
    return rank_all(np.zeros(x.shape[0], REFERENCE), rows, x, rng.random(x.shape), rng.random(x.shape))


def reference(values: npt.ArrayLike, v: float = 0.5) -> np.void:
    ref = np.zeros(1, REFERENCE)[0]
    for y in np.asarray(values, float).tolist():
        ranks.rank(ref, y, v)
    return ref


def laws(rng: np.random.Generator) -> dict[str, Floats]:
    shape = (STREAMS, EVENTS)
    return {
        "normal": rng.standard_normal(shape),
        "heavy tails on both sides": rng.standard_cauchy(shape),
        "a tail of infinite variance": rng.pareto(1.2, shape),
        "counts": rng.poisson(2, shape).astype(float),
        "four in five are zero": np.where(rng.random(shape) < 0.8, 0.0, rng.exponential(100, shape).round()),
        "yes and no": (rng.random(shape) < 0.03).astype(float),
        "constant": np.full(shape, 7.0),
    }


@pytest.fixture(scope="module")
def all_ranks() -> dict[str, Floats]:
    rng = np.random.default_rng(SEED)
    return {name: ranked(x, rng) for name, x in laws(rng).items()}


LAWS = tuple(laws(np.random.default_rng(SEED)))


@pytest.mark.parametrize("law", LAWS)
def test_ranks_are_uniform_for_any_law(all_ranks: dict[str, Floats], law: str) -> None:
    u = all_ranks[law]
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1 - SURE, SEED


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("event", [0, 1, 30, EXACT - 1, EXACT, EXACT + 1, EXACT + 40, EVENTS - 1])
def test_the_rank_of_every_event_is_uniform_over_streams(all_ranks: dict[str, Floats], law: str, event: int) -> None:
    """Also where the exact ranks end and the bins begin."""
    assert stats.kstest(all_ranks[law][:, event], "uniform").pvalue > 1 - SURE, SEED


@pytest.mark.parametrize("law", LAWS)
def test_ranks_are_uniform_far_into_both_tails(all_ranks: dict[str, Floats], law: str) -> None:
    u = all_ranks[law][:, EXACT:].ravel()
    for p in (1e-3, 1e-4):
        low, high = stats.poisson.ppf([(1 - SURE) / 2, (1 + SURE) / 2], u.size * p)
        assert low <= (u < p).sum() <= high, SEED
        assert low <= (u > 1 - p).sum() <= high, SEED


@pytest.mark.parametrize("law", LAWS)
def test_neighbouring_ranks_are_independent(all_ranks: dict[str, Floats], law: str) -> None:
    first, second = all_ranks[law][:, :-1].ravel(), all_ranks[law][:, 1:].ravel()
    cells, _, _ = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])
    expected = first.size / 100
    assert ((cells - expected) ** 2 / expected).sum() < stats.chi2(99).ppf(SURE), SEED
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size), SEED


def test_without_dither_long_runs_of_ties_are_not_uniform() -> None:
    """Why `prepare` dithers; the check of uniformity sees it."""
    u = ranked(np.full((5, EVENTS), 7.0), np.random.default_rng(SEED), dithered=False)
    assert stats.kstest(u[:, EXACT:].ravel(), "uniform").pvalue < 1e-12


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=EXACT), uniforms)
def test_ties_share_their_ranks_exactly_in_the_warm_up_of_a_reference(values: list[float], v: float) -> None:
    ref, past = np.zeros(1, REFERENCE)[0], np.zeros(0)
    for y in values:
        below, equal = (past < y).sum(), (past == y).sum()
        assert ranks.rank(ref, y, v) == pytest.approx((below + v * (equal + 1)) / (past.size + 1), abs=1e-12)
        past = np.append(past, y)


@pytest.mark.parametrize("seed", [1, 2, 3, 5])
def test_the_ladders_give_the_extremes_their_full_ranks(seed: int) -> None:
    """Brute force: beyond the outer edges a rank is that among all values; inside it lies within its bin."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(4000).astype(np.float32)
    ref = reference(values[:EXACT])
    edges = ref["values"][:EDGES].copy()
    exact = 0
    for t in range(EXACT, values.size):
        past, y = values[:t], values[t]
        place = ranks.rank(ref, float(y), 0.5) * (t + 1)
        below, above = int((past < y).sum()), int((past > y).sum())
        b = int(np.searchsorted(edges, y))
        if (b == 0 and below < LADDER) or (b == EDGES and above < LADDER):
            exact += 1
            assert place == pytest.approx(below + 0.5, abs=1e-6)
            continue
        left = int((past <= edges[b - 1]).sum()) if b > 0 else 0
        right = int((past <= edges[b]).sum()) if b < EDGES else t + 1
        assert left < place < right
    assert exact >= 10


def test_the_ladders_hold_the_extremes_in_order() -> None:
    values = np.random.default_rng(5).standard_normal(20_000).astype(np.float32)
    ref = reference(values)
    assert (ref["highs"], ref["lows"]) == (LADDER, LADDER)
    assert ref["values"][HIGH : HIGH + LADDER].tolist() == np.sort(values)[-LADDER:].tolist()
    assert ref["values"][LOW : LOW + LADDER].tolist() == np.sort(values)[:LADDER].tolist()


@pytest.mark.parametrize("events", [1, 7, EXACT - 2])
def test_forget_undoes_rank_exactly_in_the_warm_up_of_a_reference(events: int) -> None:
    values = np.random.default_rng(events).integers(0, 40, events).astype(float)
    for y in (values[0], -1.0, 17.5, 99.0):
        ref, before = reference(values), reference(values)
        ranks.rank(ref, y, 0.3)
        assert ref["seen"] == events + 1
        ranks.forget(ref, y)
        assert ref["values"][:events].tolist() == before["values"][:events].tolist()
        assert [ref[name] for name in ("seen", "total", "frozen")] == [
            before[name] for name in ("seen", "total", "frozen")
        ]
        assert (ref["sum"], ref["squares"]) == pytest.approx((before["sum"], before["squares"]))


def test_forget_takes_every_value_back_in_any_order() -> None:
    values = np.random.default_rng(6).standard_normal(200).astype(np.float32)
    ref = reference(values)
    for y in np.random.default_rng(7).permutation(values).tolist():
        ranks.forget(ref, y)
    assert ref["seen"] == 0
    assert ref["sum"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("y", [-50.0, -2.0, 0.01, 1.0, 50.0])
def test_forget_undoes_the_counts_of_rank_in_a_frozen_reference(y: float) -> None:
    ref = reference(np.random.default_rng(8).standard_normal(2000))
    before = ref.copy()
    ranks.rank(ref, y, 0.5)
    assert ref["gaps"].tolist() != before["gaps"].tolist()
    ranks.forget(ref, y)
    for name in ("gaps", "seen", "total"):
        assert np.array_equal(ref[name], before[name])
    assert (ref["sum"], ref["squares"]) == pytest.approx((before["sum"], before["squares"]))


def test_forget_leaves_alone_what_was_never_seen() -> None:
    ref = reference([1.0, 2.0, 3.0])
    before = ref.copy()
    ranks.forget(ref, 2.5)
    assert ref.tobytes() == before.tobytes()
    empty = np.zeros(1, REFERENCE)[0]
    ranks.forget(empty, 1.0)
    assert empty["seen"] == 0


@pytest.mark.parametrize("events", [10, 254, 255, 3000])
def test_a_frozen_rank_leaves_the_reference_as_it_was(events: int) -> None:
    rng = np.random.default_rng(events)
    ref = reference(rng.standard_normal(events))
    before = ref.tobytes()
    u = [ranks.rank_frozen(ref, float(y), 0.5) for y in rng.standard_normal(2000)]
    assert ref.tobytes() == before
    assert 0 < min(u) < max(u) < 1
    assert abs(np.mean(u) - 0.5) < 4 * (0.29 / np.sqrt(2000) + 0.29 / np.sqrt(events))


@pytest.mark.parametrize("events", [1, 2, 101, 255, 5000])
def test_mean_variance_and_median_are_those_of_the_values(events: int) -> None:
    values = np.random.default_rng(events).lognormal(0, 0.5, events).astype(np.float32).astype(float)
    ref = reference(values)
    assert ranks.mean(ref) == pytest.approx(values.mean(), rel=1e-9)
    assert ranks.variance(ref) == pytest.approx(values.var(ddof=1) if events > 1 else 0.0, rel=1e-6)
    if events < EXACT and events % 2:
        assert ranks.median(ref) == pytest.approx(np.median(values), rel=1e-6)
    else:
        near = np.quantile(values, [0.47, 0.53], method="nearest") if events > 10 else [values.min(), values.max()]
        assert near[0] <= ranks.median(ref) <= near[1]


def test_an_empty_reference_has_no_mean_and_no_median() -> None:
    ref = np.zeros(1, REFERENCE)[0]
    assert np.isnan([ranks.mean(ref), ranks.median(ref)]).all()
    assert ranks.variance(ref) == 0


def test_a_cleared_reference_is_as_a_new_one() -> None:
    values = np.random.default_rng(9).standard_normal(600)
    ref = reference(values)
    ranks.clear(ref)
    new = np.zeros(1, REFERENCE)[0]
    for y in values.tolist():
        assert ranks.rank(ref, y, 0.4) == ranks.rank(new, y, 0.4)


@settings(max_examples=60)
@given(st.lists(st.tuples(floats, uniforms), max_size=120), st.integers(0, 3), st.booleans())
def test_any_numbers_leave_a_sound_reference(pairs: list[tuple[float, float]], warm: int, forgetting: bool) -> None:
    """Before and after the bins are made, with values removed in between: what every later rank relies on."""
    ref = reference(np.random.default_rng(warm).standard_normal(200 * warm))
    for n, (y, v) in enumerate(pairs):
        assert 0 < ranks.rank(ref, y, v) < 1
        assert 0 < ranks.rank_frozen(ref, y, v) < 1
        if forgetting and n % 3 == 0:
            ranks.forget(ref, y)
    seen = int(ref["seen"])
    if not ref["frozen"]:
        assert (np.diff(ref["values"][:seen]) >= 0).all()
        return
    assert ref["gaps"].sum() == ref["total"] == seen + 1
    assert (ref["gaps"] >= 0).all()
    assert ref["gaps"].size == BINS
    assert (np.diff(ref["values"][:EDGES]) >= 0).all()
    highs, lows = int(ref["highs"]), int(ref["lows"])
    assert 0 <= highs <= min(LADDER, ref["gaps"][EDGES] - 1)
    assert 0 <= lows <= min(LADDER, ref["gaps"][0] - 1)
    assert (np.diff(ref["values"][HIGH : HIGH + highs]) >= 0).all()
    assert (np.diff(ref["values"][LOW : LOW + lows]) >= 0).all()
