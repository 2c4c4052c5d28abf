"""Differences of shares (yes or no) and distances between the shares of categories, which hold for small counts."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..arrays import FloatArray, IntArray
from .fits import ComparedEffect, Fit, Layout, effective_sizes, fewest_p, least_squares, quantile

#: categories with fewer expected calls on either side are pooled before a chi-square test (Cochran 1954)
EXPECTED_CALLS = 5.0
#: categories that are tested on their own, the most frequent ones; the others are pooled
MOST_CATEGORIES = 20


@dataclass(frozen=True, slots=True)
class ShareEffect:
    """Difference of two shares."""

    estimate: float
    p_value: float | None
    attainable: float
    df: float
    shares: tuple[float, float]
    #: effective sample sizes of the sides, in calls
    effective_size: tuple[float, float]

    def interval(self, alpha: float, growth: float = 1.0) -> tuple[float, float]:
        """Combine Wilson's intervals (hybrid score: Newcombe, Statistics in Medicine 17, 1998, p. 873, method 10)."""
        q = quantile(alpha, self.df * growth)
        (p, n), (r, m) = zip(self.shares, (growth * size for size in self.effective_size), strict=True)
        (low_p, high_p), (low_r, high_r) = wilson_interval(p, n, q), wilson_interval(r, m, q)
        return r - p - math.hypot(r - low_r, high_p - p), r - p + math.hypot(high_r - r, p - low_p)

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Halve the interval."""
        low, high = self.interval(alpha, growth)
        return (high - low) / 2.0


@dataclass(frozen=True, slots=True)
class PairedShareEffect:
    """Difference of two shares over pairs of calls with the same input."""

    estimate: float
    p_value: float | None
    attainable: float
    df: float
    #: mean of the squared differences: the share of discordant pairs
    square: float
    #: effective sample size, in pairs
    effective_size: float

    def interval(self, alpha: float, growth: float = 1.0) -> tuple[float, float]:
        """Adjust Wald's interval (Bonett, Price, Journal of Educational and Behavioral Statistics 37, 2012).

        They add one pair that got better and one that got worse; at another level than 95 % it is q^2 / 4 of each.
        """
        q = quantile(alpha, self.df * growth)
        n, added = growth * self.effective_size, q * q / 2.0
        centre = n * self.estimate / (n + added)
        square = (n * self.square + added) / (n + added)
        half = q * math.sqrt((square - centre**2) / (n + added))
        return max(min(centre - half, self.estimate), -1.0), min(max(centre + half, self.estimate), 1.0)

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Halve the interval."""
        low, high = self.interval(alpha, growth)
        return (high - low) / 2.0


@dataclass(frozen=True, slots=True)
class DistanceEffect:
    """Total variation distance between more than two categories of two sides."""

    estimate: float
    p_value: float | None
    attainable: float
    df: float
    #: categories tested, after pooling
    categories: int
    #: 1 / n of one side + 1 / n of the other, in independent calls
    noise: float
    #: largest p (1 - p) over all ways to put the categories into two heaps, p the share of a heap on both sides
    heap: float

    def interval(self, alpha: float) -> tuple[float, float]:
        """Take the estimate plus and minus `half_width`."""
        half = self.half_width(alpha)
        return self.estimate - half, self.estimate + half

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Bound the distance whose chi-square is not significant, for all heaps at once (Scheffe, Biometrika 40, 1953).

        For a heap A, (sum over A of d)^2 <= X^2 * noise * P(A) (1 - P(A)) by the Cauchy-Schwarz inequality.
        """
        k = self.categories - 1
        return math.sqrt(k * float(stats.f.isf(alpha, k, self.df * growth)) * self.noise / growth * self.heap)


def share_difference(y: FloatArray, layout: Layout) -> ShareEffect:
    """Subtract the share of 1 on side 0 from that on side 1; `y`, shape (n,), is 0 or 1.

    The p-value is the larger of two: Fisher's exact test on effective counts (counts divided by their design effect:
    Rao, Scott, Biometrics 48, 1992), valid for few events, and Student's t, valid for few groups. Where no event was
    seen nothing says that events come in clusters: the design effect is then 1.
    """
    fitted = _fit(y, layout)
    shares = float(y[layout.side == 0].mean()), float(y[layout.side == 1].mean())
    calls = effective_sizes((y - np.array(shares)[layout.side])[:, None], layout)
    p_value = None
    if np.ptp(y) > 0.0:
        table = [(round(share * n), round((1.0 - share) * n)) for share, n in zip(shares, calls, strict=True)]
        p_value = max(float(stats.fisher_exact(table).pvalue), fitted.p_value)
    return ShareEffect(fitted.estimate, p_value, fewest_p(*layout.fewest), fitted.df, shares, calls)


def paired_share_difference(
    base: FloatArray, candidate: FloatArray, layout: Layout, *, balanced: bool
) -> PairedShareEffect:
    """Average `candidate - base`, shares of 1 among the calls of each of P pairs.

    The p-value is the larger of Student's t and that of a count of the pairs that differ: McNemar's exact test where
    each input was called as often on both sides (`balanced`); otherwise the signs are no fair coin under the null, and
    it is the smallest value that so many pairs can give. Counts are effective, as in `share_difference`.
    """
    d = candidate - base
    fitted = least_squares(d, np.ones((len(d), 1)), 0, layout)
    calls = effective_sizes((d - d.mean())[:, None], layout)[0]
    more, less = (round(float(np.mean(moved)) * calls) for moved in (d > 0.0, d < 0.0))
    p_value = None
    if np.any(d != 0.0):
        p_value = min(1.0, 2.0 ** (1 - more - less))
        if balanced and more + less:
            p_value = float(stats.binomtest(more, more + less).pvalue)
        p_value = max(p_value, fitted.p_value)
    attainable = 2.0 ** (1 - layout.fewest[0])
    return PairedShareEffect(fitted.estimate, p_value, attainable, fitted.df, float(np.mean(d**2)), calls)


def distance(category: IntArray, layout: Layout) -> ComparedEffect:
    """Measure the total variation distance of the two sides; `category`, shape (n,), numbers the categories from 0.

    Chi-square test on effective counts (Rao, Scott, Annals of Statistics 12, 1984), read as F with the degrees of
    freedom of the groups. Rare categories are pooled by their share on both sides together; where two or fewer are
    left the distance is a difference of shares. Pairs are not used: where inputs recur on both sides the test is
    conservative.
    """
    side = layout.side
    pooled = _pooled(category, float(np.bincount(side).min()))
    calls = effective_sizes(_residuals(pooled, side), layout)
    pooled = _pooled(pooled, min(calls))
    k = int(pooled.max()) + 1
    shares = np.stack([np.bincount(pooled[side == s], minlength=k) / np.sum(side == s) for s in (0, 1)])
    if k <= 2:
        # the one that rose, so that the difference is not negative; of a single category nothing did
        rose = (pooled == np.argmax(shares[1] - shares[0])) & (k == 2)
        return share_difference(rose.astype(np.float64), layout)
    fitted = _fit((pooled == 0).astype(np.float64), layout)
    statistic = float(stats.chi2_contingency(shares * np.array(calls)[:, None], correction=False).statistic)
    largest = float(np.mean(shares[:, 0]))
    return DistanceEffect(
        float(np.abs(shares[1] - shares[0]).sum()) / 2.0,
        float(stats.f.sf(statistic / (k - 1), k - 1, fitted.df)),
        fewest_p(*layout.fewest),
        fitted.df,
        k,
        1.0 / calls[0] + 1.0 / calls[1],
        largest * (1.0 - largest) if largest >= 0.5 else 0.25,
    )


def wilson_interval(share: float, n: float, q: float) -> tuple[float, float]:
    """Give the score interval of a share among `n` calls, critical value `q` (Wilson, JASA 22, 1927)."""
    centre = (share + q * q / (2.0 * n)) / (1.0 + q * q / n)
    half = q / (1.0 + q * q / n) * math.sqrt(share * (1.0 - share) / n + q * q / (4.0 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _fit(y: FloatArray, layout: Layout) -> Fit:
    return least_squares(y, np.column_stack([np.ones(len(y)), layout.side]), 1, layout)


def _residuals(category: IntArray, side: IntArray) -> FloatArray:
    """Subtract from indicators of the categories their shares on the own side: shape (n, k)."""
    indicators = np.asarray(category[:, None] == np.arange(category.max() + 1), np.float64)
    for s in (0, 1):
        indicators[side == s] -= indicators[side == s].mean(axis=0)
    return indicators


def _pooled(category: IntArray, smaller: float) -> IntArray:
    """Renumber categories: the most frequent is 0, the rare ones share the last number.

    `smaller`: calls of the smaller side, for the expected counts.
    """
    counts = np.bincount(category)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    expected = counts[order] / len(category) * smaller
    kept = min(max(int(np.sum(expected >= EXPECTED_CALLS)), 1), MOST_CATEGORIES)
    while kept > 1 and kept < len(order) and expected[kept:].sum() < EXPECTED_CALLS:
        kept -= 1
    number = np.full(len(counts), kept, np.int64)
    number[order[:kept]] = np.arange(kept)
    return number[category]
