"""Whole streams through the detectors at compiled speed: what `update` does event for event, without its Python."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, QUIET
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric.changes import NumericChanges
from leeboard.detectors.share import kernels as share
from leeboard.detectors.share.changes import ShareChanges
from scipy import stats

from tests.detectors.following import Codes, followed, is_due

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.int32]
Arena: TypeAlias = npt.NDArray[np.void]

#: at most so many different categories in a stream of `category_codes`
CATEGORIES = 8


@kernel
def _walk_numbers(
    rows: Arena, i: int, frozen: Arena, first: int, x: Floats, u: Floats, logarithmic: bool, nats: float, bets: Floats
) -> int:
    for t in range(first, x.size):
        y = numeric.prepare_number(rows[i], x[t], u[t, 0], logarithmic, numeric.DITHER)
        code = numeric.step_number(rows, i, frozen, y, u[t, 1], u[t, 2], nats, bets)
        if code != QUIET or is_due(rows, i, frozen):
            return t + 1
    return x.size


@kernel
def _walk_shares(rows: Arena, i: int, frozen: Arena, first: int, x: Bools, u: Floats, nats: float, bets: Floats) -> int:
    for t in range(first, x.size):
        code = share.step_share(rows, i, frozen, x[t], u[t, 0], nats, nats, bets)
        if code != QUIET or is_due(rows, i, frozen):
            return t + 1
    return x.size


@kernel
def _walk_categories(
    rows: Arena, categories: Rows, frozen: Arena, first: int, x: Integers, u: Floats, nats: float, bets: Floats
) -> int:
    """Stops before a category that has no row as well."""
    for t in range(first, x.size):
        if categories[x[t]] < 0:
            return t
        code = share.step_categories(rows, categories, frozen, x[t], t, u[t, 0], nats, nats, 0.0, bets)
        due = code != QUIET
        for k in range(categories.size):
            due = due or (categories[k] >= 0 and is_due(rows, categories[k], frozen))
        if due:
            return t + 1
    return x.size


def numeric_codes(x: Floats, u: Floats, level: float = 1e4, *, logarithmic: bool = True, unit: float = 0.0) -> Codes:
    """What a `NumericDetector` of that level makes of every value: QUIET, FIRED, RETURNED or NEXT."""
    changes, nats, bets = NumericChanges(unit, rows=2), math.log(level), np.zeros(BETS)
    i = changes.rows.allocate()
    numeric.set_levels(changes.record(i), nats, nats)

    def walk(first: int) -> int:
        return int(_walk_numbers(changes.rows.array, i, changes.frozen.array, first, x, u, logarithmic, nats, bets))

    return followed(changes, i, walk, 0, x.size, nats, logarithmic)


def binary_codes(x: Bools, u: Floats, level: float = 1e4) -> Codes:
    """What a `BinaryDetector` of that level makes of every yes and no."""
    changes, nats, bets = ShareChanges(rows=2), math.log(level), np.zeros(share.RATIO_BETS)
    other = np.flatnonzero(x != x[0])
    if other.size == 0:
        return np.zeros(x.size, np.int8)
    first, i = int(other[0]), changes.rows.allocate()
    share.open_share(changes.record(i), first, bool(x[0]), nats, nats)

    def walk(first: int) -> int:
        return int(_walk_shares(changes.rows.array, i, changes.frozen.array, first, x, u, nats, bets))

    return followed(changes, i, walk, first, x.size, nats)


def category_codes(x: Integers, u: Floats, level: float = 1e4) -> Codes:
    """What a `CategoricalDetector` of that level makes of every category (below CATEGORIES); codes are or-ed."""
    changes, nats, bets = ShareChanges(rows=2 * CATEGORIES), math.log(level), np.zeros(share.RATIO_BETS)
    rows, codes = np.full(CATEGORIES, -1, np.int32), np.zeros(x.size, np.int8)
    seen = [int(x[0])]
    others = np.flatnonzero(x != x[0])
    t = int(others[0]) if others.size else x.size
    while t < x.size:
        if x[t] not in seen:
            new = [*seen, int(x[t])] if len(seen) == 1 else [int(x[t])]
            seen.append(int(x[t]))
            for category in new:
                rows[category] = changes.rows.allocate()
                changes.record(int(rows[category]))["milestone"] = math.inf
            if len(new) > 1:  # the one that was always shown until now
                share.open_share(changes.record(int(rows[new[0]])), t, True, nats, nats)
        t = int(_walk_categories(changes.rows.array, rows, changes.frozen.array, t, x, u, nats, bets))
        limit = nats + math.log(int((rows >= 0).sum()))
        for i in rows[rows >= 0].tolist():
            code = int(changes.record(i)["code"])
            changes.record(i)["code"] = QUIET
            codes[t - 1] |= code
            changes.follow(i, code, 0.0, limit, None)
    return codes


def firings(codes: Codes) -> list[int]:
    """Events at which a change was opened."""
    found: list[int] = np.flatnonzero(codes & (FIRED | NEXT)).tolist()
    return found


def poisson_limit(mean: float, quantile: float = 0.99) -> int:
    """Smallest count that a Poisson number of that mean exceeds with probability 1 - `quantile` at most."""
    return int(stats.poisson.ppf(quantile, mean))
