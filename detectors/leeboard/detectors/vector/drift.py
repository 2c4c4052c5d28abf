"""Drift of a stream of vectors: evidence that the mean has shifted, in whatever direction.

A row watches one kind of vectors of a store (`store`). It holds the law of the stream, which is refitted from time to
time (`fit`), discriminant directions, which are refitted after every block (`direction`), and tempered bets on the
scores of new vectors along them (`betting`). Levels, frozen reference, watcher and return work as in `numeric.kernels`.
The rings are shared, so a watcher holds only a law and directions of its own.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core.betting import claim, play, wealth_dtype
from leeboard.detectors.core.jit import Floats, Record, kernel
from leeboard.detectors.core.lifecycle import SHORTEST_RUN, SURCHARGE
from leeboard.detectors.core.special import uniform

from .direction import (
    DIRECTION_BETS,
    DISCRIMINANTS,
    MARGIN,
    WEIGHTS,
    WIDE_MARGIN,
    WINDOWS,
    direction_log_e_values,
    discriminant_dtype,
    has_enough_history,
    project,
    refresh_discriminant,
    shift_of_window,
    solve_discriminant,
)
from .fit import fit_dtype, fit_law
from .store import BLOCK_EVENTS, FIT_EVENTS, LARGEST_CODE, RESIDUALS, ROWS, oldest, seen

#: evidence counts from this event of a baseline on; earlier excursions only temper the bets
JUDGED_EVENTS = 600
assert JUDGED_EVENTS > FIT_EVENTS
#: a law is refitted from the oldest REFIT_EVENTS of a full ring: first when the ring is full, then every REFIT_EVERY
#: events
REFIT_EVENTS, REFIT_EVERY = 500, 2 * ROWS
assert FIT_EVENTS < REFIT_EVENTS < ROWS
assert LARGEST_CODE**2 * REFIT_EVENTS < 2**31  # sums of products, see `fit`
#: half the width of the interval of a change time, in nats of the log likelihood ratio: three times that of a single
#: number (`changetime`), since the direction was fitted to some of the events
WIDTH_NATS = 6.0
#: most events between now and the estimate of a change time
LOOK_BACK_EVENTS = 400
#: bets on all directions
ALL_BETS = DIRECTION_BETS * DISCRIMINANTS


def direction_dtype(dimensions: int, conditioning_dimensions: int) -> np.dtype[Any]:
    """State of a row, for vectors and conditioning vectors of so many dimensions."""
    return np.dtype(
        [
            ("events", "i8"),
            ("first", "i8"),  # first event of the baseline
            ("fitted", "i8"),  # event after the last one that the law is fitted to
            ("refit", "i8"),  # event at which to fit again, 0 before the first fit
            ("away", "i8", 2),  # events of a change that has returned: first, and the one after the last
            ("change", "i8"),  # first event of the leading excursion
            ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
            ("log_page", "f8"),  # natural log of the level, for claims up to the page level
            ("peak_page", "f8"),  # highest log_page since the change was opened
            ("milestone", "f8"),  # peak_page from which on the owner is reported LEVEL
            ("surcharge_notice", "f8"),  # number of recent firings, decaying
            ("surcharge_page", "f8"),
            ("decay_notice", "f8"),  # factor of the surcharge per event
            ("decay_page", "f8"),
            ("watcher", "i4"),  # row number of the watcher, -1 while no change is open
            ("frozen", "i4"),  # row number of the frozen reference, -1 while no change is open
            ("retained", "i4"),  # frozen reference of an earlier change that was closed as immaterial, -1 for none
            ("code", "i4"),  # result of the newest event
            *fit_dtype(dimensions, conditioning_dimensions),
            ("discriminants", discriminant_dtype(dimensions, conditioning_dimensions), DISCRIMINANTS),
            ("wealth", wealth_dtype(ALL_BETS)),
        ],
        align=True,
    )


@kernel
def open_direction(row: Record, first: int, nats_notice: float, nats_page: float) -> None:
    """Start a baseline at event `first`. `nats_*`: natural logs of the levels, in events, that will be claimed."""
    row["first"] = first
    row["fitted"] = 0
    row["refit"] = 0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    set_direction_levels(row, nats_notice, nats_page)


@kernel
def set_direction_levels(row: Record, nats_notice: float, nats_page: float) -> None:
    """Set the levels (natural logs, in events) that will be claimed; a bet follows when its excursion has ended."""
    claim(row["wealth"], nats_notice, nats_page)
    row["decay_notice"] = 1.0 - math.exp(-nats_notice)
    row["decay_page"] = 1.0 - math.exp(-nats_page)


@kernel
def fit_if_due(row: Record, store: Record, kind: int) -> None:
    """Fit the law to the first FIT_EVENTS of the baseline; later refit it, while no change is open."""
    t = row["events"]
    if row["refit"] == 0:
        if t - row["first"] >= FIT_EVENTS:
            fit_law(row, store, kind, row["first"], row["first"] + FIT_EVENTS)
            row["fitted"] = row["first"] + FIT_EVENTS
            row["refit"] = row["first"] + ROWS
        return
    if t < row["refit"] or row["frozen"] >= 0:
        return
    begin = max(oldest(store, kind), row["first"])
    if t - begin < ROWS - BLOCK_EVENTS or (begin < row["away"][1] and row["away"][0] < begin + REFIT_EVENTS):
        row["refit"] = t + BLOCK_EVENTS
        return
    fit_law(row, store, kind, begin, begin + REFIT_EVENTS)
    row["fitted"] = begin + REFIT_EVENTS
    row["refit"] = t + REFIT_EVERY
    for w in range(DISCRIMINANTS):
        row["discriminants"][w]["compared"] = 0


@kernel
def advance_direction(row: Record, store: Record, kind: int, event: np.uint64, salt: np.uint64, logs: Floats) -> None:
    """Add the newest vector of the store and update the levels.

    `event`: hash of the event; `salt`: hash of the signal; `logs`: scratch space of ALL_BETS numbers.
    """
    row["events"] = seen(store, kind)
    t = row["events"] - 1
    fit_if_due(row, store, kind)
    if row["refit"] == 0 or t < row["fitted"]:
        return
    margin = WIDE_MARGIN if kind == RESIDUALS else MARGIN
    for w in range(DISCRIMINANTS):
        discriminant = row["discriminants"][w]
        part = logs[w * DIRECTION_BETS : (w + 1) * DIRECTION_BETS]
        if discriminant["compared"] == 0 or discriminant["block"] == BLOCK_EVENTS:
            refresh_discriminant(row, w, store, kind, t)
        if discriminant["compared"] == 0:
            part[:] = 0.0
            continue
        own = salt ^ np.uint64(w)
        direction_log_e_values(
            discriminant,
            project(discriminant, store, kind, t),
            uniform(event, own, 0),
            uniform(event, own, 1),
            margin,
            part,
        )
    refresh_levels(row, t, logs)


@kernel
def refresh_levels(row: Record, t: int, logs: Floats) -> None:
    """Update the bets with event t, whose log e-values are `logs` (ALL_BETS,), and write the levels."""
    wealth = row["wealth"]
    notice, page = play(wealth, logs[:ALL_BETS], WEIGHTS, t)
    row["surcharge_notice"] *= row["decay_notice"]
    row["surcharge_page"] *= row["decay_page"]
    start = wealth["start"][wealth["leader"]]
    row["change"] = start
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    judged = t + 1 >= row["first"] + JUDGED_EVENTS
    for w in range(DISCRIMINANTS):
        if not judged or not has_enough_history(row["discriminants"][w]):
            wealth["notice"][w * DIRECTION_BETS : (w + 1) * DIRECTION_BETS] = 0.0
            wealth["page"][w * DIRECTION_BETS : (w + 1) * DIRECTION_BETS] = 0.0
    if judged and t - start + 1 >= SHORTEST_RUN:
        row["log_notice"] = math.log(notice + 1e-300) - SURCHARGE * row["surcharge_notice"]
        row["log_page"] = math.log(page + 1e-300) - SURCHARGE * row["surcharge_page"]


@kernel
def leading_window(row: Record) -> int:
    """Number of the direction of the leading bet; of another one where that direction is not fitted at present."""
    w: int = row["wealth"]["leader"] // DIRECTION_BETS
    if row["discriminants"][w]["compared"] == 0:
        for other in range(DISCRIMINANTS):
            if row["discriminants"][other]["compared"] > 0:
                w = other
    return w


@kernel
def standardised_projection(discriminant: Record, projection: int) -> float:
    """Projection less the mean of the older ones, in their standard deviations."""
    deviation: float = (projection - discriminant["centre"]) / discriminant["spread"]
    return deviation


@kernel
def in_sample_bias(row: Record, w: int, store: Record, kind: int, event: int, mean: Floats) -> float:
    """In-sample bias, in sd: what an event of window w adds to its own projection because direction w was fitted to it.

    Without event y, the direction of a window of n events would be covariance^-1 (n mean - y) / (n - 1). `mean`: shift
    of the mean of the window, in codes.
    """
    discriminant = row["discriminants"][w]
    own = np.zeros(mean.size)
    shift_of_window(row, store, kind, event, event + 1, own)
    solved = own.copy()
    solve_discriminant(row, w, solved)
    total = 0.0
    for j in range(mean.size):
        total += (own[j] - mean[j]) * solved[j]
    excess: float = discriminant["scale"] * total / ((WINDOWS[kind, w] - 1.0) * discriminant["spread"])
    return excess


@kernel
def recent_scores(row: Record, w: int, store: Record, kind: int, scores: Floats) -> None:
    """Write the projections of the newest events on direction w, newest first, in sd, without in-sample bias."""
    discriminant = row["discriminants"][w]
    t = row["events"] - 1
    last = t + 1 - discriminant["block"]
    first = last - WINDOWS[kind, w]
    mean = np.zeros(row["mean"].size)
    shift_of_window(row, store, kind, first, last, mean)
    for k in range(scores.size):
        event = t - k
        scores[k] = standardised_projection(discriminant, project(discriminant, store, kind, event))
        if first <= event < last:
            scores[k] -= in_sample_bias(row, w, store, kind, event, mean)


@kernel
def locate(row: Record, store: Record, kind: int) -> tuple[int, int, int]:
    """First changed event as events ago: estimate, earliest, latest.

    As `changetime.refine`, with projections on the leading direction for scores.
    """
    w = leading_window(row)
    discriminant = row["discriminants"][w]
    t = row["events"] - 1
    n = min(LOOK_BACK_EVENTS, t + 1 - max(row["fitted"], oldest(store, kind)))
    if discriminant["compared"] == 0 or n < 1:
        return t - row["change"], t - row["change"], t - row["change"]
    scores = np.zeros(n)
    recent_scores(row, w, store, kind, scores)
    best, estimate, earliest, latest = -1.0, 0, 0, 0
    for sweep in range(2):
        total = 0.0
        for k in range(n):
            total += scores[k]
            gain = total * total / (2.0 * (k + 1) * discriminant["variance_inflation"]) if total > 0.0 else 0.0
            if sweep == 0 and gain > best:
                best = gain
                estimate = k
            elif sweep == 1 and gain >= best - WIDTH_NATS:
                earliest = max(earliest, k)
                latest = min(latest, k)
        if sweep == 0:
            earliest, latest = estimate, estimate
    return estimate, earliest, latest
