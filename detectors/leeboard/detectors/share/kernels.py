"""Shares: how often a yes/no signal says yes, or a category appears against all others.

No bins are needed: for exchangeable events the randomised rank of a 0/1 value among the earlier ones is exactly
uniform for any unknown share (ties broken at random). The bets are "the share is multiplied by r", tempered by the
stream's own finished excursions like those of numeric signals (`betting`); one half of the machinery of `numeric` is
enough, because a share has no spread and its reference is two counts.

A row is one share. A binary signal is one row; a categorical signal is one row for every category it has shown, each
with an equal part of the signal's weight. A category starts when it is first seen: that first event is counted (all
earlier events count as "not this category") and not bet on.
"""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import claim, clear_wealth, cut_off, play, wealth_dtype
from leeboard.detectors.core.jit import Arena, Floats, Record, kernel
from leeboard.detectors.core.lifecycle import (
    BASELINE_NEEDED,
    FIRED,
    NEXT,
    QUIET,
    RECENT_VALUES,
    RETURNED,
    SHORTEST_RUN,
    SURCHARGE,
    WATCHER_NATS,
    report,
    return_block,
)

RATIOS = np.array([0.25, 0.5, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
RATIO_BETS = RATIOS.size
RATIO_WEIGHTS = np.array([0.1, 0.1, 0.16, 0.16, 0.16, 0.12, 0.1, 0.1])
#: a bet never promises a share above this
HIGHEST_SHARE = 0.9

SHARE = np.dtype(
    [
        ("events", "i8"),
        ("change", "i8"),  # start of the leading excursion
        ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
        ("log_page", "f8"),  # and beyond
        ("peak_page", "f8"),  # highest log_page since the change was opened
        ("milestone", "f8"),
        ("surcharge_notice", "f8"),
        ("surcharge_page", "f8"),
        ("decay_notice", "f8"),
        ("decay_page", "f8"),
        ("hits", "f8"),  # the reference: events that said yes
        ("misses", "f8"),
        ("watcher", "i4"),
        ("frozen", "i4"),
        ("retained", "i4"),  # frozen reference of an earlier change that was settled, -1 for none
        ("code", "i4"),
        ("wealth", wealth_dtype(RATIO_BETS)),
        ("recent", "u1", RECENT_VALUES),  # ring
    ],
    align=True,
)

FROZEN_SHARE = np.dtype(
    [
        ("hits", "f8"),
        ("misses", "f8"),
        ("opened", "i8"),
        ("length", "i8"),
        ("count", "i8"),
        ("good", "i8"),
        ("sum", "f8"),
        ("largest", "f8"),
    ],
    align=True,
)


@kernel
def open_share(row: Record, earlier: int, said: bool, nats_notice: float, nats_page: float) -> None:
    """Begin a share after `earlier` events that all `said` the same. `nats_*`: logs of the levels that will be claimed.

    While a stream is constant nothing can be learned from it but its length: a row is needed from its second value on.
    """
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    row["events"] = earlier
    row["hits"] = earlier if said else 0
    row["misses"] = 0 if said else earlier
    row["recent"][:] = 1 if said else 0
    set_share_levels(row, nats_notice, nats_page)


@kernel
def set_share_levels(row: Record, nats_notice: float, nats_page: float) -> None:
    """Change the levels that will be claimed; takes effect between excursions."""
    claim(row["wealth"], nats_notice, nats_page)
    row["decay_notice"] = 1.0 - math.exp(-nats_notice)
    row["decay_page"] = 1.0 - math.exp(-nats_page)


@kernel
def count_share(row: Record, hit: bool) -> None:
    """Add one event to the reference."""
    row["recent"][row["events"] % RECENT_VALUES] = 1 if hit else 0
    row["events"] += 1
    if hit:
        row["hits"] += 1.0
    else:
        row["misses"] += 1.0


@kernel
def log_e_values(row: Record, hit: bool, u: float, logs: Floats) -> None:
    """Write the log e-values of the bets for one event; each has mean 1 while nothing changes."""
    hits, misses = row["hits"], row["misses"]
    after = hits + misses + 1.0
    rank = u * (hits + 1.0) / after if hit else (hits + u * (misses + 1.0)) / after
    at = min((hits + 0.5) / after, 0.5)
    for k in range(RATIO_BETS):
        ratio = min(RATIOS[k], HIGHEST_SHARE / at)
        logs[k] = math.log(ratio) if rank <= at else math.log((1.0 - ratio * at) / (1.0 - at))


@kernel
def advance_share(row: Record, hit: bool, u: float, scratch: Floats) -> None:
    """Take in one yes or no and renew the levels. `u` uniform; `scratch` RATIO_BETS numbers."""
    t = row["events"]
    log_e_values(row, hit, u, scratch)
    wealth = row["wealth"]
    notice, page = play(wealth, scratch[:RATIO_BETS], RATIO_WEIGHTS, t)
    count_share(row, hit)
    row["surcharge_notice"] *= row["decay_notice"]
    row["surcharge_page"] *= row["decay_page"]
    start = wealth["start"][wealth["leader"]]
    row["change"] = start
    if t - start + 1 >= SHORTEST_RUN:
        row["log_notice"] = math.log(notice + 1e-300) - SURCHARGE * row["surcharge_notice"]
        row["log_page"] = math.log(page + 1e-300) - SURCHARGE * row["surcharge_page"]
    else:
        row["log_notice"] = -np.inf
        row["log_page"] = -np.inf


@kernel
def clear_share_evidence(row: Record) -> None:
    """Take all evidence back."""
    cut_off(row["wealth"])
    clear_wealth(row["wealth"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_share(row: Record) -> None:
    """The events mean something else from now on: those before count as a single no."""
    clear_share_evidence(row)
    row["events"] = 1
    row["hits"] = 0.0
    row["misses"] = 1.0
    row["recent"][:] = 0


@kernel
def hits_since(row: Record, since: int) -> tuple[int, int]:
    """Hits and events from event `since` on, as far back as they are kept."""
    t = row["events"]
    first = max(since, t - RECENT_VALUES, 0)
    hits = 0
    for event in range(first, t):
        hits += row["recent"][event % RECENT_VALUES]
    return hits, t - first


@kernel
def start_share_watcher(rows: Arena, i: int, j: int, since: int) -> None:
    """Make row j the watcher of row i: its reference is the events from `since` on."""
    rows[j] = rows[i]
    watcher = rows[j]
    clear_share_evidence(watcher)
    hits, events = hits_since(watcher, since)
    watcher["hits"] = hits
    watcher["misses"] = events - hits
    watcher["surcharge_notice"] += 1.0
    rows[i]["watcher"] = j


@kernel
def open_share_change(rows: Arena, i: int, j: int, frozen: Arena, k: int, since: int, floor: float) -> None:
    """Open a change of row i that began at event `since`: frozen reference k (the row's retained reference, if it has one), watcher j.

    `floor` is a difference of shares.
    """
    row, old = rows[i], frozen[k]
    if row["retained"] < 0:
        hits, events = hits_since(row, since)
        old["hits"] = max(row["hits"] - hits, 0.0)
        old["misses"] = max(row["misses"] - (events - hits), 0.0)
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    start_share_watcher(rows, i, j, since)
    expect_share_return(rows, i, frozen, since, floor)


@kernel
def expect_share_return(rows: Arena, i: int, frozen: Arena, since: int, floor: float) -> None:
    """Set the return test of row i up for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["sum"] = 0.0
    old["largest"] = max(0.5 * abs(share_shift(rows, i, frozen)), floor)


@kernel
def share_of(counts: Record) -> float:
    """Share of yes in a reference (a row or a frozen reference)."""
    n = counts["hits"] + counts["misses"]
    share: float = counts["hits"] / n if n > 0.0 else 0.0
    return share


@kernel
def share_shift(rows: Arena, i: int, frozen: Arena) -> float:
    """Share since the open change less the share before it."""
    return share_of(rows[rows[i]["watcher"]]) - share_of(frozen[rows[i]["frozen"]])


@kernel
def fits_share(old: Record, hits: float, events: int, width: float) -> bool:
    """Are so many hits in so many events what the frozen reference's share gives, within `width` standard errors?"""
    n = old["hits"] + old["misses"]
    share = (old["hits"] + 0.5) / (n + 1.0)
    noise = share * (1.0 - share) * events * (1.0 + events / (n + 1.0))
    fits: bool = abs(hits - events * share) < width * math.sqrt(noise) + 0.5
    return fits


@kernel
def share_has_returned(old: Record, hit: bool) -> bool:
    """Return test: two blocks in a row with the old share."""
    old["count"] += 1
    if hit:
        old["sum"] += 1.0
    n = old["length"]
    if old["count"] < n:
        return False
    near = abs(old["sum"] / n - share_of(old)) < old["largest"]
    old["good"] = old["good"] + 1 if near and fits_share(old, old["sum"], n, 1.0) else 0
    old["count"] = 0
    old["sum"] = 0.0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def restore_share(rows: Arena, i: int, frozen: Arena) -> None:
    """The share has returned: the counts of before the change hold again, the change is closed."""
    row = rows[i]
    old = frozen[row["frozen"]]
    row["hits"] = old["hits"]
    row["misses"] = old["misses"]
    close_share_change(row)


@kernel
def close_share_change(row: Record) -> None:
    """End the open change of a row, whose evidence starts at nothing."""
    clear_share_evidence(row)
    row["surcharge_notice"] += 1.0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede_share(rows: Arena, i: int, frozen: Arena, floor: float) -> None:
    """The watcher found the next change: it becomes the process, with a new watcher; the oldest frozen reference stays."""
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    start_share_watcher(rows, i, j, row["change"])
    expect_share_return(rows, i, frozen, row["change"], floor)


@kernel
def share_baseline(row: Record) -> float:
    """Events that the reference holds from before the change."""
    events: float = row["hits"] + row["misses"] - (row["events"] - row["change"])
    return events


@kernel
def observe_share(rows: Arena, i: int, frozen: Arena, hit: bool, u: float, nats_notice: float, scratch: Floats) -> int:
    """Give one yes or no to row i and to what it has opened; returns FIRED, RETURNED, NEXT or QUIET.

    `nats_notice`: log of the level, in events of this stream, at which a change is opened.
    """
    row = rows[i]
    advance_share(row, hit, u, scratch)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice and share_baseline(row) >= BASELINE_NEEDED else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance_share(watcher, hit, u, scratch)
    if share_has_returned(old, hit):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice and share_baseline(watcher) >= BASELINE_NEEDED:
        hits, events = hits_since(watcher, watcher["change"])
        return RETURNED if events >= 8 and fits_share(old, hits, events, 2.0) else NEXT
    return QUIET


@kernel
def refine_share(row: Record, before: float) -> tuple[int, int, int]:
    """First changed event as events ago (estimate, earliest, latest): maximum of the Bernoulli likelihood ratio.

    `before`: the share before the change. Intervals as in `changetime.refine`.
    """
    t = row["events"]
    n = min(t, RECENT_VALUES)
    share = min(max(before, 1e-4), 1.0 - 1e-4)
    best, estimate = -1.0, 0
    for round_ in range(2):
        if round_ == 1:
            earliest, latest = estimate, estimate
        hits = 0
        for k in range(n):
            hits += row["recent"][(t - 1 - k) % RECENT_VALUES]
            gain = bernoulli_gain(hits, k + 1, share)
            if round_ == 0 and gain > best:
                best = gain
                estimate = k
            elif round_ == 1 and gain >= best - 2.0:
                earliest = max(earliest, k)
                latest = min(latest, k)
    return estimate, earliest, latest


@kernel
def bernoulli_gain(hits: int, events: int, share: float) -> float:
    """Log likelihood of the best share for these events less that of `share`."""
    now = hits / events
    gain = 0.0
    if hits > 0:
        gain += hits * math.log(now / share)
    if hits < events:
        gain += (events - hits) * math.log((1.0 - now) / (1.0 - share))
    return gain


@kernel
def step_share(
    rows: Arena, i: int, frozen: Arena, hit: bool, u: float, nats_notice: float, nats_page: float, scratch: Floats
) -> int:
    """One yes or no through share row i, with its levels set and the code noted in the row; see `observe_share`."""
    row = rows[i]
    set_share_levels(row, nats_notice, nats_page)
    return report(row, observe_share(rows, i, frozen, hit, u, nats_notice, scratch))


@kernel
def step_categories(
    rows: Arena,
    categories: npt.NDArray[np.int32],
    frozen: Arena,
    shown: int,
    events: int,
    u: float,
    nats_notice: float,
    nats_page: float,
    nats: float,
    scratch: Floats,
) -> int:
    """Category `shown` against all others, for every category of a stream that has shown more than one; joint codes.

    `categories`: row of every category, -1 for none; `events`: of the stream, before this one; `nats`: what is added
    to both levels, and beside it the log of the number of categories, since each has an equal part of the budget.
    """
    known = 0
    for k in range(categories.size):
        if categories[k] >= 0:
            known += 1
    if known == 0:
        return QUIET
    nats += math.log(np.float64(known))
    codes = QUIET
    for k in range(categories.size):
        i = categories[k]
        if i < 0:
            continue
        if rows[i]["wealth"]["nats_notice"] == 0.0:
            if shown == k:  # first seen: counted, not bet on
                open_share(rows[i], events, False, nats_notice + nats, nats_page + nats)
                count_share(rows[i], True)
            continue
        codes |= step_share(rows, i, frozen, shown == k, u, nats_notice + nats, nats_page + nats, scratch)
    return codes
