"""Kernels of shares: how often a yes/no stream says yes, or how often one category appears among all.

Bins are not needed: for exchangeable events, the randomised rank of a 0/1 value among the earlier ones is exactly
uniform for any unknown share (ties are broken at random). The bets are "the share is multiplied by r", tempered by the
stream's own finished excursions as in numeric streams (`betting`). A share has no spread, and its reference is two
counts.

A row is one share. A binary stream has one row. A categorical stream has one row for every category it has shown, each
with an equal part of the budget. The row of a category starts with the first event of that category: this event is
counted (all earlier events count as "not this category"), but not bet on.
"""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import censor_excursions, claim, clear_wealth, play, wealth_dtype
from leeboard.detectors.core.changetime import WIDTH_NATS
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

#: bets "the share is multiplied by this", and their weights
RATIOS = np.array([0.25, 0.5, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
RATIO_BETS = RATIOS.size
RATIO_WEIGHTS = np.array([0.1, 0.1, 0.16, 0.16, 0.16, 0.12, 0.1, 0.1])
assert RATIO_WEIGHTS.size == RATIO_BETS
assert abs(RATIO_WEIGHTS.sum() - 1.0) < 1e-12
#: no bet is on a share above this
HIGHEST_SHARE = 0.9

SHARE_STATE = np.dtype(
    [
        ("events", "i8"),
        ("change", "i8"),  # first event of the leading excursion
        ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
        ("log_page", "f8"),  # natural log of the level, for claims up to the page level
        ("peak_page", "f8"),  # highest log_page since the change was opened
        ("milestone", "f8"),  # peak_page from which on the owner is reported LEVEL
        ("surcharge_notice", "f8"),  # number of recent firings, decaying
        ("surcharge_page", "f8"),
        ("decay_notice", "f8"),  # factor of the surcharge per event
        ("decay_page", "f8"),
        ("hits", "f8"),  # reference: number of events that said yes
        ("misses", "f8"),  # reference: number of events that said no
        ("watcher", "i4"),  # row number of the watcher, -1 while no change is open
        ("frozen", "i4"),  # row number of the frozen reference, -1 while no change is open
        ("retained", "i4"),  # frozen reference of an earlier change that was closed as immaterial, -1 for none
        ("code", "i4"),  # result of the newest event
        ("wealth", wealth_dtype(RATIO_BETS)),
        ("recent", "u1", RECENT_VALUES),  # ring of the newest events: 1 for yes
    ],
    align=True,
)

FROZEN_SHARE_STATE = np.dtype(
    [
        ("hits", "f8"),
        ("misses", "f8"),
        ("opened", "i8"),  # event at which the change was opened
        ("length", "i8"),  # events of a block of the return test
        ("count", "i8"),  # events of the running block
        ("good", "i8"),  # number of consecutive blocks that match
        ("sum", "f8"),  # hits of the running block
        ("largest", "f8"),  # a share further than this from the old one is no return
    ],
    align=True,
)


@kernel
def open_share(row: Record, earlier: int, said: bool, nats_notice: float, nats_page: float) -> None:
    """Start a share after `earlier` events that all had the same outcome, `said`.

    A constant stream needs no row, only its length: a row is needed from the first event with another outcome on.
    `nats_*`: natural logs of the levels, in events, that will be claimed.
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
    """Set the levels (natural logs, in events) that will be claimed; a bet follows when its excursion has ended."""
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
def share_log_e_values(row: Record, hit: bool, u: float, logs: Floats) -> None:
    """Write the log e-values (RATIO_BETS,) of one event; each e-value has mean 1 while nothing changes.

    `u`: uniform on (0, 1).
    """
    hits, misses = row["hits"], row["misses"]
    after = hits + misses + 1.0
    rank = u * (hits + 1.0) / after if hit else (hits + u * (misses + 1.0)) / after
    share = min((hits + 0.5) / after, 0.5)
    for k in range(RATIO_BETS):
        ratio = min(RATIOS[k], HIGHEST_SHARE / share)
        logs[k] = math.log(ratio) if rank <= share else math.log((1.0 - ratio * share) / (1.0 - share))


@kernel
def advance_share(row: Record, hit: bool, u: float, scratch: Floats) -> None:
    """Add one yes or no and update the levels. `u`: uniform on (0, 1); `scratch`: at least RATIO_BETS numbers."""
    t = row["events"]
    share_log_e_values(row, hit, u, scratch)
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
    """Discard all evidence; what was learned of the stream's excursions stays."""
    censor_excursions(row["wealth"])
    clear_wealth(row["wealth"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_share(row: Record) -> None:
    """The events mean something else from now on: all earlier ones are replaced by a single no."""
    clear_share_evidence(row)
    row["events"] = 1
    row["hits"] = 0.0
    row["misses"] = 1.0
    row["recent"][:] = 0


@kernel
def hits_since(row: Record, since: int) -> tuple[int, int]:
    """Number of hits and of events from event `since` on, as far back as events are held."""
    t = row["events"]
    first = max(since, t - RECENT_VALUES, 0)
    hits = 0
    for event in range(first, t):
        hits += row["recent"][event % RECENT_VALUES]
    return hits, t - first


@kernel
def start_share_watcher(rows: Arena, i: int, j: int, since: int) -> None:
    """Make row j the watcher of row i: a copy whose reference holds only the events from `since` on."""
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
    """Open a change of row i that began at event `since`, with watcher j and frozen reference k.

    k is the row's retained reference where it has one. `floor`: difference of shares below which a stream counts as
    returned.
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
    """Set up the return test of row i for the change that began at event `since`."""
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
    """Share of yes in the counts of a row or of a frozen reference, 0 for no events."""
    n = counts["hits"] + counts["misses"]
    share: float = counts["hits"] / n if n > 0.0 else 0.0
    return share


@kernel
def share_shift(rows: Arena, i: int, frozen: Arena) -> float:
    """Share since the open change of row i, less the share before it."""
    return share_of(rows[rows[i]["watcher"]]) - share_of(frozen[rows[i]["frozen"]])


@kernel
def fits_share(old: Record, hits: float, events: int, width: float) -> bool:
    """Does `hits` in `events` agree with the share of the frozen reference, within `width` standard errors?"""
    n = old["hits"] + old["misses"]
    share = (old["hits"] + 0.5) / (n + 1.0)
    noise = share * (1.0 - share) * events * (1.0 + events / (n + 1.0))
    fits: bool = abs(hits - events * share) < width * math.sqrt(noise) + 0.5
    return fits


@kernel
def share_has_returned(old: Record, hit: bool) -> bool:
    """Add one event to the return test; true after two consecutive blocks with the old share."""
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
    """Close the change of row i after a return: the counts from before the change are used again."""
    row = rows[i]
    old = frozen[row["frozen"]]
    row["hits"] = old["hits"]
    row["misses"] = old["misses"]
    close_share_change(row)


@kernel
def close_share_change(row: Record) -> None:
    """Close the open change of a row and discard its evidence."""
    clear_share_evidence(row)
    row["surcharge_notice"] += 1.0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede_share(rows: Arena, i: int, frozen: Arena, floor: float) -> None:
    """The watcher of row i has found the next change: it replaces row i and gets a new watcher.

    The frozen reference stays that of the first change. `floor`: as for `open_share_change`.
    """
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    start_share_watcher(rows, i, j, row["change"])
    expect_share_return(rows, i, frozen, row["change"], floor)


@kernel
def share_baseline(row: Record) -> float:
    """Number of events in the reference from before the change."""
    events: float = row["hits"] + row["misses"] - (row["events"] - row["change"])
    return events


@kernel
def observe_share(rows: Arena, i: int, frozen: Arena, hit: bool, u: float, nats_notice: float, scratch: Floats) -> int:
    """Add one yes or no to row i, and to its open change: FIRED, RETURNED, NEXT or QUIET.

    `nats_notice`: natural log of the level, in events of this stream, at which a change is opened. `u`: uniform on
    (0, 1); `scratch`: at least RATIO_BETS numbers.
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

    `before`: share before the change. The interval is that of `changetime.refine`.
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
            elif round_ == 1 and gain >= best - WIDTH_NATS:
                earliest = max(earliest, k)
                latest = min(latest, k)
    return estimate, earliest, latest


@kernel
def bernoulli_gain(hits: int, events: int, share: float) -> float:
    """Log likelihood of `hits` in `events` at their own share, less that at `share`."""
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
