"""One signal, measured on both sides: with pairs where the rule of `pairs` finds enough of them, else without."""

import numpy as np

from ..arrays import FloatArray
from .columns import Side
from .fits import stack
from .judge import Measured
from .means import difference, paired_difference, polynomial
from .pairs import Matching, Pairs, pair_calls
from .shares import distance, paired_share_difference, share_difference
from .signals import ComparedSignal

#: fewest independent groups on a side; covariates need more in all, one for each coefficient
FEWEST_GROUPS = 2


def measure(signal: ComparedSignal, base: Side, candidate: Side, matching: Matching, min_pairs: int) -> Measured:
    """Find levels and effect of `signal`; no effect where a side has fewer than two independent groups of calls."""
    known = np.isfinite(signal.base), np.isfinite(signal.candidate)
    counts = int(known[0].sum()), int(known[1].sum())
    if not min(counts):
        return Measured(signal, *counts)
    coefficients = 0 if signal.given is None else 2 * signal.given[0].shape[1]
    pairs = None if signal.scale == "categorical" else pair_calls(matching, *known, min_pairs)
    if pairs is not None and pairs.layout.fewest[0] >= FEWEST_GROUPS + coefficients:
        return _paired(signal, counts, pairs)
    layout = stack([g[known[0]] for g in base.groupings], [g[known[1]] for g in candidate.groupings])
    if min(layout.fewest) < FEWEST_GROUPS or sum(layout.fewest) < 2 * FEWEST_GROUPS + coefficients:
        return Measured(signal, *counts)
    values = np.concatenate([signal.base[known[0]], signal.candidate[known[1]]])
    if signal.scale == "categorical":
        return Measured(signal, *counts, effect=distance(values.astype(np.int64), layout))
    y = signal.logarithm(values)
    means = float(y[: counts[0]].mean()), float(y[counts[0] :].mean())
    if signal.scale == "yes_no":
        return Measured(signal, *counts, *means, effect=share_difference(y, layout))
    if signal.given is None:
        levels = signal.amount(means[0]), signal.amount(means[1])
        return Measured(signal, *counts, *levels, effect=difference(y, _none(y), layout))
    tokens = np.concatenate([signal.given[0][known[0]], signal.given[1][known[1]]])
    effect = difference(y, tokens, layout)
    return Measured(signal, *counts, *_expected(signal, means[0], effect.estimate), effect=effect)


def _paired(signal: ComparedSignal, counts: tuple[int, int], pairs: Pairs) -> Measured:
    before, after = pairs.means(signal.logarithm(signal.base), signal.logarithm(signal.candidate))
    means = float(before.mean()), float(after.mean())
    if signal.scale == "yes_no":
        shares = paired_share_difference(before, after, pairs.layout, balanced=pairs.balanced)
        return Measured(signal, *counts, *means, effect=shares, pairs=len(pairs))
    if signal.given is None:
        levels = signal.amount(means[0]), signal.amount(means[1])
        effect = paired_difference(before, after, _none(before), pairs.layout)
        return Measured(signal, *counts, *levels, effect=effect, pairs=len(pairs))
    effect = paired_difference(before, after, _differences(signal.given, pairs), pairs.layout)
    return Measured(signal, *counts, *_expected(signal, means[0], effect.estimate), effect=effect, pairs=len(pairs))


def _differences(given: tuple[FloatArray, FloatArray], pairs: Pairs) -> FloatArray:
    """Take paired differences of the tokens' polynomial of single calls: shape (P, up to 2 k)."""
    used = pairs.base >= 0, pairs.candidate >= 0
    columns = polynomial(np.concatenate([given[0][used[0]], given[1][used[1]]]))
    n = int(used[0].sum())
    sides = np.full((len(used[0]), columns.shape[1]), np.nan), np.full((len(used[1]), columns.shape[1]), np.nan)
    sides[0][used[0]], sides[1][used[1]] = columns[:n], columns[n:]
    means = [pairs.means(first, second) for first, second in zip(sides[0].T, sides[1].T, strict=True)]
    return np.array([after - before for before, after in means], np.float64).reshape(-1, len(pairs)).T


def _expected(signal: ComparedSignal, mean: float, effect: float) -> tuple[float | None, float | None]:
    """Say what the base's calls took, and what the candidate would take for them."""
    return signal.amount(mean), signal.amount(mean + effect)


def _none(values: FloatArray) -> FloatArray:
    return np.empty((len(values), 0))
