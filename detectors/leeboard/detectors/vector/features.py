"""Readable features of a stream: each one is a numeric stream of its own, and the evidence is the mean of their levels.

A mean of processes that keep the budget keeps it, too. A change found here can be named by its feature; shifts that no
single feature shows are found by `drift`.
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
from leeboard.detectors.numeric.kernels import FROZEN_NUMERIC_STATE, NUMERIC_STATE

#: evidence counts from this event on: by then the long-run variance of clustered events is known
JUDGED_EVENTS = 300


def features_dtype(features: int) -> np.dtype[Any]:
    """State of a row of so many features."""
    return np.dtype(
        [
            ("events", "i8"),
            ("judged", "i8"),  # number of events whose evidence does not count
            ("change", "i8"),  # first event of the leading feature's excursion or block
            ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
            ("log_page", "f8"),  # natural log of the level, for claims up to the page level
            ("peak_page", "f8"),  # highest log_page since the change was opened
            ("milestone", "f8"),  # peak_page from which on the owner is reported LEVEL
            ("watcher", "i4"),  # row number of the watcher, -1 while no change is open
            ("frozen", "i4"),  # row number of the frozen reference, -1 while no change is open
            ("retained", "i4"),  # frozen reference of an earlier change that was closed as immaterial, -1 for none
            ("code", "i4"),  # result of the newest event
            ("leader", "i4"),  # number of the feature with the highest level
            ("parts", NUMERIC_STATE, features),
        ],
        align=True,
    )


def frozen_features_dtype(features: int) -> np.dtype[Any]:
    """Frozen reference of an open change of so many features."""
    return np.dtype(
        [
            ("opened", "i8"),  # number of events at the opening
            ("length", "i8"),  # events of a block of the return test
            ("count", "i8"),  # events of the running block
            ("good", "i8"),  # number of consecutive blocks that match
            ("largest", "f8"),  # a root of the sum of squared shifts, in sd, above this is no return
            ("floor", "f8"),  # effect, in sd, below which a stream counts as returned
            ("was_retained", "i8"),  # 1 where an earlier change was closed as immaterial and left this reference
            ("leader", "i4"),  # number of the leading feature at the opening
            ("parts", FROZEN_NUMERIC_STATE, features),
        ],
        align=True,
    )


@kernel
def open_features(row: Record, nats_notice: float, nats_page: float) -> None:
    """Start a stream in an empty row. `nats_*`: natural logs of the levels, in events, that will be claimed."""
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
    """Set the levels (natural logs, in events) that will be claimed; a bet follows when its excursion has ended."""
    parts = row["parts"]
    more = math.log(np.float64(parts.size))
    for k in range(parts.size):
        numeric.set_levels(parts[k], nats_notice + more, nats_page + more)


@kernel
def restart_features(row: Record) -> None:
    """Empty the references of all features, which mean something else from now on, and end an open change."""
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
    """Natural log of the mean of the features' levels, for claims up to the page level (`page`) or the notice level."""
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
    """Add one event and update the levels.

    `values` (features,): transformed and dithered; `event`: hash of the event; `salts` (features,): hashes of the
    features; `scratch`: as for `numeric.advance_number`.
    """
    parts = row["parts"]
    leader = 0
    for k in range(parts.size):
        u, v = uniform(event, salts[k], 1), uniform(event, salts[k], 2)
        numeric.advance_number(parts[k], values[k], u, v, scratch)
        if parts[k]["log_notice"] > parts[leader]["log_notice"]:
            leader = k
    row["events"] = parts[0]["events"]
    row["leader"] = leader
    row["change"] = parts[leader]["change"]
    if row["events"] <= row["judged"]:
        row["log_notice"] = -np.inf
        row["log_page"] = -np.inf
        for k in range(parts.size):
            discard_wealth(parts[k])
        return
    row["log_notice"] = log_mean(parts, False)
    row["log_page"] = log_mean(parts, True)


@kernel
def discard_wealth(part: Record) -> None:
    """Set the wealth of a feature to zero; its excursions continue, and temper later bets."""
    wealth, records = part["wealth"], part["records"]
    for k in range(wealth["notice"].size):
        wealth["notice"][k] = 0.0
        wealth["page"][k] = 0.0
    for side in range(2):
        records["wealth"][side] = 0.0


@kernel
def is_finite(features: Floats32) -> bool:
    """Are all features finite?"""
    finite = True
    for k in range(features.size):
        finite &= math.isfinite(features[k])
    return finite


@kernel
def prepare_features(row: Record, features: Floats32, event: np.uint64, salts: Salts, values: Floats) -> None:
    """Write transformed and dithered features (features,), as `advance_features` takes them."""
    parts = row["parts"]
    for k in range(parts.size):
        x, v = np.float64(features[k]), uniform(event, salts[k], 0)
        values[k] = numeric.prepare_number(parts[k], x, v, False, numeric.DITHER)


@kernel
def feature_shift(row: Record, watcher: Record, old: Record, k: int) -> tuple[float, float]:
    """Shift of the mean of feature k since the open change, in sd before it; and the square of its standard error."""
    before, after = old["parts"][k]["reference"], watcher["parts"][k]["reference"]
    variance = ranks.variance(before)
    if variance <= 0.0 or after["seen"] == 0 or before["seen"] == 0:
        return 0.0, 1.0
    long_run = block_variance(row["parts"][k]["long_run"], 0)
    error = long_run * (1.0 / before["seen"] + 1.0 / after["seen"])
    return (ranks.mean(after) - ranks.mean(before)) / math.sqrt(variance), error


@kernel
def features_shift(row: Record, watcher: Record, old: Record) -> float:
    """Root of the sum of squared shifts of all features since the open change, in sd, less their squared errors."""
    total = 0.0
    for k in range(row["parts"].size):
        shift, error = feature_shift(row, watcher, old, k)
        total += shift * shift - error
    return math.sqrt(max(total, 0.0))


@kernel
def start_features_watcher(rows: Arena, i: int, j: int, since: int, scratch: Floats) -> None:
    """Make row j the watcher of row i: a copy whose references hold only the events from `since` on."""
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
    """Open a change of row i that began at event `since`, with watcher j and frozen reference k.

    k is the row's retained reference where it has one. `floor`: effect, in sd, below which a stream counts as returned.
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
    """Set up the return test of row i for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["largest"] = max(0.5 * features_shift(row, watcher, old), floor)
    old["floor"] = floor
    old["was_retained"] = 1 if row["retained"] >= 0 else 0
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
    """Add one event to the return test; true when the stream has returned.

    It has returned when two consecutive blocks have means close to the old ones, of the leading feature and of all
    features together. With a frozen reference that was retained after an earlier, immaterial change, two consecutive
    blocks within the floor of it are a return as well.
    """
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
    # the mean of squared standard scores is 1 where nothing has shifted; correlated features count as about six
    # independent
    same = led and noise / total < 1.6 and distance < old["largest"]
    if old["was_retained"] != 0 and distance < old["floor"]:
        same = True
    old["good"] = old["good"] + 1 if same else 0
    old["count"] = 0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def features_match(watcher: Record, old: Record, since: int) -> bool:
    """Do the events from `since` on have the means of those before the open change, in five of six features?"""
    matching = 0
    for k in range(watcher["parts"].size):
        if numeric.matches_frozen(watcher["parts"][k], old["parts"][k], since):
            matching += 1
    enough: bool = 6 * matching >= 5 * watcher["parts"].size
    return enough


@kernel
def restore_features(rows: Arena, i: int, frozen: Arena) -> None:
    """Close the change of row i after a return: the references from before the change are used again."""
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
    """The watcher of row i has found the next change: it replaces row i and gets a new watcher.

    The frozen reference stays that of the first change. `floor`: as for `open_features_change`.
    """
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
    """Does the reference of the leading feature hold enough events from before the change?"""
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
    """Add the features of one event to row i, and to its open change: FIRED, RETURNED, NEXT or QUIET.

    `features`: (features,), all finite; `event`, `salts`, `scratch`: as for `advance_features`; `nats_notice`: natural
    log of the level, in events of this stream, at which a change is opened; `values`: scratch space of one number a
    feature.
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
