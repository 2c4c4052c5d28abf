"""Bets on a sequence of N(0,1) scores: Shiryaev-Roberts e-detectors, tempered by the stream's own excursions.

Bet k multiplies its wealth by the e-value f_k(z), whose mean is at most 1 while z is N(0,1). The Shiryaev-Roberts
process M <- (M + 1) f_k(z) then satisfies E[number of times it reaches A in n events] <= n / A (Shin, Ramdas, Rinaldo,
"E-detectors", 2024). So does a weighted mean of such processes.

Real streams make larger excursions than independent scores would. Bet k therefore uses f_k ** theta_k with an exponent
theta_k <= 1. The exponent is learned from the heights of the excursions of the untempered log wealth (started at zero)
that the stream has already finished. Under weak dependence the heights have an exponential tail (Cramer-Lundberg);
theta_k is the posterior predictive rate of that tail. It changes between excursions only, hence before the event that
it judges. The predictive discount depends on the level that is claimed, so every bet has two processes: one for claims
up to the notice level, one for claims up to the page level.
"""

import math

import numpy as np

from .jit import Floats, Record, kernel
from .special import exp_bounded

#: scores are clipped here: one event adds at most 5.5 nats to the bet on the largest shift
CLIP = 3.5
#: bets "the level has shifted by so many sd"
LOCATIONS = [-2.4, -1.2, -0.6, -0.3, -0.15, 0.15, 0.3, 0.6, 1.2, 2.4]
#: bets "the spread has grown by this factor" (there is none on a shrinking spread: it never pages)
SPREADS = [1.35, 2.0]
#: bets "this share of the events has become so many sd higher"
CONTAMINATIONS = [(0.02, 3.2), (0.05, 2.2), (0.05, 3.2), (0.15, 2.0)]
BETS = len(LOCATIONS) + len(SPREADS) + len(CONTAMINATIONS)
QUADRATIC = len(LOCATIONS) + len(SPREADS)
# log f_k(z) = CONSTANT + LINEAR z + SQUARE z^2 for the first QUADRATIC bets
CONSTANT = np.array([-0.5 * d * d for d in LOCATIONS] + [-math.log(s) for s in SPREADS])
LINEAR = np.array(LOCATIONS + [0.0] * len(SPREADS))
SQUARE = np.array([0.0] * len(LOCATIONS) + [0.5 * (1.0 - 1.0 / (s * s)) for s in SPREADS])
_RAW = np.array([0.06] * len(LOCATIONS) + [0.05] * (BETS - len(LOCATIONS)))
WEIGHTS = _RAW / _RAW.sum()

# The contamination bets, log(1 - e + e exp(d z - d^2/2)), are read from a table by linear interpolation. They are
# convex, so the interpolation lies above them by at most step^2 / 8 * d^2 / 4 < 1e-5; less that bound, the mean is <=
# 1.
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
#: older excursions are discounted so that at most so many count
MEMORY = 200.0
#: upper bound of wealth (the largest level ever claimed is below 1e12)
WEALTH_CAP = 1e250
#: bits of `stale`
assert BETS < 63


def wealth_dtype(bets: int) -> np.dtype[np.void]:
    """State of `bets` bets."""
    return np.dtype(
        [
            ("notice", "f8", bets),  # Shiryaev-Roberts processes tempered for the notice level
            ("page", "f8", bets),  # Shiryaev-Roberts processes tempered for the page level
            ("excursion", "f8", bets),  # untempered log wealth of the running excursion, 0 for none
            ("peak", "f8", bets),  # highest value of `excursion`
            ("theta_notice", "f8", bets),
            ("theta_page", "f8", bets),
            ("start", "i8", bets),  # event at which the excursion left zero
            ("finished", "f4", bets),  # number of recorded excursions
            ("heights", "f4", bets),  # sum of the heights of recorded excursions above FLOOR_NATS
            ("nats_notice", "f8"),  # natural logs of the levels for which the thetas hold
            ("nats_page", "f8"),
            ("stale", "i8"),  # bit k: the levels have changed, bet k must refresh its thetas when its excursion ends
            ("leader", "i8"),  # bet with the highest notice wealth
        ],
        align=True,
    )


WEALTH = wealth_dtype(BETS)


@kernel
def temper(finished: float, heights: float, nats: float) -> float:
    """Exponent theta in (0, 1] for claims up to a level of exp(nats).

    `finished`: number of finished excursions; `heights`: sum of their heights above FLOOR_NATS, in nats.
    """
    m = PRIOR_EXCURSIONS + finished
    rate = min(1.0, m / (PRIOR_EXCURSIONS + heights))
    return min(1.0, rate * m / nats * math.log(1.0 + nats / m))


@kernel
def temper_bet(wealth: Record, k: int) -> None:
    """Refresh both exponents of bet k."""
    finished, heights = np.float64(wealth["finished"][k]), np.float64(wealth["heights"][k])
    wealth["theta_notice"][k] = temper(finished, heights, wealth["nats_notice"])
    wealth["theta_page"][k] = temper(finished, heights, wealth["nats_page"])


@kernel
def claim(wealth: Record, nats_notice: float, nats_page: float) -> None:
    """Set the levels (natural logs) that will be claimed; a bet follows when its excursion has ended."""
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
    """Set all wealth to zero; the exponents, learned from finished excursions, stay."""
    for k in range(wealth["notice"].size):
        wealth["notice"][k] = 0.0
        wealth["page"][k] = 0.0
        wealth["excursion"][k] = 0.0
        wealth["peak"][k] = 0.0


@kernel
def censor_excursions(wealth: Record) -> None:
    """End running excursions, as a firing does, and refresh all exponents.

    A running excursion is censored: its height so far is added, but it does not count as a finished one.
    """
    for k in range(wealth["notice"].size):
        if wealth["excursion"][k] > FLOOR_NATS:
            height = min(max(wealth["peak"][k], wealth["excursion"][k]), 3.0 * wealth["nats_notice"])
            wealth["heights"][k] += np.float32(height - FLOOR_NATS)
        temper_bet(wealth, k)


@kernel
def end_excursion(wealth: Record, k: int) -> None:
    """Record the height of the excursion of bet k that has just ended, if it exceeded FLOOR_NATS."""
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
    """Update every process with event t; returns the weighted sums of the notice and of the page processes.

    `logs` (bets,): log e-values of the event; `weights` (bets,). The exponents were fixed before the event; an
    excursion that the event ends refreshes them for the next one.
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
    """`play` the BETS bets on normal score z (|z| <= CLIP) of event t. `logs`: scratch space of BETS numbers."""
    for k in range(QUADRATIC):
        logs[k] = CONSTANT[k] + (LINEAR[k] + SQUARE[k] * z) * z
    position = (z + CLIP) * STEPS
    left = int(position)
    part = position - left
    for i in range(BETS - QUADRATIC):
        logs[QUADRATIC + i] = TAIL[i, left] + part * (TAIL[i, left + 1] - TAIL[i, left])
    return play(wealth, logs, WEIGHTS, t)
