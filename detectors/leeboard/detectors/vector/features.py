"""Readable features of a stream: each is a numeric signal of its own, their evidence is the mean of their levels.

A mean of processes whose levels keep the promise keeps it too. What a vector shows that no single feature does is the
matter of `vector`; what is found here can be named.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.jit import Arena, Floats, Floats32, Record, Salts, kernel
from leeboard.detectors.core.lifecycle import (
    BASELINE_NEEDED,
    FIRED,
    NEXT,
    QUIET,
    RECENT_VALUES,
    RETURNED,
    WATCHER_NATS,
    return_block,
)
from leeboard.detectors.core.special import exp_bounded, uniform
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric.dependence import block_variance
from leeboard.detectors.numeric.kernels import FROZEN_NUMERIC, NUMERIC

#: evidence counts from this event on: topics that come in runs are known by then for what they are
JUDGED_EVENTS = 300


def features_dtype(features: int) -> np.dtype[Any]:
    """State of so many features."""
    return np.dtype(
        [
            ("events", "i8"),
            ("judged", "i8"),  # events that only teach
            ("change", "i8"),  # start of the leading feature's excursion
            ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
            ("log_page", "f8"),  # and beyond
            ("peak_page", "f8"),
            ("milestone", "f8"),
            ("watcher", "i4"),
            ("frozen", "i4"),
            ("retained", "i4"),
            ("code", "i4"),
            ("leader", "i4"),  # feature with the highest level
            ("parts", NUMERIC, features),
        ],
        align=True,
    )


def frozen_features_dtype(features: int) -> np.dtype[Any]:
    """What is kept of the time before an open change."""
    return np.dtype(
        [
            ("opened", "i8"),
            ("length", "i8"),  # of a block of the return test
            ("count", "i8"),
            ("good", "i8"),
            ("largest", "f8"),  # root of the sum of squared shifts, in sd: further than this is no return
            ("floor", "f8"),
            ("outlived", "i8"),
            ("leader", "i4"),  # of the opening
            ("parts", FROZEN_NUMERIC, features),
        ],
        align=True,
    )


@kernel
def open_features(row: Record, nats_notice: float, nats_page: float) -> None:
    """Begin a stream. `nats_*`: logs of the levels, in events of this stream, that will be claimed."""
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    row["judged"] = JUDGED_EVENTS
    parts = row["parts"]
    more = math.log(np.float64(parts.size))
    for k in range(parts.size):
        numeric.open_row(parts[k], nats_notice + more, nats_page + more)


@kernel
def set_features_levels(row: Record, nats_notice: float, nats_page: float) -> None:
    """Change the levels that will be claimed; takes effect between excursions."""
    parts = row["parts"]
    more = math.log(np.float64(parts.size))
    for k in range(parts.size):
        numeric.set_levels(parts[k], nats_notice + more, nats_page + more)


@kernel
def restart_features(row: Record) -> None:
    """The features mean something else from now on: their references start afresh, an open change ends."""
    row["judged"] = row["events"] + JUDGED_EVENTS
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    for k in range(row["parts"].size):
        numeric.restart_references(row["parts"][k])
        row["parts"][k]["unit"] = 0.0


@kernel
def log_mean(parts: Arena, page: bool) -> float:
    """Log of the mean of the parts' levels."""
    largest = -np.inf
    for k in range(parts.size):
        largest = max(largest, parts[k]["log_page"] if page else parts[k]["log_notice"])
    if largest == -np.inf:
        return largest
    total = 0.0
    for k in range(parts.size):
        below = (parts[k]["log_page"] if page else parts[k]["log_notice"]) - largest
        if below > -12.0:
            total += exp_bounded(below)
    return largest + math.log(total / parts.size)


@kernel
def advance_features(row: Record, values: Floats, event: np.uint64, salts: Salts, scratch: Floats) -> None:
    """Take in one event and renew the levels. `values`: transformed and dithered; `salts`: of the features."""
    parts = row["parts"]
    leader = 0
    for k in range(parts.size):
        u, v = uniform(event, salts[k], 1), uniform(event, salts[k], 2)
        numeric.advance(parts[k], values[k], u, v, scratch)
        if parts[k]["log_notice"] > parts[leader]["log_notice"]:
            leader = k
    row["events"] = parts[0]["events"]
    row["leader"] = leader
    row["change"] = parts[leader]["change"]
    if row["events"] <= row["judged"]:
        row["log_notice"] = -np.inf
        row["log_page"] = -np.inf
        for k in range(parts.size):
            hold(parts[k])
        return
    row["log_notice"] = log_mean(parts, False)
    row["log_page"] = log_mean(parts, True)


@kernel
def hold(part: Record) -> None:
    """Take what was won so far; excursions go on, and teach what is usual."""
    wealth, records = part["wealth"], part["records"]
    for k in range(wealth["notice"].size):
        wealth["notice"][k] = 0.0
        wealth["page"][k] = 0.0
    for side in range(2):
        records["wealth"][side] = 0.0


@kernel
def is_finite(features: Floats32) -> bool:
    """Are all features numbers?"""
    finite = True
    for k in range(features.size):
        finite &= math.isfinite(features[k])
    return finite


@kernel
def prepare_features(row: Record, features: Floats32, event: np.uint64, salts: Salts, values: Floats) -> None:
    """Write the features as `advance_features` takes them: in a unit of their own, ties broken."""
    parts = row["parts"]
    for k in range(parts.size):
        x, v = np.float64(features[k]), uniform(event, salts[k], 0)
        values[k] = numeric.prepare(parts[k], x, v, False, numeric.DITHER)


@kernel
def feature_shift(row: Record, watcher: Record, old: Record, k: int) -> tuple[float, float]:
    """How far feature k has moved since the open change, in sd of before, and the square of its standard error."""
    before, after = old["parts"][k]["reference"], watcher["parts"][k]["reference"]
    variance = ranks.variance(before)
    if variance <= 0.0 or after["seen"] == 0 or before["seen"] == 0:
        return 0.0, 1.0
    long_run = block_variance(row["parts"][k]["long_run"], 0)
    error = long_run * (1.0 / before["seen"] + 1.0 / after["seen"])
    return (ranks.mean(after) - ranks.mean(before)) / math.sqrt(variance), error


@kernel
def features_shift(row: Record, watcher: Record, old: Record) -> float:
    """Root of the sum of squared shifts of all features since the open change, in sd, less what noise adds to it."""
    total = 0.0
    for k in range(row["parts"].size):
        shift, error = feature_shift(row, watcher, old, k)
        total += shift * shift - error
    return math.sqrt(max(total, 0.0))


@kernel
def start_features_watcher(rows: Arena, i: int, j: int, since: int, scratch: Floats) -> None:
    """Make row j the watcher of row i: it knows the events from `since` on and how the features move."""
    rows[j] = rows[i]
    watcher = rows[j]
    watcher["log_notice"] = -np.inf
    watcher["log_page"] = -np.inf
    watcher["judged"] = 0
    for k in range(watcher["parts"].size):
        part = watcher["parts"][k]
        numeric.clear_evidence(part)
        ranks.clear(part["reference"])
        ranks.clear(part["residuals"])
        numeric.relearn(part, since, scratch)
        part["surcharge_notice"] += 1.0
    rows[i]["watcher"] = j


@kernel
def open_features_change(
    rows: Arena, i: int, j: int, frozen: Arena, k: int, since: int, floor: float, scratch: Floats
) -> None:
    """Open a change of row i that began at event `since`: frozen reference k (the row's retained reference, if it has one), watcher j.

    `floor`: effect, in sd, below which a stream counts as returned.
    """
    row, old = rows[i], frozen[k]
    if row["retained"] < 0:
        t = row["events"]
        for p in range(row["parts"].size):
            part, before = row["parts"][p], old["parts"][p]
            before["reference"] = part["reference"]
            before["residuals"] = part["residuals"]
            for event in range(max(since, t - RECENT_VALUES, 0), t):
                ranks.forget(before["reference"], np.float64(part["values"][event % RECENT_VALUES]))
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    start_features_watcher(rows, i, j, since, scratch)
    expect_features_return(rows, i, frozen, since, floor)


@kernel
def expect_features_return(rows: Arena, i: int, frozen: Arena, since: int, floor: float) -> None:
    """Set the return test of row i up for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["largest"] = max(0.5 * features_shift(row, watcher, old), floor)
    old["floor"] = floor
    old["outlived"] = 1 if row["retained"] >= 0 else 0
    old["leader"] = row["leader"]
    for p in range(row["parts"].size):
        part = old["parts"][p]
        part["sum"] = 0.0
        part["values"] = 0.0
        shift, _ = feature_shift(row, watcher, old, p)
        sd = math.sqrt(ranks.variance(part["reference"]))
        part["largest"] = max(0.5 * abs(shift), floor) * sd


@kernel
def features_have_returned(row: Record, old: Record, values: Floats, event: np.uint64, salts: Salts) -> bool:
    """Return test: two blocks in a row with the leading feature, and all together, near the old means."""
    parts = row["parts"]
    for k in range(parts.size):
        before = old["parts"][k]
        u = uniform(event, salts[k], 1)
        before["sum"] += numeric.clipped_score(ranks.rank_frozen(before["reference"], values[k], u))
    old["count"] += 1
    n = old["length"]
    if old["count"] < n:
        return False
    noise, excess, total = 0.0, 0.0, 0.0
    led = False
    for k in range(parts.size):
        before = old["parts"][k]
        error = block_variance(parts[k]["long_run"], 0) / n + 1.0 / (before["reference"]["seen"] + 1.0)
        mean = before["sum"] / n
        before["sum"] = 0.0
        noise += mean * mean / error
        excess += mean * mean - error
        total += 1.0
        if k == old["leader"]:
            led = mean * mean < error
    distance = math.sqrt(max(excess, 0.0))
    # mean of squared standard scores, 1 where nothing moved; features go together, as some six independent ones
    same = led and noise / total < 1.6 and distance < old["largest"]
    if old["outlived"] != 0 and distance < old["floor"]:
        same = True
    old["good"] = old["good"] + 1 if same else 0
    old["count"] = 0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def features_match(watcher: Record, old: Record, since: int) -> bool:
    """Do the events from `since` on look like those before the open change, in five of six features?"""
    matching = 0
    for k in range(watcher["parts"].size):
        if numeric.matches_frozen(watcher["parts"][k], old["parts"][k], since):
            matching += 1
    enough: bool = 6 * matching >= 5 * watcher["parts"].size
    return enough


@kernel
def restore_features(rows: Arena, i: int, frozen: Arena) -> None:
    """The stream has returned: the references of before the change hold again, the change is closed."""
    row = rows[i]
    old = frozen[row["frozen"]]
    for k in range(row["parts"].size):
        part = row["parts"][k]
        part["reference"] = old["parts"][k]["reference"]
        part["residuals"] = old["parts"][k]["residuals"]
        numeric.close_change(part)
        part["oldest"] = part["events"] - numeric.RESTORED_AGE
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede_features(rows: Arena, i: int, frozen: Arena, floor: float, scratch: Floats) -> None:
    """The watcher found the next change: it becomes the process, with a new watcher; the oldest frozen reference stays."""
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    since = row["change"]
    start_features_watcher(rows, i, j, since, scratch)
    expect_features_return(rows, i, frozen, since, floor)


@kernel
def may_fire(row: Record) -> bool:
    """Does the leading feature's reference hold enough events from before the change?"""
    return numeric.baseline(row["parts"][row["leader"]]) >= BASELINE_NEEDED


@kernel
def observe_features(
    rows: Arena,
    i: int,
    frozen: Arena,
    features: Floats32,
    event: np.uint64,
    salts: Salts,
    nats_notice: float,
    values: Floats,
    scratch: Floats,
) -> int:
    """Give the features of one event to row i and to what it has opened; FIRED, RETURNED, NEXT or QUIET.

    All must be finite. `values`: scratch space, one number a feature; `scratch`: as `numeric.advance` takes it.
    """
    row = rows[i]
    prepare_features(row, features, event, salts, values)
    advance_features(row, values, event, salts, scratch)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice and may_fire(row) else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance_features(watcher, values, event, salts, scratch)
    if features_have_returned(row, old, values, event, salts):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice and may_fire(watcher):
        return RETURNED if features_match(watcher, old, watcher["change"]) else NEXT
    return QUIET
