"""Least squares with standard errors that do not take calls for independent which are not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy import special, stats

from ..arrays import FloatArray, IntArray

#: times the number of rows, on covariates of variance one: keeps the equations solvable where covariates depend on
#: each other, far below anything visible otherwise
RIDGE = 1e-9


class ComparedEffect(Protocol):
    """What every estimate can say, on the scale on which it was made."""

    @property
    def estimate(self) -> float:
        """The effect."""

    @property
    def p_value(self) -> float | None:
        """Two-sided; None where the values do not vary, so that there is nothing to test."""

    @property
    def attainable(self) -> float:
        """The smallest p-value that this many groups of calls can give at all."""

    def interval(self, alpha: float) -> tuple[float, float]:
        """Give the ends of the 1 - alpha interval."""

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Give the smallest effect, without sign, that a test at `alpha` of `growth` times the calls could show."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where n rows stand: on which side, and which others they depend on."""

    #: 0 or 1, shape (n,); all 0 for pairs
    side: IntArray
    #: each a way to divide the rows into groups that are independent of each other: numbers from 0 without gaps,
    #: shape (n,); a group lies on one side
    groupings: tuple[IntArray, ...]

    @property
    def fewest(self) -> tuple[int, int]:
        """Groups on each side, in the coarsest grouping."""
        counts = [[len(np.unique(groups[self.side == s])) for groups in self.groupings] for s in (0, 1)]
        return min(counts[0]), min(counts[1])


class Error(NamedTuple):
    """A standard error and its degrees of freedom."""

    se: float
    df: float


@dataclass(frozen=True, slots=True)
class Fit:
    """One coefficient, with a standard error for each way in which rows may depend on each other: the widest counts."""

    estimate: float
    errors: tuple[Error, ...]

    @property
    def p_value(self) -> float:
        """Two-sided, of Student's t; 0 where nothing varies around the fit."""
        return max(2.0 * float(stats.t.sf(abs(self.estimate) / e.se, e.df)) if e.se > 0.0 else 0.0 for e in self.errors)

    @property
    def df(self) -> float:
        """The fewest degrees of freedom."""
        return min(error.df for error in self.errors)

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Half the 1 - alpha interval with `growth` times the rows."""
        return max(quantile(alpha, error.df * growth) * error.se for error in self.errors) / math.sqrt(growth)


def stack(base: Sequence[IntArray], candidate: Sequence[IntArray]) -> Layout:
    """Put the rows of two sides one below the other; groups of the two sides stay disjoint.

    A session on both sides correlates them. Where it moves them the same way, as it does in practice, taking the sides
    for independent makes intervals too wide, not too narrow.
    """
    side = np.repeat([0, 1], [len(base[0]), len(candidate[0])])
    both = (np.concatenate([first, second + first.max() + 1]) for first, second in zip(base, candidate, strict=True))
    return Layout(side, tuple(dense(groups) for groups in both))


def dense(groups: IntArray) -> IntArray:
    """Renumber groups from 0 without gaps."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def least_squares(y: FloatArray, rows: FloatArray, target: int, layout: Layout) -> Fit:
    """Fit `y`, shape (n,), to `rows`, shape (n, p), by least squares: coefficient `target` and its standard errors.

    Columns after `target` are covariates of variance one. For every grouping two standard errors:
    - the cluster jackknife CV3, V = sum over sides of (G_s - 1) / G_s * sum over groups of (b_g - b)^2 with b_g the
      coefficient without group g (MacKinnon, Nielsen, Webb, Journal of Econometrics 232, 2023; they find it the most
      dependable where groups differ in size). With groups of one row and no covariates it is Welch's;
    - that of equal variances on both sides and equal correlation within groups (Moulton, Journal of Econometrics 32,
      1986), since a handful of rows can agree by chance and then know nothing of their variance.
    """
    n, p = rows.shape
    damping = np.diag([RIDGE * n * (k > target) for k in range(p)])
    gram = rows.T @ rows + damping
    coefficients = np.linalg.solve(gram, rows.T @ y)
    residuals = y - rows @ coefficients
    influence = rows @ np.linalg.solve(gram, np.eye(p)[target])
    covariates = p - 1 - target
    errors = []
    for groups in layout.groupings:
        rho = intraclass(residuals[:, None], groups)
        freedom = _freedom(layout.side, groups, rho)
        shifts = _without_group(y, rows, groups, gram)[:, target] - coefficients[target]
        of_side = _side_of_group(layout.side, groups)
        counts = np.bincount(of_side, minlength=2)
        variances = np.bincount(of_side, weights=shifts**2, minlength=2) * (counts - 1) / np.maximum(counts, 1)
        errors.append(_error(float(variances.sum()), _welch(variances, freedom) - covariates))
        spread = (1.0 - rho) * np.sum(influence**2) + rho * np.sum(np.bincount(groups, weights=influence) ** 2)
        variance = float(np.sum(residuals**2)) / max(n - p, 1)
        errors.append(_error(variance * float(spread), float(freedom.sum()) - covariates))
    return Fit(float(coefficients[target]), tuple(errors))


def intraclass(residuals: FloatArray, groups: IntArray) -> float:
    """Estimate the correlation of two rows of a group, 0 to 1, from `residuals`, shape (n, k); 0 if nothing varies."""
    size = np.bincount(groups)
    squares = float(np.sum(residuals**2))
    sums = np.stack([np.bincount(groups, weights=column) for column in residuals.T])
    scale = squares / len(residuals) * float(np.sum(size * (size - 1.0)))
    return min(max((float(np.sum(sums**2)) - squares) / scale, 0.0), 1.0) if scale > 0.0 else 0.0


def effective_sizes(residuals: FloatArray, layout: Layout) -> tuple[float, float]:
    """Estimate the effective sample size of each side from `residuals`, shape (n, k).

    n / (1 + (m - 1) rho), m the mean size of a row's group (Kish, Survey Sampling, 1965); the grouping that leaves the
    fewest counts.
    """
    least = [math.inf, math.inf]
    for groups in layout.groupings:
        rho = intraclass(residuals, groups)
        for s in (0, 1):
            size = np.bincount(groups[layout.side == s]).astype(np.float64)
            n = float(size.sum())
            if n > 0.0:
                least[s] = min(least[s], n / (1.0 + (float(np.sum(size**2)) / n - 1.0) * rho))
    return least[0], least[1]


def quantile(alpha: float, df: float) -> float:
    """Give the two-sided critical value of Student's t."""
    return float(stats.t.isf(alpha / 2.0, df))


def fewest_p(first: int, second: int) -> float:
    """Give the smallest two-sided p-value of a permutation test: 1 in the number of ways to split the groups.

    A t-test of a few values without spread claims more; no test that holds for every law can.
    """
    ways = special.gammaln(first + second + 1.0) - special.gammaln(first + 1.0) - special.gammaln(second + 1.0)
    return min(1.0, math.exp(-float(ways)) * (2.0 if first == second else 1.0))


def _error(variance: float, df: float) -> Error:
    return Error(math.sqrt(max(variance, 0.0)), max(df, 1.0))


def _side_of_group(side: IntArray, groups: IntArray) -> IntArray:
    of_side = np.zeros(int(groups.max()) + 1, np.int64)
    of_side[groups] = side
    return of_side


def _without_group(y: FloatArray, rows: FloatArray, groups: IntArray, gram: FloatArray) -> FloatArray:
    """Fit without each group in turn; coefficients of shape (groups, p)."""
    p = rows.shape[1]
    size = int(groups.max()) + 1
    grams = np.empty((size, p, p))
    for j in range(p):
        for k in range(j + 1):
            grams[:, j, k] = grams[:, k, j] = np.bincount(groups, weights=rows[:, j] * rows[:, k], minlength=size)
    moments = np.stack([np.bincount(groups, weights=rows[:, k] * y, minlength=size) for k in range(p)], axis=1)
    return np.asarray(np.linalg.solve(gram - grams, (moments.sum(axis=0) - moments)[:, :, None])[:, :, 0], np.float64)


def _freedom(side: IntArray, groups: IntArray, rho: float) -> FloatArray:
    """Count the degrees of freedom of each side, shape (2,), at least 1, 0 for a side without rows.

    The sum of a group of m rows has variance proportional to a = m (1 + (m - 1) rho); a side with few or unequal groups
    has an effective number of groups (sum a)^2 / sum a^2 (Satterthwaite's approximation with the estimated correlation,
    as Imbens and Kolesar, Review of Economics and Statistics 98, 2016).
    """
    size = np.bincount(groups)
    of_side = _side_of_group(side, groups)
    spread = size * (1.0 + (size - 1.0) * rho)
    sums = np.bincount(of_side, weights=spread, minlength=2)
    squares = np.bincount(of_side, weights=spread**2, minlength=2)
    return np.where(sums > 0.0, np.maximum(sums**2 / np.maximum(squares, 1.0) - 1.0, 1.0), 0.0)


def _welch(variances: FloatArray, freedom: FloatArray) -> float:
    """Add up the degrees of freedom of two sides as Welch (Biometrika 34, 1947) does."""
    total = float(variances.sum())
    known = freedom > 0.0
    if total <= 0.0:
        return float(freedom[known].min())
    return float(total**2 / np.sum(variances[known] ** 2 / freedom[known]))
