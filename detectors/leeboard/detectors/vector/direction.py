"""Discriminant directions learned from the newest vectors, and the scores of new vectors on them.

The discriminant direction of a window is d = covariance^-1 (mean of the window - mean of the law), as in linear
discriminant analysis (Fisher 1936). For RESIDUALS, all means are those of vectors less what the regression explains.
Once fitted, a direction is frozen for a block of 16 events.

The projection of a new vector on it is ranked among the projections of older vectors and of the block so far. None of
these was used to fit the direction, so the randomised rank is uniform while nothing changes. Its normal score is ranked
a second time (`recalibrated_rank`), among the scores of at least LATE_EVENTS ago and PRIOR_SCORES of the normal law: in
a bursty stream, directions fitted to a burst regularly have high scores in the next few events.

The evidence is divided by the variance inflation (design effect): how much more the means of 16 and of 64 older
projections vary than those of independent ones. Where it is significantly above 1, as in clustered streams, a second
stage divides the bets on large shifts once more, widens the margin and delays the evidence (`direction_log_e_values`,
`has_enough_history`).
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.algebra import (
    SUM_LIMIT,
    SUM_SHIFT,
    WeightRow,
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
    MOST_DIMENSIONS,
    RESIDUALS,
    conditioning_of,
    oldest,
    sum_codes,
    vector_of,
)

#: events of the windows from which directions are fitted, by kind (VECTORS, CONDITIONING, RESIDUALS): a short window
#: finds a clear change early, a long one a faint change; changes of conditioning vectors are more often faint
WINDOWS = np.array([[48, 160, 48], [64, LONGEST_WINDOW, 48], [48, 160, 48]])
assert WINDOWS.max() <= LONGEST_WINDOW
DISCRIMINANTS = WINDOWS.shape[1]
#: leading coordinates used by a direction: all, or the READABLE ones, for which few events are enough
READABLE = 18
COORDINATES_USED = np.array([MOST_DIMENSIONS, MOST_DIMENSIONS, READABLE])
assert COORDINATES_USED.size == DISCRIMINANTS
#: older vectors needed
COMPARED_NEEDED = 40
#: later scores are ranked among scores of at least so many events ago, so that a change is not learned away
LATE_EVENTS = 128
#: number of scores of the normal law among them
PRIOR_SCORES = 128.0
#: prior blocks with the variance of independent projections
PRIOR_BLOCKS = 4.0
#: number of standard errors that do not count as evidence (see `direction_log_e_values`): in general, and in clustered
#: streams or for residuals, since a regression does not remove a shift of the conditioning vectors completely
MARGIN, WIDE_MARGIN = 0.5, 2.7
#: older projections needed for every 1 by which the variance inflation exceeds 1, and most that are needed
HISTORY_PER_INFLATION, MOST_NEEDED = 300.0, 0.8 * HISTORY
#: weight of the newest direction in the mean variance inflation of recent ones
RECENT_RATE = 1.0 / 16.0
#: the second stage of the variance inflation starts so many standard errors above 1
SIGNIFICANT_ERRORS = 2.0
#: blocks of a stretch, whose means show longer clusters; number of independent stretches that an overlapping one counts
#: for
STRETCH, STRETCH_WEIGHT = 4, 0.375

#: bets "the mean of the scores has shifted by so many sd"
SHIFTS = np.array([0.3, 0.6, 1.2])
#: bets "this share e of the events lies far out": a density of e x KAPPA p^(KAPPA - 1) at upper tail probability p
SHARES = np.array([0.03, 0.1, 0.3])
KAPPA = 0.2
DIRECTION_BETS = SHIFTS.size + SHARES.size
_SHIFT_WEIGHT, _SHARE_WEIGHT = 0.25, 0.25 / 3.0
WEIGHTS = np.array(([_SHIFT_WEIGHT] * SHIFTS.size + [_SHARE_WEIGHT] * SHARES.size) * DISCRIMINANTS) / DISCRIMINANTS


def _tail_bets() -> list[list[float]]:
    """Log e-values at grid points, less a bound of the error of interpolation (convex, hence never below)."""
    grid = [k / STEPS - CLIP for k in range(int(2 * CLIP * STEPS) + 2)]
    tails = [0.5 * math.erfc(z * math.sqrt(0.5)) for z in grid]
    return [[round(math.log(1 - e + e * KAPPA * p ** (KAPPA - 1)) - 2e-5, 9) for p in tails] for e in SHARES.tolist()]


TAILS = np.array(_tail_bets())


def discriminant_dtype(dimensions: int, conditioning_dimensions: int) -> np.dtype[Any]:
    """A direction, the projections that it is compared with, and the scores of the directions of this window so far."""
    return np.dtype(
        [
            ("weights", "i2", dimensions),
            ("conditioning", "i2", conditioning_dimensions),  # weights of the conditioning vector
            ("projections", "i2", HISTORY + BLOCK_EVENTS),  # of older vectors, then of the block
            ("scale", "f8"),  # weights per unit of the direction, after the shift by SUM_SHIFT
            ("compared", "i4"),  # number of projections of older vectors, 0 while there is no direction
            ("block", "i4"),  # number of projections of the block so far
            ("centre", "f8"),  # mean of the older projections
            ("spread", "f8"),  # standard deviation of the older projections
            ("variance_inflation", "f8"),
            ("recent_inflation", "f8"),  # mean variance inflation of recent directions, less 1
            ("second_inflation", "f8"),  # second stage of the variance inflation, at least 1
            ("scores", "f4", LATE_EVENTS),  # ring of first scores
            ("scored", "i8"),  # number of first scores so far
            ("reference", REFERENCE),  # first scores of at least LATE_EVENTS ago
        ],
        align=True,
    )


@kernel
def shift_of_window(row: Record, store: Record, kind: int, first: int, last: int, shift: Floats) -> None:
    """Write the mean of events `first` to `last` - 1 less that of the law, in codes (n,); RESIDUALS: of residuals."""
    conditioning = row["conditioning_mean"].size
    sums, conditioning_sums = np.zeros(shift.size, np.int32), np.zeros(conditioning, np.int32)
    sum_codes(store, kind, first, last, sums, conditioning_sums)
    events = last - first
    for j in range(shift.size):
        shift[j] = np.float64(sums[j]) / events - row["mean"][j]
    if kind == RESIDUALS:
        for i in range(conditioning):
            conditioning_shift = np.float64(conditioning_sums[i]) / events - row["conditioning_mean"][i]
            for j in range(shift.size):
                shift[j] -= conditioning_shift * np.float64(row["regression"][i, j])


@kernel
def solve_discriminant(row: Record, w: int, shift: Floats) -> None:
    """Replace a shift of the mean (n,) by direction w: covariance^-1 shift, 0 for coordinates that w does not use."""
    used = min(COORDINATES_USED[w], shift.size)
    solve_packed(row["factor"], shift[:used])
    shift[used:] = 0.0


@kernel
def fit_discriminant(row: Record, w: int, store: Record, kind: int, first: int, last: int) -> None:
    """Fit direction w to the window of events `first` to `last` - 1."""
    discriminant = row["discriminants"][w]
    direction = np.zeros(row["mean"].size)
    shift_of_window(row, store, kind, first, last, direction)
    solve_discriminant(row, w, direction)
    largest = largest_sum(direction, LARGEST_CODE)
    conditioning_direction = np.zeros(row["conditioning_mean"].size)
    if kind == RESIDUALS:
        for i in range(conditioning_direction.size):
            total = 0.0
            for j in range(direction.size):
                total -= np.float64(row["regression"][i, j]) * direction[j]
            conditioning_direction[i] = total
        largest += largest_sum(conditioning_direction, LARGEST_CODE)
    scale = SUM_LIMIT * 2.0**SUM_SHIFT / largest if largest > 0.0 else 0.0
    discriminant["scale"] = scale / 2.0**SUM_SHIFT
    scale_to_sum(direction, scale, discriminant["weights"])
    scale_to_sum(conditioning_direction, scale, discriminant["conditioning"])


@kernel
def project(discriminant: Record, store: Record, kind: int, event: int) -> int:
    """Projection of an event on a direction, within 16 bits."""
    total = weighted_sum(discriminant["weights"], vector_of(store, kind, event))
    if kind == RESIDUALS:
        total += weighted_sum(discriminant["conditioning"], conditioning_of(store, event))
    return total >> SUM_SHIFT


@kernel
def refresh_discriminant(row: Record, w: int, store: Record, kind: int, event: int) -> None:
    """Fit direction w to the window of events before `event`, and project the events before the window."""
    discriminant = row["discriminants"][w]
    discriminant["compared"] = 0
    discriminant["block"] = 0
    last = event - WINDOWS[kind, w]
    first = max(row["fitted"], last - HISTORY, oldest(store, kind))
    away_from, away_to = row["away"][0], row["away"][1]
    overlap = max(min(last, away_to) - max(first, away_from), 0)
    if last - first - overlap < COMPARED_NEEDED:
        return
    fit_discriminant(row, w, store, kind, last, event)
    projections = discriminant["projections"]
    n = 0
    for older in range(first, last):
        if away_from <= older < away_to:
            continue
        projections[n] = project(discriminant, store, kind, older)
        n += 1
    describe_projections(discriminant, n)
    discriminant["compared"] = n


@kernel
def describe_projections(discriminant: Record, n: int) -> None:
    """Write mean, spread and both stages of the variance inflation of n projections, oldest first."""
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
    recent = 1.0 + discriminant["recent_inflation"]
    discriminant["recent_inflation"] += RECENT_RATE * (max(variance_inflation * (1.0 - error), 1.0) - recent)
    discriminant["variance_inflation"] = max(variance_inflation, recent)
    discriminant["second_inflation"] = max(discriminant["variance_inflation"] * (1.0 - SIGNIFICANT_ERRORS * error), 1.0)


@kernel
def variance_inflation_of(projections: WeightRow, n: int, centre: float, variance: float) -> float:
    """Variance of the means of blocks and of stretches of blocks, relative to independent projections; oldest first."""
    blocks = n // BLOCK_EVENTS
    stretch = np.zeros(STRETCH)  # deviations of the blocks of a stretch
    block_squares, stretch_squares = 0.0, 0.0
    for b in range(blocks):
        total = np.int64(0)
        for k in range(n - (b + 1) * BLOCK_EVENTS, n - b * BLOCK_EVENTS):
            total += np.int64(projections[k])
        deviation = np.float64(total) - BLOCK_EVENTS * centre
        block_squares += deviation * deviation
        stretch[b % STRETCH] = deviation
        if b >= STRETCH - 1:
            stretch_sum = 0.0
            for k in range(STRETCH):
                stretch_sum += stretch[k]
            stretch_squares += stretch_sum * stretch_sum / STRETCH
    scale = BLOCK_EVENTS * variance
    variance_inflation: float = (PRIOR_BLOCKS + block_squares / scale) / (PRIOR_BLOCKS + blocks)
    if blocks > STRETCH:
        # one standard error below the estimate, since few stretches vary much by chance alone
        stretches = blocks - STRETCH + 1
        error = math.sqrt(2.0 / (STRETCH_WEIGHT * stretches))
        variance_inflation = max(variance_inflation, stretch_squares / scale / stretches * (1.0 - error))
    return variance_inflation


@kernel
def rank_projection(discriminant: Record, projection: int, v: float) -> float:
    """Randomised rank, in (0, 1), among the projections of older vectors and of the block; then adds it to the block.

    `v`: uniform on (0, 1).
    """
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
    """Rank, in (0, 1), of a first score among those of at least LATE_EVENTS ago and PRIOR_SCORES of the normal law.

    `v`: uniform on (0, 1). Then the score of LATE_EVENTS ago is added to the reference.
    """
    reference, scores = discriminant["reference"], discriminant["scores"]
    slot = discriminant["scored"] % LATE_EVENTS
    if discriminant["scored"] >= LATE_EVENTS:
        ranks.rank(reference, np.float64(scores[slot]), 0.5)
    scores[slot] = score
    discriminant["scored"] += 1
    gaps = reference["seen"] + 1.0
    normal = 0.5 * math.erfc(-score * math.sqrt(0.5))
    rank: float = (gaps * ranks.rank_frozen(reference, score, v) + PRIOR_SCORES * normal) / (gaps + PRIOR_SCORES)
    return rank


@kernel
def has_enough_history(discriminant: Record) -> bool:
    """Is the direction compared with enough projections, given their variance inflation, for its evidence to count?"""
    enough: bool = discriminant["compared"] >= min(
        HISTORY_PER_INFLATION * (discriminant["variance_inflation"] - 1.0), MOST_NEEDED
    )
    return enough


@kernel
def clipped(u: float) -> float:
    """Normal score of u in (0, 1), clipped to +-CLIP."""
    return min(max(normal_quantile(u), -CLIP), CLIP)


@kernel
def direction_log_e_values(
    discriminant: Record, projection: int, u: float, v: float, margin: float, logs: Floats
) -> None:
    """Write the log e-values (DIRECTION_BETS,) of one event. `u`, `v`: uniform on (0, 1).

    `margin` standard errors of the mean of the older projections are subtracted from the score: these are a sample, and
    a direction along the sampling error would win for ever. In clustered streams (second stage of the variance
    inflation above 1) the margin grows to WIDE_MARGIN. All bets but that on the smallest shift could be decided by one
    long cluster; their log e-values are divided by the second stage as well.
    """
    first = clipped(rank_projection(discriminant, projection, u))
    compared = min(np.float64(discriminant["compared"]), discriminant["reference"]["seen"] + 1.0 + PRIOR_SCORES)
    margin += min(discriminant["second_inflation"] - 1.0, 1.0) * (WIDE_MARGIN - margin)
    score = clipped(recalibrated_rank(discriminant, first, v)) - margin * math.sqrt(
        discriminant["variance_inflation"] / compared
    )
    score = max(score, -CLIP)
    large_shift_divisor = discriminant["variance_inflation"] * discriminant["second_inflation"]
    for k in range(SHIFTS.size):
        logs[k] = (SHIFTS[k] * score - 0.5 * SHIFTS[k] * SHIFTS[k]) / (
            discriminant["variance_inflation"] if k == 0 else large_shift_divisor
        )
    position = (score + CLIP) * STEPS
    left = int(position)
    part = position - left
    for k in range(SHARES.size):
        bet = TAILS[k, left] + part * (TAILS[k, left + 1] - TAILS[k, left])
        logs[SHIFTS.size + k] = bet / large_shift_divisor
