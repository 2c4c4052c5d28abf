"""Calls of like size: what a comparison at equal tokens rests on."""

import numpy as np

from ..arrays import BoolArray, FloatArray
from .columns import Side

#: numbers of tokens that make two calls alike
SIZE_NUMBERS = ("input_tokens", "output_tokens")
#: a side's part among the calls of one size, if both sides had as many calls in all, must lie between this and 1 minus
#: this (Crump, Hotz, Imbens, Mitnik, Biometrika 96, 2009: discard beyond .1 and .9); else a curve that was fitted to
#: the sizes of one side decides about the other
LEAST_PART = 0.1
#: sizes: quantiles of both sides together, never fewer calls than this in one
SIZES = 20
CALLS_PER_SIZE = 20


def given_tokens(
    base: Side, candidate: Side, columns: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray] | None:
    """Take logarithms of the tokens that go with the values of a signal (`columns`, NaN = not measured).

    Two arrays of shapes (n_base, k) and (n_candidate, k), k = 1 or 2: the tokens known for at least half of the
    measured calls of each side; NaN where one is not known or no call of the other side is of that size. None where
    no tokens are known.
    """
    measured = np.isfinite(columns[0]), np.isfinite(columns[1])
    if not measured[0].any() or not measured[1].any():
        return None
    chosen = []
    for name in SIZE_NUMBERS:
        pair = base.numbers[name], candidate.numbers[name]
        if min(float(np.mean(np.isfinite(p[m]))) for p, m in zip(pair, measured, strict=True)) >= 0.5:
            chosen.append(pair)
    if not chosen:
        return None
    logs = [np.log1p(np.column_stack([pair[s] for pair in chosen])) for s in (0, 1)]
    used = [m & np.isfinite(log).all(axis=1) for m, log in zip(measured, logs, strict=True)]
    for column in range(len(chosen)):
        common = _common(logs[0][:, column], logs[1][:, column], used[0], used[1])
        used = [u & c for u, c in zip(used, common, strict=True)]
    for log, use in zip(logs, used, strict=True):
        log[~use] = np.nan
    return logs[0], logs[1]


def _common(
    base: FloatArray, candidate: FloatArray, in_base: BoolArray, in_candidate: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Find the calls whose size is found on both sides; False outside the masks."""
    n = np.array([in_base.sum(), in_candidate.sum()], np.float64)
    if not n.all():
        return in_base & False, in_candidate & False
    together = np.concatenate([base[in_base], candidate[in_candidate]])
    sizes = min(max(len(together) // CALLS_PER_SIZE, 1), SIZES)
    edges = np.unique(np.quantile(together, np.arange(1, sizes) / sizes))
    of_base, of_candidate = (np.searchsorted(edges, values, side="right") for values in (base, candidate))
    counts = [
        np.bincount(size[used], minlength=len(edges) + 1)
        for size, used in ((of_base, in_base), (of_candidate, in_candidate))
    ]
    shares = counts[0] / n[0], counts[1] / n[1]
    part = shares[0] / np.maximum(shares[0] + shares[1], np.finfo(np.float64).tiny)
    fits = (part >= LEAST_PART) & (part <= 1.0 - LEAST_PART)
    return in_base & fits[of_base], in_candidate & fits[of_candidate]
