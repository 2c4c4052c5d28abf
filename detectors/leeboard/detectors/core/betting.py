"""Bets on a sequence of N(0,1) scores: Shiryaev-Roberts e-detectors, tempered by the stream's own excursions.

Bet k multiplies its wealth by f_k(z), whose mean is at most 1 while z is N(0,1). The Shiryaev-Roberts process
M <- (M + 1) f_k(z) then satisfies E[number of times it reaches A in n events] <= n / A (Shin, Ramdas, Rinaldo,
"E-detectors", 2024), and so does a weighted mean of such processes.

Real streams make larger excursions than independent scores would. Hence bet k plays f_k ** theta_k with theta_k <= 1
learned from the heights of the excursions (of the untempered log wealth, started at zero) that the stream has already
finished: under weak dependence those heights have an exponential tail (Cramer-Lundberg), theta_k is its posterior
predictive rate, and it changes between excursions only, hence before the event that it judges. Since the predictive
discount depends on the height that is claimed, every bet plays twice: for the notice level and for the page level.
"""

import math

import numpy as np

from .jit import Floats, Record, kernel
from .special import exp_bounded

#: scores are clipped here: one event gives at most 5.5 nats to the boldest bet
CLIP = 3.5
LOCATIONS = [-2.4, -1.2, -0.6, -0.3, -0.15, 0.15, 0.3, 0.6, 1.2, 2.4]  # the level moved by so many sd
SPREADS = [1.35, 2.0]  # the spread grew by this factor (a shrinking spread never pages)
CONTAMINATIONS = [
    (0.02, 3.2),
    (0.05, 2.2),
    (0.05, 3.2),
    (0.15, 2.0),
]  # this share of the events became so many sd higher
BETS = len(LOCATIONS) + len(SPREADS) + len(CONTAMINATIONS)
QUADRATIC = len(LOCATIONS) + len(SPREADS)
# log f_k(z) = CONSTANT + LINEAR z + SQUARE z^2 for the first QUADRATIC bets
CONSTANT = np.array([-0.5 * d * d for d in LOCATIONS] + [-math.log(s) for s in SPREADS])
LINEAR = np.array(LOCATIONS + [0.0] * len(SPREADS))
SQUARE = np.array([0.0] * len(LOCATIONS) + [0.5 * (1.0 - 1.0 / (s * s)) for s in SPREADS])
_RAW = np.array([0.06] * len(LOCATIONS) + [0.05] * (BETS - len(LOCATIONS)))
WEIGHTS = _RAW / _RAW.sum()

# The contamination bets, log(1 - e + e exp(d z - d^2/2)), are read from a table by linear interpolation. They are
# convex, so the interpolation lies above them by at most step^2 / 8 * d^2 / 4 < 1e-5: taken off, the mean stays <= 1.
STEPS = 128
_GRID = np.arange(int(2 * CLIP * STEPS) + 2) / STEPS - CLIP
TAIL = np.array(
    [
        [math.log(1 - e + e * math.exp(d * z - 0.5 * d * d)) - d * d / 32 / STEPS**2 for z in _GRID]
        for e, d in CONTAMINATIONS
    ]
)

#: prior of the tempering: so many finished excursions with theta = 1
PRIOR_EXCURSIONS = 10.0
#: excursions below this many nats are not recorded
FLOOR_NATS = 1.0
#: excursions remembered
MEMORY = 200.0
#: a wealth never exceeds this (the largest level ever claimed is below 1e12)
WEALTH_CAP = 1e250


def wealth_dtype(bets: int) -> np.dtype[np.void]:
    """State of so many bets."""
    return np.dtype(
        [
            ("notice", "f8", bets),  # Shiryaev-Roberts processes tempered for the notice level
            ("page", "f8", bets),  # and for the page level
            ("excursion", "f8", bets),  # untempered log wealth since it was last zero
            ("peak", "f8", bets),  # its highest value
            ("theta_notice", "f8", bets),
            ("theta_page", "f8", bets),
            ("start", "i8", bets),  # event at which the excursion left zero
            ("finished", "f4", bets),  # excursions recorded
            ("heights", "f4", bets),  # sum of their heights above FLOOR_NATS
            ("nats_notice", "f8"),  # log of the levels that the thetas were made for
            ("nats_page", "f8"),
            ("stale", "i8"),  # bit k: bet k must renew its thetas when its excursion ends
            ("leader", "i8"),  # bet with the highest notice wealth
        ],
        align=True,
    )


WEALTH = wealth_dtype(BETS)


@kernel
def temper(finished: float, heights: float, nats: float) -> float:
    """Exponent theta in (0, 1] for claims of exp(nats), from so many finished excursions with that sum of heights."""
    m = PRIOR_EXCURSIONS + finished
    rate = min(1.0, m / (PRIOR_EXCURSIONS + heights))
    return min(1.0, rate * m / nats * math.log(1.0 + nats / m))


@kernel
def temper_bet(wealth: Record, k: int) -> None:
    """Renew both exponents of bet k."""
    finished, heights = np.float64(wealth["finished"][k]), np.float64(wealth["heights"][k])
    wealth["theta_notice"][k] = temper(finished, heights, wealth["nats_notice"])
    wealth["theta_page"][k] = temper(finished, heights, wealth["nats_page"])


@kernel
def claim(wealth: Record, nats_notice: float, nats_page: float) -> None:
    """Set the levels (natural logs) that the thetas are made for; inside an excursion a bet keeps its own."""
    if wealth["nats_notice"] == nats_notice and wealth["nats_page"] == nats_page:
        return
    wealth["nats_notice"] = nats_notice
    wealth["nats_page"] = nats_page
    for k in range(wealth["excursion"].size):
        if wealth["excursion"][k] <= 0.0:
            temper_bet(wealth, k)
        else:
            wealth["stale"] |= 1 << k


@kernel
def clear_wealth(wealth: Record) -> None:
    """Take all wealth off the table; what the stream taught (theta) stays."""
    for k in range(wealth["notice"].size):
        wealth["notice"][k] = 0.0
        wealth["page"][k] = 0.0
        wealth["excursion"][k] = 0.0
        wealth["peak"][k] = 0.0


@kernel
def cut_off(wealth: Record) -> None:
    """Count running excursions as heights without a new count, as a firing ends them, and renew all exponents."""
    for k in range(wealth["notice"].size):
        if wealth["excursion"][k] > FLOOR_NATS:
            height = min(max(wealth["peak"][k], wealth["excursion"][k]), 3.0 * wealth["nats_notice"])
            wealth["heights"][k] += np.float32(height - FLOOR_NATS)
        temper_bet(wealth, k)


@kernel
def end_excursion(wealth: Record, k: int) -> None:
    """Record the height of the excursion of bet k that has just ended, if it was one."""
    height = wealth["peak"][k] - FLOOR_NATS
    wealth["peak"][k] = 0.0
    if height > 0.0:
        finished: float = np.float64(wealth["finished"][k]) + 1.0
        heights: float = np.float64(wealth["heights"][k]) + height
        if finished > MEMORY:
            heights *= MEMORY / finished
            finished = MEMORY
        wealth["finished"][k] = finished
        wealth["heights"][k] = heights
    elif wealth["stale"] >> k & 1 == 0:
        return
    wealth["stale"] &= ~(1 << k)
    temper_bet(wealth, k)


@kernel
def play(wealth: Record, logs: Floats, weights: Floats, t: int) -> tuple[float, float]:
    """Play every bet on event t, whose log e-values are `logs`; weighted sums of the notice and of the page processes.

    The exponents were fixed before the event; excursions that it ends renew them for the next.
    """
    excursion, peak, start = wealth["excursion"], wealth["peak"], wealth["start"]
    notice, page = wealth["notice"], wealth["page"]
    theta_notice, theta_page = wealth["theta_notice"], wealth["theta_page"]
    n = notice.size
    for k in range(n):
        notice[k] = min((notice[k] + 1.0) * exp_bounded(theta_notice[k] * logs[k]), WEALTH_CAP)
        page[k] = min((page[k] + 1.0) * exp_bounded(theta_page[k] * logs[k]), WEALTH_CAP)
    for k in range(n):
        before = excursion[k]
        after = before + logs[k]
        start[k] = t if before <= 0.0 else start[k]
        peak[k] = max(after, peak[k])
        excursion[k] = max(after, 0.0)
    sum_notice, sum_page = 0.0, 0.0
    best, leader = -1.0, 0
    for k in range(n):
        if excursion[k] <= 0.0 and peak[k] > 0.0:
            end_excursion(wealth, k)
        share_of_wealth = weights[k] * notice[k]
        sum_notice += share_of_wealth
        sum_page += weights[k] * page[k]
        if share_of_wealth > best:
            best = share_of_wealth
            leader = k
    wealth["leader"] = leader
    return sum_notice, sum_page


@kernel
def bet(wealth: Record, z: float, t: int, logs: Floats) -> tuple[float, float]:
    """Play the BETS bets on normal score z (|z| <= CLIP) of event t; see `play`. `logs`: scratch space."""
    for k in range(QUADRATIC):
        logs[k] = CONSTANT[k] + (LINEAR[k] + SQUARE[k] * z) * z
    place = (z + CLIP) * STEPS
    left = int(place)
    part = place - left
    for i in range(BETS - QUADRATIC):
        logs[QUADRATIC + i] = TAIL[i, left] + part * (TAIL[i, left + 1] - TAIL[i, left])
    return play(wealth, logs, WEIGHTS, t)
