"""A change of a stream of vectors, from opening to end: frozen reference, watcher, return, the next change.

As in `numeric`: nothing is reset when a change is opened, the process alone carries the evidence on. The frozen reference
keeps the leading aim as it was then; projections on it, of events that had no part in it, tell the size of the change.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.algebra import SUM_SHIFT
from leeboard.detectors.core.betting import clear_wealth, cut_off
from leeboard.detectors.core.jit import Arena, Floats, Record, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, QUIET, RETURNED, WATCHER_NATS, return_block
from leeboard.detectors.core.ranks import REFERENCE

from .direction import DISCRIMINANTS, LATE_EVENTS, discriminant_dtype, project
from .drift import advance, leading_window, locate, open_direction, scaled
from .store import oldest


def frozen_direction_dtype(dimensions: int, given: int) -> np.dtype[Any]:
    """What is kept of the time before an open change."""
    return np.dtype(
        [
            ("mean", "f8", dimensions),
            ("given_mean", "f8", given),
            ("references", REFERENCE, DISCRIMINANTS),
            ("aim", discriminant_dtype(dimensions, given)),  # the leading one, as it was when the change was opened
            ("seen", "i8"),  # events of before that it was compared with
            ("since", "i8"),  # event at which the change began
            ("begun", "i8"),  # the same of the first one, where others have superseded it
            ("first", "i8"),  # baseline and law of before the first one
            ("fitted", "i8"),
            ("after", "i8"),  # events since the change whose scores are in `total`
            ("total", "f8"),  # sum of their scores, in sd: of those before the opening by the aims of then
            ("offset", "f8"),  # how far the mean had already moved since the oldest frozen reference, in sd of the aim
            ("opened", "i8"),
            ("length", "i8"),  # of a block of the return test
            ("count", "i8"),
            ("good", "i8"),
            ("sum", "f8"),
            ("largest", "f8"),
            ("floor", "f8"),
            ("outlived", "i8"),
        ],
        align=True,
    )


@kernel
def clear_direction(row: Record) -> None:
    """Take all evidence back; what was learned of the way of moving stays."""
    cut_off(row["wealth"])
    clear_wealth(row["wealth"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_direction(row: Record) -> None:
    """A new baseline from the first event of a new ring; what excursions are usual is not forgotten."""
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
    """Make row j the watcher of row i: a baseline that begins with event `since`, and knows how the stream moves."""
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
    """Open a change of row i that began at event `since`: frozen reference k (the row's retained reference, if it has one), watcher j.

    `floor`: effect, in sd, below which a stream counts as returned.
    """
    row, old = rows[i], frozen[k]
    if row["retained"] < 0:
        old["mean"] = row["mean"]
        old["given_mean"] = row["given_mean"]
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
    """Set effect and return test of row i up for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    discriminant = row["discriminants"][leading_window(row)]
    old["aim"] = discriminant
    old["seen"] = discriminant["compared"]
    old["since"] = since
    old["total"] = 0.0
    old["after"] = max(min(row["events"] - since, min(discriminant["scored"], LATE_EVENTS)), 0)
    for ago in range(1, old["after"] + 1):
        old["total"] += np.float64(discriminant["scores"][(discriminant["scored"] - ago) % LATE_EVENTS])
    old["offset"] = 0.0
    if row["retained"] >= 0:
        moved = 0.0
        for j in range(old["mean"].size):
            moved += np.float64(discriminant["weights"][j]) * (row["mean"][j] - old["mean"][j])
        for j in range(old["given_mean"].size):
            moved += np.float64(discriminant["given"][j]) * (row["given_mean"][j] - old["given_mean"][j])
        old["offset"] = moved / 2.0**SUM_SHIFT / discriminant["spread"]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["sum"] = 0.0
    old["largest"] = max(0.5 * abs(direction_shift(old)), floor)
    old["floor"] = floor
    old["outlived"] = 1 if row["retained"] >= 0 else 0


@kernel
def direction_shift(old: Record) -> float:
    """How far the mean has moved since the oldest frozen reference, in sd along the aim of the opening."""
    shift: float = old["offset"] + (old["total"] / old["after"] if old["after"] > 0 else 0.0)
    return shift


@kernel
def has_returned(row: Record, old: Record, space: Record, kind: int) -> bool:
    """Return test: two blocks in a row whose projections on the aim of the opening have the old mean.

    Where the frozen reference is that of an earlier, settled change, two blocks within the floor of it are a return.
    """
    discriminant = old["aim"]
    x = scaled(discriminant, project(discriminant, space, kind, row["events"] - 1))
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
    if old["outlived"] != 0 and abs(mean + old["offset"]) < old["floor"]:
        same = True
    old["good"] = old["good"] + 1 if same else 0
    old["count"] = 0
    old["sum"] = 0.0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def shift_since(row: Record, old: Record, space: Record, kind: int, since: int) -> tuple[float, int]:
    """How far the events from `since` on lie from before the open change along its aim, in sd; and their number."""
    discriminant = old["aim"]
    first = max(since, oldest(space, kind))
    total, n = 0.0, row["events"] - first
    for event in range(first, row["events"]):
        total += scaled(discriminant, project(discriminant, space, kind, event))
    return total / max(n, 1), n


@kernel
def matches_old(row: Record, old: Record, space: Record, kind: int, since: int) -> bool:
    """Do the events from `since` on (8 at least) look like those before the open change?"""
    shift, n = shift_since(row, old, space, kind, since)
    if n < 8:
        return False
    noise = math.sqrt(old["aim"]["variance_inflation"] / n)
    matches: bool = abs(shift) < 2.0 * noise and abs(shift) < max(old["largest"], 1.5 * noise)
    return matches


@kernel
def restore_direction(rows: Arena, i: int, frozen: Arena) -> None:
    """The stream has returned: what it scored before is usual again, the vectors of the change are left out.

    After a second change the law is that of the events between both: the old means hold again, the rest is near enough.
    """
    row = rows[i]
    old = frozen[row["frozen"]]
    if row["first"] != old["first"]:
        row["first"] = old["first"]
        row["fitted"] = old["fitted"]
        row["mean"] = old["mean"]
        row["given_mean"] = old["given_mean"]
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
    """The watcher found the next change: it becomes the process, with a new watcher; the oldest frozen reference stays."""
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["retained"] = k  # its mean is kept
    row["peak_page"] = row["log_page"]
    expect_direction_return(rows, i, frozen, since, floor)
    row["retained"] = -1
    start_direction_watcher(rows, i, j, since)


@kernel
def observe_direction(
    rows: Arena,
    i: int,
    frozen: Arena,
    space: Record,
    kind: int,
    event: np.uint64,
    salt: np.uint64,
    nats_notice: float,
    logs: Floats,
) -> int:
    """Give the newest vector of a space to row i and to what it has opened; FIRED, RETURNED, NEXT or QUIET.

    `nats_notice`: log of the level, in events of this stream, at which a change is opened.
    """
    row = rows[i]
    advance(row, space, kind, event, salt, logs)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance(watcher, space, kind, event, salt, logs)
    if has_returned(row, old, space, kind):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice:
        since = watcher["events"] - 1 - locate(watcher, space, kind)[0]
        return RETURNED if matches_old(watcher, old, space, kind, since) else NEXT
    return QUIET
