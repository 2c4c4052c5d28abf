"""A change of a stream of vectors, from opening to end: frozen reference, watcher, return, next change.

As in `numeric.kernels`, nothing is reset when a change is opened, and the process alone carries the evidence on. The
frozen reference holds the leading direction at the opening. The size of the change is measured by the projections on it
of events to which it was not fitted.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.algebra import SUM_SHIFT
from leeboard.detectors.core.betting import censor_excursions, clear_wealth
from leeboard.detectors.core.jit import Arena, Floats, Record, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, QUIET, RETURNED, WATCHER_NATS, return_block
from leeboard.detectors.core.ranks import REFERENCE

from .direction import DISCRIMINANTS, LATE_EVENTS, discriminant_dtype, project
from .drift import advance_direction, leading_window, locate, open_direction, standardised_projection
from .store import oldest


def frozen_direction_dtype(dimensions: int, conditioning_dimensions: int) -> np.dtype[Any]:
    """Frozen reference of an open change, for vectors and conditioning vectors of so many dimensions."""
    return np.dtype(
        [
            ("mean", "f8", dimensions),
            ("conditioning_mean", "f8", conditioning_dimensions),
            ("references", REFERENCE, DISCRIMINANTS),  # of first scores before the change
            ("discriminant", discriminant_dtype(dimensions, conditioning_dimensions)),  # the leading one at the opening
            ("seen", "i8"),  # number of older projections that it was compared with
            ("since", "i8"),  # first event of the change
            ("begun", "i8"),  # first event of the first change, where later ones have superseded it
            ("first", "i8"),  # first event of the baseline before the first change
            ("fitted", "i8"),  # event after the last one that the law before the first change was fitted to
            ("after", "i8"),  # number of events since the change whose scores are in `total`
            ("total", "f8"),  # sum of these scores, in sd: first scores before the opening, then projections
            ("offset", "f8"),  # shift of the mean from the oldest frozen reference to this change, in sd
            ("opened", "i8"),  # number of events at the opening
            ("length", "i8"),  # events of a block of the return test
            ("count", "i8"),  # events of the running block
            ("good", "i8"),  # number of consecutive blocks that match
            ("sum", "f8"),  # of the projections of the running block, in sd
            ("largest", "f8"),  # a block mean further than this from the old mean is no return
            ("floor", "f8"),  # effect, in sd, below which a stream counts as returned
            ("was_retained", "i8"),  # 1 where an earlier change was closed as immaterial and left this reference
        ],
        align=True,
    )


@kernel
def clear_direction(row: Record) -> None:
    """Discard all evidence; what was learned of the stream's excursions stays."""
    censor_excursions(row["wealth"])
    clear_wealth(row["wealth"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_direction(row: Record) -> None:
    """Start a new baseline with the first event of an emptied ring; what was learned of excursions stays."""
    clear_wealth(row["wealth"])
    row["events"] = 0
    row["away"][0] = 0
    row["away"][1] = 0
    row["surcharge_notice"] = 0.0
    row["surcharge_page"] = 0.0
    for w in range(row["discriminants"].size):
        discriminant = row["discriminants"][w]
        discriminant["compared"] = 0
        discriminant["scored"] = 0
        ranks.clear(discriminant["reference"])
    open_direction(row, 0, row["wealth"]["nats_notice"], row["wealth"]["nats_page"])


@kernel
def start_direction_watcher(rows: Arena, i: int, j: int, since: int) -> None:
    """Make row j the watcher of row i: a copy whose baseline starts at event `since`."""
    rows[j] = rows[i]
    watcher = rows[j]
    clear_direction(watcher)
    watcher["first"] = since
    watcher["fitted"] = 0
    watcher["refit"] = 0
    for w in range(DISCRIMINANTS):
        watcher["discriminants"][w]["compared"] = 0
        watcher["discriminants"][w]["scored"] = 0
    watcher["surcharge_notice"] += 1.0
    rows[i]["watcher"] = j


@kernel
def open_direction_change(rows: Arena, i: int, j: int, frozen: Arena, k: int, since: int, floor: float) -> None:
    """Open a change of row i that began at event `since`, with watcher j and frozen reference k.

    k is the row's retained reference where it has one. `floor`: effect, in sd, below which a stream counts as returned.
    """
    row, old = rows[i], frozen[k]
    if row["retained"] < 0:
        old["mean"] = row["mean"]
        old["conditioning_mean"] = row["conditioning_mean"]
        for w in range(DISCRIMINANTS):
            old["references"][w] = row["discriminants"][w]["reference"]
    old["begun"] = since
    old["first"] = row["first"]
    old["fitted"] = row["fitted"]
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    expect_direction_return(rows, i, frozen, since, floor)
    start_direction_watcher(rows, i, j, since)


@kernel
def expect_direction_return(rows: Arena, i: int, frozen: Arena, since: int, floor: float) -> None:
    """Set up effect and return test of row i for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    discriminant = row["discriminants"][leading_window(row)]
    old["discriminant"] = discriminant
    old["seen"] = discriminant["compared"]
    old["since"] = since
    old["total"] = 0.0
    old["after"] = max(min(row["events"] - since, min(discriminant["scored"], LATE_EVENTS)), 0)
    for ago in range(1, old["after"] + 1):
        old["total"] += np.float64(discriminant["scores"][(discriminant["scored"] - ago) % LATE_EVENTS])
    old["offset"] = 0.0
    if row["retained"] >= 0:
        shift = 0.0
        for j in range(old["mean"].size):
            shift += np.float64(discriminant["weights"][j]) * (row["mean"][j] - old["mean"][j])
        for j in range(old["conditioning_mean"].size):
            shift += np.float64(discriminant["conditioning"][j]) * (
                row["conditioning_mean"][j] - old["conditioning_mean"][j]
            )
        old["offset"] = shift / 2.0**SUM_SHIFT / discriminant["spread"]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["sum"] = 0.0
    old["largest"] = max(0.5 * abs(direction_shift(old)), floor)
    old["floor"] = floor
    old["was_retained"] = 1 if row["retained"] >= 0 else 0


@kernel
def direction_shift(old: Record) -> float:
    """Shift of the mean since the oldest frozen reference, in sd along the direction of the opening."""
    shift: float = old["offset"] + (old["total"] / old["after"] if old["after"] > 0 else 0.0)
    return shift


@kernel
def direction_has_returned(row: Record, old: Record, store: Record, kind: int) -> bool:
    """Add the newest vector to the return test; true when the stream has returned.

    It has returned when two consecutive blocks of projections on the direction of the opening have the old mean. With a
    frozen reference that was retained after an earlier, immaterial change, two consecutive blocks within the floor of
    it are a return as well.
    """
    discriminant = old["discriminant"]
    x = standardised_projection(discriminant, project(discriminant, store, kind, row["events"] - 1))
    old["after"] += 1
    old["total"] += x
    old["sum"] += x
    old["count"] += 1
    n = old["length"]
    if old["count"] < n:
        return False
    mean = old["sum"] / n
    same = (
        abs(mean) < math.sqrt(discriminant["variance_inflation"] / n + 1.0 / old["seen"]) and abs(mean) < old["largest"]
    )
    if old["was_retained"] != 0 and abs(mean + old["offset"]) < old["floor"]:
        same = True
    old["good"] = old["good"] + 1 if same else 0
    old["count"] = 0
    old["sum"] = 0.0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def shift_since(row: Record, old: Record, store: Record, kind: int, since: int) -> tuple[float, int]:
    """Mean projection of the events from `since` on, on the direction of the open change, in sd; and their number."""
    discriminant = old["discriminant"]
    first = max(since, oldest(store, kind))
    total, n = 0.0, row["events"] - first
    for event in range(first, row["events"]):
        total += standardised_projection(discriminant, project(discriminant, store, kind, event))
    return total / max(n, 1), n


@kernel
def direction_matches_frozen(row: Record, old: Record, store: Record, kind: int, since: int) -> bool:
    """Do the events from `since` on (at least 8) have the mean of those before the open change?"""
    shift, n = shift_since(row, old, store, kind, since)
    if n < 8:
        return False
    noise = math.sqrt(old["discriminant"]["variance_inflation"] / n)
    matches: bool = abs(shift) < 2.0 * noise and abs(shift) < max(old["largest"], 1.5 * noise)
    return matches


@kernel
def restore_direction(rows: Arena, i: int, frozen: Arena) -> None:
    """Close the change of row i after a return: the references from before it are used again.

    The vectors of the change are not compared with from now on. After a second change, the law is that of the events
    between both changes: the old means are restored, and the rest is close enough.
    """
    row = rows[i]
    old = frozen[row["frozen"]]
    if row["first"] != old["first"]:
        row["first"] = old["first"]
        row["fitted"] = old["fitted"]
        row["mean"] = old["mean"]
        row["conditioning_mean"] = old["conditioning_mean"]
    for w in range(DISCRIMINANTS):
        discriminant = row["discriminants"][w]
        discriminant["reference"] = old["references"][w]
        discriminant["scored"] = 0
        discriminant["compared"] = 0
    row["away"][0] = old["begun"]
    row["away"][1] = row["events"]
    clear_direction(row)
    row["surcharge_notice"] += 1.0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede_direction(rows: Arena, i: int, frozen: Arena, since: int, floor: float) -> None:
    """The watcher of row i has found the next change, begun at event `since`: it replaces row i and gets a new watcher.

    The frozen reference stays that of the first change. `floor`: as for `open_direction_change`.
    """
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["retained"] = k  # the offset is measured from its mean
    row["peak_page"] = row["log_page"]
    expect_direction_return(rows, i, frozen, since, floor)
    row["retained"] = -1
    start_direction_watcher(rows, i, j, since)


@kernel
def observe_direction(
    rows: Arena,
    i: int,
    frozen: Arena,
    store: Record,
    kind: int,
    event: np.uint64,
    salt: np.uint64,
    nats_notice: float,
    logs: Floats,
) -> int:
    """Add the newest vector of a store to row i, and to its open change: FIRED, RETURNED, NEXT or QUIET.

    `nats_notice`: natural log of the level, in events of this stream, at which a change is opened; `event`, `salt`,
    `logs`: as for `advance_direction`.
    """
    row = rows[i]
    advance_direction(row, store, kind, event, salt, logs)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance_direction(watcher, store, kind, event, salt, logs)
    if direction_has_returned(row, old, store, kind):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice:
        since = watcher["events"] - 1 - locate(watcher, store, kind)[0]
        return RETURNED if direction_matches_frozen(watcher, old, store, kind, since) else NEXT
    return QUIET
