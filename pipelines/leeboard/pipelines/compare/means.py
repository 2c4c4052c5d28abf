"""Differences of means between two sides, on the scale of the values given."""

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray
from .fits import Fit, Layout, fewest_p, least_squares

#: numbers are float32: a relative difference below this is rounding
RESOLUTION = 1e-6


@dataclass(frozen=True, slots=True)
class MeanEffect:
    """A difference of means, or the intercept of paired differences, with Student's t."""

    fit: Fit
    attainable: float
    #: the smallest p-value that the groups which moved can give; `attainable` where there are no pairs
    least_p: float
    #: the values differ by more than `rounding`
    varies: bool
    #: no interval is narrower
    rounding: float

    @property
    def estimate(self) -> float:
        """Difference at equal covariates."""
        return self.fit.estimate

    @property
    def p_value(self) -> float | None:
        """Student's t, but never below what a permutation could give."""
        if not self.varies:
            return None
        return max(self.fit.p_value, self.least_p) if abs(self.estimate) > self.rounding else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        """Take the estimate plus and minus `half_width`."""
        half = self.half_width(alpha)
        return self.estimate - half, self.estimate + half

    def half_width(self, alpha: float, growth: float = 1.0) -> float:
        """Multiply critical value and standard error; 0 where nothing varies."""
        return max(self.fit.half_width(alpha, growth), self.rounding) if self.varies else 0.0


def difference(y: FloatArray, given: FloatArray, layout: Layout) -> MeanEffect:
    """Subtract the mean of side 0 from that of side 1: `y`, shape (n,), at equal covariates `given`, shape (n, k)."""
    rounding = RESOLUTION * float(np.abs(y).max())
    fitted = least_squares(y, np.column_stack([np.ones(len(y)), layout.side, polynomial(given)]), 1, layout)
    attainable = fewest_p(*layout.fewest)
    return MeanEffect(fitted, attainable, attainable, bool(np.ptp(y) > rounding), rounding)


def paired_difference(base: FloatArray, candidate: FloatArray, given: FloatArray, layout: Layout) -> MeanEffect:
    """Average `candidate - base`, means of P pairs, at equal covariates; `given`, shape (P, k), are differences too.

    With covariates this is the regression on first differences, whose intercept is the effect: what an input has of
    its own drops out (Wooldridge, Econometric Analysis of Cross Section and Panel Data, 2nd ed., section 10.6).
    """
    rounding = RESOLUTION * float(max(np.abs(base).max(), np.abs(candidate).max()))
    d = candidate - base
    fitted = least_squares(d, np.column_stack([np.ones(len(d)), unit_variance(given, centred=False)]), 0, layout)
    moved = np.abs(d) > rounding
    # a permutation flips the sign of groups; of those that did not move it changes nothing
    free = min(len(np.unique(groups[moved])) for groups in layout.groupings)
    least_p = min(2.0 ** (1 - free), 1.0)
    return MeanEffect(fitted, 2.0 ** (1 - layout.fewest[0]), least_p, bool(moved.any()), rounding)


def polynomial(given: FloatArray) -> FloatArray:
    """Centre `given`, shape (n, k), and add the squares: shape (n, up to 2 k), constant columns left out."""
    centred = given - given.mean(axis=0)
    return unit_variance(np.column_stack([centred, centred**2]), centred=True)


def unit_variance(columns: FloatArray, *, centred: bool) -> FloatArray:
    """Scale columns to variance one; leave out those that are constant (or, not centred, zero)."""
    spread = columns.std(axis=0) if centred else np.sqrt(np.mean(columns**2, axis=0))
    varying = spread > RESOLUTION
    shift = columns[:, varying].mean(axis=0) if centred else 0.0
    return np.asarray((columns[:, varying] - shift) / spread[varying], np.float64)
