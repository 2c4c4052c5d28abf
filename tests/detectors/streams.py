"""Whole streams through the detectors at compiled speed: what `update` does event for event, without its Python."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import ACCEPTED_AFTER
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, QUIET, RETURNED, accept
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.share import kernels as categorical
from scipy import stats

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Codes: TypeAlias = npt.NDArray[np.int8]
Arena: TypeAlias = npt.NDArray[np.void]

#: at most so many different categories in a stream of `category_codes`
CATEGORIES = 8


@kernel
def _numeric(rows: Arena, frozen: Arena, x: Floats, u: Floats, logarithmic: bool, nats: float, codes: Codes) -> None:
    scratch = np.zeros(BETS)
    row = rows[0]
    for t in range(x.size):
        y = numeric.prepare(row, x[t], u[t, 0], logarithmic, numeric.DITHER)
        code = numeric.observe(rows, 0, frozen, y, u[t, 1], u[t, 2], nats, scratch)
        if code == FIRED:
            numeric.open_change(rows, 0, 1, frozen, 0, row["change"], 0.0, scratch)
        elif code == NEXT:
            numeric.supersede(rows, 0, frozen, 0.0, scratch)
        elif code == RETURNED:
            numeric.restore(rows, 0, frozen)
        elif row["frozen"] >= 0 and row["events"] - frozen[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        codes[t] = code


@kernel
def _share(rows: Arena, i: int, j: int, frozen: Arena, hit: bool, u: float, nats: float, scratch: Floats) -> int:
    row = rows[i]
    if row["frozen"] < 0 and (row["hits"] == 0.0 or row["misses"] == 0.0):
        categorical.count_share(row, hit)
        return QUIET
    code = categorical.observe_share(rows, i, frozen, hit, u, nats, scratch)
    if code == FIRED:
        categorical.open_share_change(rows, i, j, frozen, i, row["change"], 0.0)
    elif code == NEXT:
        categorical.supersede_share(rows, i, frozen, 0.0)
    elif code == RETURNED:
        categorical.restore_share(rows, i, frozen)
    elif row["frozen"] >= 0 and row["events"] - frozen[i]["opened"] > ACCEPTED_AFTER:
        accept(rows, i)
    return code


@kernel
def _binary(rows: Arena, frozen: Arena, x: Bools, u: Floats, nats: float, codes: Codes) -> None:
    scratch = np.zeros(categorical.RATIO_BETS)
    for t in range(x.size):
        codes[t] = _share(rows, 0, 1, frozen, x[t], u[t, 0], nats, scratch)


@kernel
def _categories(rows: Arena, frozen: Arena, x: Integers, u: Floats, nats: float, codes: Codes) -> None:
    scratch = np.zeros(categorical.RATIO_BETS)
    place = np.full(CATEGORIES, -1)  # of a category, in the order in which they appear
    known = 0
    for t in range(x.size):
        new = place[x[t]] < 0
        if new:
            place[x[t]] = known
            known += 1
        limit = nats + math.log(known)
        for k in range(known):
            if new and k == known - 1:
                categorical.open_share(rows[k], t, False, limit, nats)
                categorical.count_share(rows[k], True)
            else:
                hit = k == place[x[t]]
                codes[t] |= _share(rows, k, CATEGORIES + k, frozen, hit, u[t, 0], limit, scratch)


def numeric_codes(x: Floats, u: Floats, level: float = 1e4, *, logarithmic: bool = True, unit: float = 0.0) -> Codes:
    """What a `NumericDetector` of that level makes of every value: QUIET, FIRED, RETURNED or NEXT."""
    rows, codes = np.zeros(2, numeric.NUMERIC), np.zeros(x.size, np.int8)
    rows["unit"] = unit
    numeric.open_row(rows[0], math.log(level), math.log(level))
    _numeric(rows, np.zeros(1, numeric.FROZEN_NUMERIC), x, u, logarithmic, math.log(level), codes)
    return codes


def binary_codes(x: Bools, u: Floats, level: float = 1e4) -> Codes:
    """What a `BinaryDetector` of that level makes of every yes and no."""
    rows, codes = np.zeros(2, categorical.SHARE), np.zeros(x.size, np.int8)
    categorical.open_share(rows[0], 0, False, math.log(level), math.log(level))
    _binary(rows, np.zeros(1, categorical.FROZEN_SHARE), x, u, math.log(level), codes)
    return codes


def category_codes(x: Integers, u: Floats, level: float = 1e4) -> Codes:
    """What a `CategoricalDetector` of that level makes of every category (below CATEGORIES); codes are or-ed."""
    rows, codes = np.zeros(2 * CATEGORIES, categorical.SHARE), np.zeros(x.size, np.int8)
    _categories(rows, np.zeros(CATEGORIES, categorical.FROZEN_SHARE), x, u, math.log(level), codes)
    return codes


def firings(codes: Codes) -> list[int]:
    """Events at which a change was opened."""
    found: list[int] = np.flatnonzero(codes & (FIRED | NEXT)).tolist()
    return found


def poisson_limit(mean: float, quantile: float = 0.99) -> int:
    """Smallest count that a Poisson number of that mean exceeds with probability 1 - `quantile` at most."""
    return int(stats.poisson.ppf(quantile, mean))
