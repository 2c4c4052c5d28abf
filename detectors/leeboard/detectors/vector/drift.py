"""Streams of vectors: has the mean moved, in whatever direction?

A row watches one kind of vectors of a space (`vector_space`): its own law, fitted once and again (`vector_fit`), two
aims that go on being learned (`vector_aim`), and tempered bets on the scores they earn (`betting`). Levels, frozen reference,
watcher and return are those of `numeric`; the rings are shared, so that a watcher costs a law and its aims only.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core.betting import claim, play, wealth_dtype
from leeboard.detectors.core.jit import Floats, Record, kernel
from leeboard.detectors.core.lifecycle import SHORTEST_RUN, SURCHARGE
from leeboard.detectors.core.special import uniform

from .direction import (
    BETS,
    DISCRIMINANTS,
    MARGIN,
    WEIGHTS,
    WIDE_MARGIN,
    WINDOWS,
    discriminant_dtype,
    knows_enough,
    log_e_values,
    project,
    refresh_discriminant,
    shift_of_window,
    solve_discriminant,
)
from .fit import fit, fit_dtype
from .store import BLOCK_EVENTS, FIT_EVENTS, RESIDUALS, ROWS, oldest, seen

#: evidence counts from this event of a baseline on; the bets before it teach what excursions are usual
JUDGED_EVENTS = 600
#: events of every later fit, the oldest of a full ring; the first of them when it is full, then so many events apart
REFIT_EVENTS, REFIT_EVERY = 500, 2 * ROWS
#: log likelihood ratio below the maximum that still belongs to the interval of a change time: three times that of one
#: number (`changetime`), since the aim was learned from some of the events
WIDTH_NATS = 6.0
#: how far back the beginning of a change is looked for, in events
REACH = 400
#: events of the aims' bets
ALL_BETS = BETS * DISCRIMINANTS


def direction_dtype(dimensions: int, given: int) -> np.dtype[Any]:
    """State of a row for vectors of so many dimensions, given so many others."""
    return np.dtype(
        [
            ("events", "i8"),
            ("first", "i8"),  # event from which the baseline dates
            ("fitted", "i8"),  # event behind the last one of the fit
            ("refit", "i8"),  # event at which to fit again; 0: never fitted
            ("away", "i8", 2),  # events of a change that has returned: from, to
            ("change", "i8"),  # start of the leading excursion
            ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
            ("log_page", "f8"),  # and beyond
            ("peak_page", "f8"),
            ("milestone", "f8"),
            ("surcharge_notice", "f8"),
            ("surcharge_page", "f8"),
            ("decay_notice", "f8"),
            ("decay_page", "f8"),
            ("watcher", "i4"),
            ("frozen", "i4"),
            ("retained", "i4"),
            ("code", "i4"),
            *fit_dtype(dimensions, given),
            ("discriminants", discriminant_dtype(dimensions, given), DISCRIMINANTS),
            ("wealth", wealth_dtype(ALL_BETS)),
        ],
        align=True,
    )


@kernel
def open_direction(row: Record, first: int, nats_notice: float, nats_page: float) -> None:
    """Begin a baseline with event `first`. `nats_*`: logs of the levels, in events of this stream, that are claimed."""
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
    """Change the levels that will be claimed; takes effect between excursions."""
    claim(row["wealth"], nats_notice, nats_page)
    row["decay_notice"] = 1.0 - math.exp(-nats_notice)
    row["decay_page"] = 1.0 - math.exp(-nats_page)


@kernel
def fit_if_due(row: Record, space: Record, kind: int) -> None:
    """Fit the law for the first time; again, from the oldest rows of a full ring, while no change is open."""
    t = row["events"]
    if row["refit"] == 0:
        if t - row["first"] >= FIT_EVENTS:
            fit(row, space, kind, row["first"], row["first"] + FIT_EVENTS)
            row["fitted"] = row["first"] + FIT_EVENTS
            row["refit"] = row["first"] + ROWS
        return
    if t < row["refit"] or row["frozen"] >= 0:
        return
    begin = max(oldest(space, kind), row["first"])
    if t - begin < ROWS - BLOCK_EVENTS or (begin < row["away"][1] and row["away"][0] < begin + REFIT_EVENTS):
        row["refit"] = t + BLOCK_EVENTS
        return
    fit(row, space, kind, begin, begin + REFIT_EVENTS)
    row["fitted"] = begin + REFIT_EVENTS
    row["refit"] = t + REFIT_EVERY
    for w in range(DISCRIMINANTS):
        row["discriminants"][w]["compared"] = 0


@kernel
def advance(row: Record, space: Record, kind: int, event: np.uint64, salt: np.uint64, logs: Floats) -> None:
    """Take in the newest vector of the space and renew the levels. `event`: hash of its call; `logs`: scratch space."""
    row["events"] = seen(space, kind)
    t = row["events"] - 1
    fit_if_due(row, space, kind)
    if row["refit"] == 0 or t < row["fitted"]:
        return
    margin = WIDE_MARGIN if kind == RESIDUALS else MARGIN
    for w in range(DISCRIMINANTS):
        discriminant = row["discriminants"][w]
        part = logs[w * BETS : (w + 1) * BETS]
        if discriminant["compared"] == 0 or discriminant["block"] == BLOCK_EVENTS:
            refresh_discriminant(row, w, space, kind, t)
        if discriminant["compared"] == 0:
            part[:] = 0.0
            continue
        own = salt ^ np.uint64(w)
        log_e_values(
            discriminant,
            project(discriminant, space, kind, t),
            uniform(event, own, 0),
            uniform(event, own, 1),
            margin,
            part,
        )
    refresh_levels(row, t, logs)


@kernel
def refresh_levels(row: Record, t: int, logs: Floats) -> None:
    """Play the bets on event t and write the levels."""
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
        if not judged or not knows_enough(row["discriminants"][w]):
            wealth["notice"][w * BETS : (w + 1) * BETS] = 0.0
            wealth["page"][w * BETS : (w + 1) * BETS] = 0.0
    if judged and t - start + 1 >= SHORTEST_RUN:
        row["log_notice"] = math.log(notice + 1e-300) - SURCHARGE * row["surcharge_notice"]
        row["log_page"] = math.log(page + 1e-300) - SURCHARGE * row["surcharge_page"]


@kernel
def leading_window(row: Record) -> int:
    """Number of the window of the leading bet; that of another one where its aim is none now."""
    w: int = row["wealth"]["leader"] // BETS
    if row["discriminants"][w]["compared"] == 0:
        for other in range(DISCRIMINANTS):
            if row["discriminants"][other]["compared"] > 0:
                w = other
    return w


@kernel
def scaled(discriminant: Record, projection: int) -> float:
    """Projection in standard deviations of the older ones, from their mean."""
    deviation: float = (projection - discriminant["centre"]) / discriminant["spread"]
    return deviation


@kernel
def in_sample_bias(row: Record, w: int, space: Record, kind: int, event: int, mean: Floats) -> float:
    """By how much the projection of an event of window w is flattered by its own part in the aim, in sd.

    Without event y the aim would be covariance^-1 (n mean - y) / (n - 1), for a window of n events. `mean`: its mean.
    """
    discriminant = row["discriminants"][w]
    own = np.zeros(mean.size)
    shift_of_window(row, space, kind, event, event + 1, own)
    solved = own.copy()
    solve_discriminant(row, w, solved)
    total = 0.0
    for j in range(mean.size):
        total += (own[j] - mean[j]) * solved[j]
    excess: float = discriminant["scale"] * total / ((WINDOWS[kind, w] - 1.0) * discriminant["spread"])
    return excess


@kernel
def recent_scores(row: Record, w: int, space: Record, kind: int, scores: Floats) -> None:
    """Projections of the newest events on the aim of window w, the newest first, in sd, none by its own part in it."""
    discriminant = row["discriminants"][w]
    t = row["events"] - 1
    last = t + 1 - discriminant["block"]
    first = last - WINDOWS[kind, w]
    mean = np.zeros(row["mean"].size)
    shift_of_window(row, space, kind, first, last, mean)
    for k in range(scores.size):
        event = t - k
        scores[k] = scaled(discriminant, project(discriminant, space, kind, event))
        if first <= event < last:
            scores[k] -= in_sample_bias(row, w, space, kind, event, mean)


@kernel
def locate(row: Record, space: Record, kind: int) -> tuple[int, int, int]:
    """First changed event as events ago: estimate, earliest, latest; see `changetime.refine`.

    The scores are projections on the leading aim.
    """
    w = leading_window(row)
    discriminant = row["discriminants"][w]
    t = row["events"] - 1
    n = min(REACH, t + 1 - max(row["fitted"], oldest(space, kind)))
    if discriminant["compared"] == 0 or n < 1:
        return t - row["change"], t - row["change"], t - row["change"]
    scores = np.zeros(n)
    recent_scores(row, w, space, kind, scores)
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
