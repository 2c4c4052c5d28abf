"""One stream through the numeric detector at compiled speed, with the clock: where it fires at one level."""

import math
from collections.abc import Callable

import numpy as np
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.jit import Arena, Floats, Integers, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, QUIET
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric import season
from leeboard.detectors.numeric.changes import NumericChanges

from tests.detectors.following import followed, is_due
from tests.realdata import Values

#: (values, hash seed) -> events at which it alarms
Method = Callable[[Values, int], Integers]


@kernel
def _walk(
    rows: Arena,
    i: int,
    frozen: Arena,
    clocks: Arena,
    first: int,
    x: Floats,
    u: Floats,
    minutes: Integers,
    nats: float,
    bets: Floats,
) -> int:
    features, gain = np.zeros(season.FEATURES), np.zeros(season.FEATURES)
    unknown = np.zeros(season.COVARIATES, np.float32)
    row = rows[i]
    for t in range(first, x.size):
        y = numeric.prepare_number(row, x[t], u[t, 0], True, numeric.DITHER)
        if minutes.size > 0:
            y, moved = season.adjust(clocks[0], y, minutes[t], unknown, row["frozen"] >= 0, features, gain)
            if moved:
                numeric.restart_references(row)
        code = numeric.step_number(rows, i, frozen, y, u[t, 1], u[t, 2], nats, bets)
        if code != QUIET or is_due(rows, i, frozen):
            return t + 1
    return x.size


def firings(stream: Values, level: float, seed: int = 0) -> Integers:
    """Events at which a change is opened at this level (events a false one); `seed` stands for the call ids."""
    changes, clocks, nats = NumericChanges(rows=2), np.zeros(1, season.regression_dtype(0)), math.log(level)
    season.open_regression(clocks[0])
    i, bets = changes.rows.allocate(), np.zeros(BETS)
    numeric.set_levels(changes.record(i), nats, nats)
    u = np.random.default_rng(seed).random((stream.values.size, 3))
    minutes = np.zeros(0, np.int64) if stream.minutes is None else stream.minutes

    def walk(first: int) -> int:
        rows, frozen = changes.rows.array, changes.frozen.array
        return int(_walk(rows, i, frozen, clocks, first, stream.values, u, minutes, nats, bets))

    codes = followed(changes, i, walk, 0, stream.values.size, nats, True)
    return np.flatnonzero(codes & (FIRED | NEXT))


def at_level(level: float) -> Method:
    """The detector at one level."""
    return lambda stream, seed: firings(stream, level, seed)
