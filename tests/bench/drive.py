"""One stream through the numeric detector at compiled speed, with the clock: where it fires at one level."""

import math
from collections.abc import Callable

import numpy as np
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import ACCEPTED_AFTER
from leeboard.detectors.core.jit import Arena, Floats, Integers, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, RETURNED, accept
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric import season

from tests.realdata import Values

#: (values, hash seed) -> events at which it alarms
Method = Callable[[Values, int], Integers]


@kernel
def _run(
    rows: Arena, frozen: Arena, clocks: Arena, x: Floats, u: Floats, minutes: Integers, nats: float, fired: Integers
) -> int:
    scratch, features, gain = np.zeros(BETS), np.zeros(season.FEATURES), np.zeros(season.FEATURES)
    unknown = np.zeros(season.COVARIATES, np.float32)
    row = rows[0]
    count = 0
    for t in range(x.size):
        y = numeric.prepare(row, x[t], u[t, 0], True, numeric.DITHER)
        if minutes.size > 0:
            y, moved = season.adjust(clocks[0], y, minutes[t], unknown, row["frozen"] >= 0, features, gain)
            if moved:
                numeric.restart_references(row)
        code = numeric.observe(rows, 0, frozen, y, u[t, 1], u[t, 2], nats, scratch)
        if code == FIRED:
            numeric.open_change(rows, 0, 1, frozen, 0, row["change"], 0.0, scratch)
        elif code == NEXT:
            numeric.supersede(rows, 0, frozen, 0.0, scratch)
        elif code == RETURNED:
            numeric.restore(rows, 0, frozen)
        elif row["frozen"] >= 0 and row["events"] - frozen[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        if code in (FIRED, NEXT):
            fired[count] = t
            count += 1
    return count


def firings(stream: Values, level: float, seed: int = 0) -> Integers:
    """Events at which a change is opened at this level (events a false one); `seed` stands for the call ids."""
    rows, clocks = np.zeros(2, numeric.NUMERIC), np.zeros(1, season.regression_dtype(0))
    numeric.open_row(rows[0], math.log(level), math.log(level))
    season.open_regression(clocks[0])
    minutes = stream.minutes
    u = np.random.default_rng(seed).random((stream.values.size, 3))
    fired = np.zeros(stream.values.size, np.int64)
    known = np.zeros(0, np.int64) if minutes is None else minutes
    count = _run(rows, np.zeros(1, numeric.FROZEN_NUMERIC), clocks, stream.values, u, known, math.log(level), fired)
    return fired[:count]


def at_level(level: float) -> Method:
    """The detector at one level."""
    return lambda stream, seed: firings(stream, level, seed)
