"""Expected value of an event given the clock and, optionally, two covariates: a gated recursive regression.

It learns `LAG` events late and is subtracted without its intercept, so that a change is not learned away. It is used
only while it demonstrably explains something (a gate with hysteresis): subtracting a regression that explains nothing
would add noise. All features have mean 0 on the first events of the stream, so what is learned later shifts no level.
"""

import math

import numpy as np
from leeboard.detectors.core.jit import Floats, Floats32, Row, kernel

from .dependence import LAG, teach

MINUTES_A_WEEK = 7 * 24 * 60
MS_A_MINUTE = 60_000
#: 1 January 1970 was a Thursday: minute 0 of the week is Monday, midnight
EPOCH_MINUTE = 3 * 1440
#: two harmonics of the day, one of the week
CLOCK_FEATURES = 6
DAILY_FEATURES = 4
#: a harmonic is learned from the start, but used only after two of its periods: before, it cannot be distinguished from
#: a shift of the level
TWO_DAYS = 2 * 1440
TWO_WEEKS = 2 * MINUTES_A_WEEK
#: two covariates: each one with its square and a hinge, and their product
COVARIATES = 2
COVARIATE_FEATURES = 7
assert COVARIATE_FEATURES == 3 * COVARIATES + 1
#: features of a regression with covariates, intercept included
FEATURES = 1 + CLOCK_FEATURES + COVARIATE_FEATURES
#: standardised covariates are clipped here; an event whose covariates were clipped is not learned from
CUT = 6.0
#: mean of max(x - 1, 0) for a standard normal x
HINGE_MEAN = 0.0833


def _clock_table() -> Floats:
    table = np.empty((MINUTES_A_WEEK, CLOCK_FEATURES))
    for minute in range(MINUTES_A_WEEK):
        day = 2 * math.pi * minute / 1440
        angles = (day, 2 * day, day / 7)
        table[minute] = [f(angle) for angle in angles for f in (math.sin, math.cos)]
    return np.round(table, 9)  # the same bits whatever the libm


CLOCK = _clock_table()

#: prior precisions of the coefficients and of the intercept
RIDGE = 10.0
FREE = 0.01
#: number of first events whose mean and spread standardise the covariates
STANDARDISED = 128
#: the gate: mean memory of the squared errors (in events), events needed, ratios of errors at which it opens and closes
COMPARED = 4000.0
NEEDED = 200
OPENS_BELOW = 0.90
CLOSES_ABOVE = 0.97
assert OPENS_BELOW < CLOSES_ABOVE
assert NEEDED > LAG
#: squared errors are clipped at this many times their mean
ERROR_CAP = 9.0


def regression_dtype(covariates: int) -> np.dtype[np.void]:
    """State of one regression on the clock and on `covariates` (0 or COVARIATES) numbers known of an event."""
    size = FEATURES if covariates else 1 + CLOCK_FEATURES
    return np.dtype(
        [
            ("coefficients", "f8", size),  # intercept first
            ("precision", "f8", (size, size)),
            ("offset", "f8"),  # mean of the first LAG values; the regression explains the deviations from it
            ("mean", "f8"),  # running mean of the values
            ("error_without", "f8"),  # running mean of squared deviations from `mean`
            ("error_with", "f8"),  # running mean of squared errors of the regression
            ("seen", "i8"),  # events
            ("elapsed", "i8"),  # minutes that the stream has lasted
            ("last_minute", "i8"),  # minute of the week of the latest event, -1 for none
            ("sums", "f8", 5),  # of both covariates, their squares and their product, over the first events
            ("active", "i4"),  # 1 while the gate is open
            ("values", "f4", LAG),  # ring of values that are not learned from yet
            ("minutes", "i2", LAG),  # minute of the week, -1 where the clock is not known
            ("covariates", "f4", (LAG, max(covariates, 1))),
        ],
        align=True,
    )


@kernel
def minute_of_week(epoch_ms: int) -> int:
    """Minute of the week (UTC, Monday first) of a time."""
    return (epoch_ms // MS_A_MINUTE + EPOCH_MINUTE) % MINUTES_A_WEEK


@kernel
def open_regression(s: Row) -> None:
    """Start from the prior."""
    n = s["coefficients"].size
    for i in range(n):
        for j in range(n):
            s["precision"][i, j] = 1.0 / RIDGE if i == j else 0.0
    s["precision"][0, 0] = 1.0 / FREE
    s["last_minute"] = -1


@kernel
def fill_features(s: Row, minute: int, covariates: Floats32, features: Floats) -> None:
    """Write the features (n,): 1, those of the clock, and those of the covariates (natural logs of 1 + value)."""
    features[0] = 1.0
    for i in range(CLOCK_FEATURES):
        features[1 + i] = CLOCK[minute, i] if minute >= 0 else 0.0
    if s["coefficients"].size < FEATURES:
        return
    at = 1 + CLOCK_FEATURES
    sums, n = s["sums"], np.float64(STANDARDISED)
    x = standardised(np.float64(covariates[0]), sums[0] / n, sums[2] / n)
    y = standardised(np.float64(covariates[1]), sums[1] / n, sums[3] / n)
    for z in (x, y):
        features[at] = z
        features[at + 1] = z * z - 1.0
        features[at + 2] = max(z - 1.0, 0.0) - HINGE_MEAN
        at += 3
    spread = math.sqrt((sums[2] / n - (sums[0] / n) ** 2 + 1e-4) * (sums[3] / n - (sums[1] / n) ** 2 + 1e-4))
    features[at] = x * y - (sums[4] / n - sums[0] / n * sums[1] / n) / spread


@kernel
def standardised(x: float, mean: float, square: float) -> float:
    """X less a mean, in standard deviations, clipped to +-CUT. `square`: mean of squares."""
    return min(max((x - mean) / math.sqrt(max(square - mean * mean, 0.0) + 1e-4), -CUT), CUT)


@kernel
def is_described(features: Floats, n: int) -> bool:
    """Are the covariates among the `n` features, if there are any, not clipped?"""
    first = 1 + CLOCK_FEATURES
    return n < FEATURES or (abs(features[first]) < CUT and abs(features[first + 3]) < CUT)


@kernel
def sum_covariates(s: Row, covariates: Floats32) -> None:
    """Add the covariates to the sums that standardise them."""
    x, y = np.float64(covariates[0]), np.float64(covariates[1])
    sums = s["sums"]
    sums[0] += x
    sums[1] += y
    sums[2] += x * x
    sums[3] += y * y
    sums[4] += x * y


@kernel
def expected(s: Row, features: Floats) -> float:
    """Part of a value that is explained: without intercept, and without harmonics before two of their periods."""
    usable = 0
    if s["elapsed"] >= TWO_DAYS:
        usable = CLOCK_FEATURES if s["elapsed"] >= TWO_WEEKS else DAILY_FEATURES
    total = 0.0
    for i in range(1, s["coefficients"].size):
        if i <= usable or i > CLOCK_FEATURES:
            total += s["coefficients"][i] * features[i]
    return total


@kernel
def compare_errors(s: Row, y: float, explained: float) -> float:
    """Update the squared errors with and without the regression; returns the value to learn from.

    The error of an outlier is clipped to the largest one that counts, so that a single outlier does not bend the
    regression.
    """
    if s["seen"] == 1:
        s["mean"] = y
        s["offset"] = y
    rate = 1.0 / min(np.float64(s["seen"]), COMPARED)
    without = y - s["mean"]
    with_ = y - s["offset"] - s["coefficients"][0] - explained
    cap = ERROR_CAP * (s["error_without"] + 1e-12) if s["seen"] > LAG else 1e300
    s["error_without"] += rate * (min(without * without, cap) - s["error_without"])
    s["error_with"] += rate * (min(with_ * with_, cap) - s["error_with"])
    s["mean"] += rate * without
    if s["seen"] <= LAG:
        s["offset"] = s["mean"]
        return y
    largest = math.sqrt(ERROR_CAP * s["error_with"])
    target: float = y - with_ + min(max(with_, -largest), largest)
    return target


@kernel
def adjust(
    s: Row, y: float, minute: int, covariates: Floats32, hold: bool, features: Floats, gain: Floats
) -> tuple[float, bool]:
    """Value y less what clock and covariates explain; true where the gate has switched, and references must restart.

    `minute`: of the week, -1 where it is not known. `covariates` (COVARIATES,): natural logs of 1 + value. `hold`: the
    gate must not switch (a change is open, and its frozen reference holds values adjusted in the present way).
    `features` and `gain`: scratch space of FEATURES numbers each.
    """
    n = s["coefficients"].size
    if minute >= 0:
        ahead = (minute - s["last_minute"]) % MINUTES_A_WEEK if s["last_minute"] >= 0 else 0
        if ahead < MINUTES_A_WEEK // 2:  # otherwise the event is late, not almost a week ahead
            s["elapsed"] += ahead
            s["last_minute"] = minute
    known = n < FEATURES or s["seen"] >= STANDARDISED
    s["seen"] += 1
    explained = 0.0
    if known:
        fill_features(s, minute, covariates, features)
        explained = expected(s, features)
    else:
        sum_covariates(s, covariates)
    target = compare_errors(s, y, explained)
    switched = False
    if s["seen"] > NEEDED and not hold:
        limit = CLOSES_ABOVE if s["active"] else OPENS_BELOW
        active = s["error_with"] < limit * s["error_without"]
        switched = active != (s["active"] != 0)
        s["active"] = 1 if active else 0
    slot = s["seen"] % LAG
    if known and s["seen"] > LAG:
        fill_features(s, s["minutes"][slot], s["covariates"][slot], features)
        if is_described(features, n):
            teach(s["coefficients"], s["precision"], features[:n], np.float64(s["values"][slot]) - s["offset"], gain)
    s["values"][slot] = target
    s["minutes"][slot] = minute
    if n == FEATURES:
        for c in range(COVARIATES):
            s["covariates"][slot, c] = covariates[c]
    return y - explained if s["active"] else y, switched
