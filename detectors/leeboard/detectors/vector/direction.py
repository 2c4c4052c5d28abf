"""A direction learned from the newest vectors, and what new vectors score on it.

The aim of a window is d = covariance^-1 (mean of the window - usual mean), as in linear discriminant analysis (Fisher
1936); for RESIDUALS of vectors less what the regression explains. It is held for a block of 16 events. A new vector's
projection on it is ranked among those of older vectors (and of the block so far), none of which had a part in the aim:
the randomised rank is uniform while nothing changes. Its normal score is ranked once more, among the scores that this
stream's own aims have earned it LATE_EVENTS and more ago, beside PRIOR_SCORES of the normal law: a stream of bursts is
used to aims that hit the next few events. How much more the means of 16 and of 64 older projections vary than
independence allows (`variance_inflation`) divides the evidence, and traffic that comes in runs is judged more carefully besides
(`log_e_values`, `knows_enough`).
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.algebra import (
    SUM_LIMIT,
    SUM_SHIFT,
    Weights,
    largest_sum,
    scale_to_sum,
    solve_packed,
    weighted_sum,
)
from leeboard.detectors.core.betting import CLIP, STEPS
from leeboard.detectors.core.jit import Floats, Record, kernel
from leeboard.detectors.core.ranks import REFERENCE
from leeboard.detectors.core.special import normal_quantile

from .store import (
    BLOCK_EVENTS,
    HISTORY,
    LARGEST_CODE,
    LONGEST_WINDOW,
    MAX_DIMENSIONS,
    RESIDUALS,
    add_up,
    given_of,
    oldest,
    vector_of,
)

#: events that an aim is learned from, by kind (VECTORS, GIVENS, RESIDUALS): a short window sees a clear change soon, a
#: long one a faint one; of what is given a new part is faint more often than not
WINDOWS = np.array([[48, 160, 48], [64, LONGEST_WINDOW, 48], [48, 160, 48]])
DISCRIMINANTS = WINDOWS.shape[1]
#: leading coordinates that an aim looks at: all, or the READABLE ones, of which few events are enough to learn from
READABLE = 18
COORDINATES_USED = np.array([MAX_DIMENSIONS, MAX_DIMENSIONS, READABLE])
#: older vectors needed
COMPARED_NEEDED = 40
#: scores join the ones that later scores are ranked among so many events late, so that a change is not learned away
LATE_EVENTS = 128
#: scores of the normal law among them
PRIOR_SCORES = 128.0
#: prior blocks with the variance of independence
PRIOR_BLOCKS = 4.0
#: part of a standard error that does not count, see `log_e_values`: usually; and in streams of runs or for residuals, since
#: what a regression leaves of a shift of what is given must not count
MARGIN, WIDE_MARGIN = 0.5, 2.7
#: events to compare with before evidence counts, for every 1 by which inflation exceeds 1; and at most
ENOUGH, MOST_NEEDED = 300.0, 0.8 * HISTORY
#: weight of the newest aim in the mean inflation of recent ones
USUAL_RATE = 1.0 / 16.0
#: standard errors that an inflation must lie above 1 to make bold bets cautious
DOUBT = 2.0
#: blocks of a stretch, whose means tell of longer runs; overlapping ones count as so many independent ones each
STRETCH, STRETCH_WEIGHT = 4, 0.375

SHIFTS = np.array([0.3, 0.6, 1.2])
#: this share of the events goes far out: the density is e x KAPPA p^(KAPPA - 1) for an upper tail probability p
SHARES = np.array([0.03, 0.1, 0.3])
KAPPA = 0.2
BETS = SHIFTS.size + SHARES.size
_SHIFT_WEIGHT, _SHARE_WEIGHT = 0.25, 0.25 / 3.0
WEIGHTS = np.array(([_SHIFT_WEIGHT] * SHIFTS.size + [_SHARE_WEIGHT] * SHARES.size) * DISCRIMINANTS) / DISCRIMINANTS


def _tail_bets() -> list[list[float]]:
    """Log e-values at the grid points; convex, so interpolation lies above by less than what is taken off."""
    grid = [k / STEPS - CLIP for k in range(int(2 * CLIP * STEPS) + 2)]
    tails = [0.5 * math.erfc(z * math.sqrt(0.5)) for z in grid]
    return [[round(math.log(1 - e + e * KAPPA * p ** (KAPPA - 1)) - 2e-5, 9) for p in tails] for e in SHARES.tolist()]


TAILS = np.array(_tail_bets())


def discriminant_dtype(dimensions: int, given: int) -> np.dtype[Any]:
    """An aim and the scores it earned."""
    return np.dtype(
        [
            ("weights", "i2", dimensions),
            ("given", "i2", given),  # weights of what the vectors are given, with their sign
            ("projections", "i2", HISTORY + BLOCK_EVENTS),
            ("scale", "f8"),  # of the weights: a projection is this times that on the direction, and a constant
            ("compared", "i4"),  # projections of older vectors, 0 for no aim
            ("block", "i4"),  # projections of the block so far
            ("centre", "f8"),  # mean of the older projections
            ("spread", "f8"),  # and their standard deviation
            ("variance_inflation", "f8"),
            ("usual", "f8"),  # mean inflation of recent aims, less 1
            ("caution", "f8"),  # divides what bold bets pay besides, see `log_e_values`
            ("scores", "f4", LATE_EVENTS),  # ring of first scores
            ("scored", "i8"),
            ("reference", REFERENCE),  # first scores, late
        ],
        align=True,
    )


@kernel
def shift_of_window(row: Record, space: Record, kind: int, first: int, last: int, shift: Floats) -> None:
    """Mean of the events `first` to `last` - 1 less the usual mean, in codes; of the residuals, for RESIDUALS."""
    given = row["given_mean"].size
    sums, given_sums = np.zeros(shift.size, np.int32), np.zeros(given, np.int32)
    add_up(space, kind, first, last, sums, given_sums)
    events = last - first
    for j in range(shift.size):
        shift[j] = np.float64(sums[j]) / events - row["mean"][j]
    if kind == RESIDUALS:
        for i in range(given):
            moved = np.float64(given_sums[i]) / events - row["given_mean"][i]
            for j in range(shift.size):
                shift[j] -= moved * np.float64(row["regression"][i, j])


@kernel
def solve_discriminant(row: Record, w: int, shift: Floats) -> None:
    """Replace a shift of the mean by the direction of aim w that it gives: covariance^-1 shift, 0 where it is blind."""
    seen = min(COORDINATES_USED[w], shift.size)
    solve_packed(row["factor"], shift[:seen])
    shift[seen:] = 0.0


@kernel
def fit_discriminant(row: Record, w: int, space: Record, kind: int, first: int, last: int) -> None:
    """Learn the direction of aim w from the events `first` to `last` - 1."""
    discriminant = row["discriminants"][w]
    direction = np.zeros(row["mean"].size)
    shift_of_window(row, space, kind, first, last, direction)
    solve_discriminant(row, w, direction)
    reach = largest_sum(direction, LARGEST_CODE)
    against = np.zeros(row["given_mean"].size)
    if kind == RESIDUALS:
        for i in range(against.size):
            total = 0.0
            for j in range(direction.size):
                total -= np.float64(row["regression"][i, j]) * direction[j]
            against[i] = total
        reach += largest_sum(against, LARGEST_CODE)
    scale = SUM_LIMIT * 2.0**SUM_SHIFT / reach if reach > 0.0 else 0.0
    discriminant["scale"] = scale / 2.0**SUM_SHIFT
    scale_to_sum(direction, scale, discriminant["weights"])
    scale_to_sum(against, scale, discriminant["given"])


@kernel
def project(discriminant: Record, space: Record, kind: int, event: int) -> int:
    """Projection of an event on the aim, within 16 bits."""
    total = weighted_sum(discriminant["weights"], vector_of(space, kind, event))
    if kind == RESIDUALS:
        total += weighted_sum(discriminant["given"], given_of(space, event))
    return total >> SUM_SHIFT


@kernel
def refresh_discriminant(row: Record, w: int, space: Record, kind: int, event: int) -> None:
    """Learn the aim of window w from the events before `event`, and project what is older than the window."""
    discriminant = row["discriminants"][w]
    discriminant["compared"] = 0
    discriminant["block"] = 0
    last = event - WINDOWS[kind, w]
    first = max(row["fitted"], last - HISTORY, oldest(space, kind))
    away_from, away_to = row["away"][0], row["away"][1]
    overlap = max(min(last, away_to) - max(first, away_from), 0)
    if last - first - overlap < COMPARED_NEEDED:
        return
    fit_discriminant(row, w, space, kind, last, event)
    projections = discriminant["projections"]
    n = 0
    for older in range(first, last):
        if away_from <= older < away_to:
            continue
        projections[n] = project(discriminant, space, kind, older)
        n += 1
    describe(discriminant, n)
    discriminant["compared"] = n


@kernel
def describe(discriminant: Record, n: int) -> None:
    """Mean, spread, inflation and caution of n projections in the order of their events."""
    projections = discriminant["projections"]
    total, squares = np.int64(0), np.int64(0)
    for k in range(n):
        x = np.int64(projections[k])
        total += x
        squares += x * x
    centre = np.float64(total) / n
    variance = max(np.float64(squares) / n - centre * centre, 1e-9)
    discriminant["centre"] = centre
    discriminant["spread"] = math.sqrt(variance)
    variance_inflation = variance_inflation_of(projections, n, centre, variance)
    error = math.sqrt(2.0 / (PRIOR_BLOCKS + n // BLOCK_EVENTS))
    usual = 1.0 + discriminant["usual"]
    discriminant["usual"] += USUAL_RATE * (max(variance_inflation * (1.0 - error), 1.0) - usual)
    discriminant["variance_inflation"] = max(variance_inflation, usual)
    discriminant["caution"] = max(discriminant["variance_inflation"] * (1.0 - DOUBT * error), 1.0)


@kernel
def variance_inflation_of(projections: Weights, n: int, centre: float, variance: float) -> float:
    """How much more the means of blocks, and of stretches of them, vary than those of independent projections would."""
    blocks = n // BLOCK_EVENTS
    recent = np.zeros(STRETCH)  # deviations of the newest blocks of a stretch
    long_run, long_wander = 0.0, 0.0
    for b in range(blocks):
        total = np.int64(0)
        for k in range(n - (b + 1) * BLOCK_EVENTS, n - b * BLOCK_EVENTS):
            total += np.int64(projections[k])
        deviation = np.float64(total) - BLOCK_EVENTS * centre
        long_run += deviation * deviation
        recent[b % STRETCH] = deviation
        if b >= STRETCH - 1:
            together = 0.0
            for k in range(STRETCH):
                together += recent[k]
            long_wander += together * together / STRETCH
    scale = BLOCK_EVENTS * variance
    variance_inflation: float = (PRIOR_BLOCKS + long_run / scale) / (PRIOR_BLOCKS + blocks)
    if blocks > STRETCH:
        # one standard error below the estimate: a few stretches show much by chance alone
        stretches = blocks - STRETCH + 1
        error = math.sqrt(2.0 / (STRETCH_WEIGHT * stretches))
        variance_inflation = max(variance_inflation, long_wander / scale / stretches * (1.0 - error))
    return variance_inflation


@kernel
def rank_projection(discriminant: Record, projection: int, v: float) -> float:
    """Randomised rank, in (0, 1), among older projections and those of the block; the block then takes it in."""
    projections = discriminant["projections"]
    n = np.int64(discriminant["compared"] + discriminant["block"])
    x = np.int16(projection)
    below, equal = 0, 0
    for k in range(n):
        below += 1 if projections[k] < x else 0
        equal += 1 if projections[k] == x else 0
    projections[n] = x
    discriminant["block"] += 1
    u: float = (below + v * (equal + 1)) / (n + 1.0)
    return u


@kernel
def recalibrated_rank(discriminant: Record, score: float, v: float) -> float:
    """Rank, in (0, 1), of a first score among the earlier ones and those of the normal law; learns an older one."""
    reference, scores = discriminant["reference"], discriminant["scores"]
    place = discriminant["scored"] % LATE_EVENTS
    if discriminant["scored"] >= LATE_EVENTS:
        ranks.rank(reference, np.float64(scores[place]), 0.5)
    scores[place] = score
    discriminant["scored"] += 1
    gaps = reference["seen"] + 1.0
    normal = 0.5 * math.erfc(-score * math.sqrt(0.5))
    rank: float = (gaps * ranks.rank_frozen(reference, score, v) + PRIOR_SCORES * normal) / (gaps + PRIOR_SCORES)
    return rank


@kernel
def knows_enough(discriminant: Record) -> bool:
    """Is the aim compared with so many projections that all usual runs are among them?"""
    enough: bool = discriminant["compared"] >= min(ENOUGH * (discriminant["variance_inflation"] - 1.0), MOST_NEEDED)
    return enough


@kernel
def clipped(u: float) -> float:
    """Normal score of a uniform number, within the range of the bets."""
    return min(max(normal_quantile(u), -CLIP), CLIP)


@kernel
def log_e_values(discriminant: Record, projection: int, u: float, v: float, margin: float, logs: Floats) -> None:
    """Write the log e-values of the BETS bets on one event.

    `margin`: part of a standard deviation that does not count, times the square root of the events compared with. What
    is compared with is a sample, and an aim that goes its error's way would gain from it for ever. In runs (`caution`
    above 1) the margin grows to WIDE_MARGIN, and the bold bets, which one long run could decide, are divided by the
    caution as well: all but that on the smallest shift.
    """
    first = clipped(rank_projection(discriminant, projection, u))
    compared = min(np.float64(discriminant["compared"]), discriminant["reference"]["seen"] + 1.0 + PRIOR_SCORES)
    margin += min(discriminant["caution"] - 1.0, 1.0) * (WIDE_MARGIN - margin)
    score = clipped(recalibrated_rank(discriminant, first, v)) - margin * math.sqrt(
        discriminant["variance_inflation"] / compared
    )
    score = max(score, -CLIP)
    bold = discriminant["variance_inflation"] * discriminant["caution"]
    for k in range(SHIFTS.size):
        logs[k] = (SHIFTS[k] * score - 0.5 * SHIFTS[k] * SHIFTS[k]) / (
            discriminant["variance_inflation"] if k == 0 else bold
        )
    place = (score + CLIP) * STEPS
    left = int(place)
    part = place - left
    for k in range(SHARES.size):
        bet = TAILS[k, left] + part * (TAILS[k, left + 1] - TAILS[k, left])
        logs[SHIFTS.size + k] = bet / bold
