"""Numeric signals whose null is "the stream goes on moving as it used to move".

One event walks through: dither and scale (`prepare`), what clock and covariates explain (`season.adjust`), sequential
rank -> normal score, prewhitening, rank again, then two channels of evidence with half of the budget each: tempered
Shiryaev-Roberts bets (W) and block means against their own past (B). The evidence is a *level*: the largest A, in
events, at which the detector would fire now.

When the notice level is reached a change is opened: a *frozen reference* (the references as they were before the change) is
put aside for effect, floor and return test, and a *watcher* grows a new reference from the change time and looks for
the next change. The process itself runs on undisturbed, so that it alone carries the evidence from notice to page.
"""

import math

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.betting import CLIP, WEALTH, bet, claim, clear_wealth, cut_off
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
from leeboard.detectors.core.ranks import REFERENCE
from leeboard.detectors.core.special import normal_quantile

from .dependence import (
    LEVELS,
    LONG_RUN,
    WHITENER,
    block_evidence,
    block_variance,
    clear_blocks,
    open_whitener,
    restart_whitener,
    whiten,
)
from .records import RECORDS, WEIGHT, bet_on_records, clear_records, restart_records

#: half width of the random noise that breaks ties, in transformed units: .05 % of a positive value. An owner that does
#: not care for small moves takes more (an eighth of its effect floor), so that they never gain evidence
DITHER = 2.0**-11
#: the noise is never less than this part of a value, which leaves it 64 steps of a 32-bit float
COARSEST = 2.0**-18
#: scaled values are cut here, so that their squares stay finite
LARGEST = 1e30
#: a change that was never seen to return is taken as normal after so many events
FORGOTTEN_AFTER = 4096
#: weight of the tempered bets beside the two bets on records
TEMPERED = 1.0 - 2.0 * WEIGHT
#: events that a restored reference counts as old
RESTORED_AGE = 4096
NUMERIC = np.dtype(
    [
        ("events", "i8"),
        ("oldest", "i8"),  # event from which the reference dates
        ("change", "i8"),  # start of the leading excursion or block
        ("score", "f8"),  # normal score of the newest value
        ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
        ("log_page", "f8"),  # and beyond
        ("peak_page", "f8"),  # highest log_page since the change was opened
        ("milestone", "f8"),  # peak_page at which the owner wants to be told next
        ("surcharge_notice", "f8"),
        ("surcharge_page", "f8"),
        ("decay_notice", "f8"),  # of the surcharge, per event
        ("decay_page", "f8"),
        ("unit", "f8"),  # scale of the transformation
        ("watcher", "i4"),  # row of the watcher, -1 when no change is open
        ("frozen", "i4"),
        ("retained", "i4"),  # frozen reference of an earlier change that was settled, -1 for none
        ("code", "i4"),  # what the newest value led to
        ("reference", REFERENCE),
        ("residuals", REFERENCE),
        ("whitener", WHITENER),
        ("long_run", LONG_RUN),
        ("wealth", WEALTH),
        ("records", RECORDS),
        ("values", "f4", RECENT_VALUES),  # ring
    ],
    align=True,
)

FROZEN_NUMERIC = np.dtype(
    [
        ("reference", REFERENCE),
        ("residuals", REFERENCE),
        ("opened", "i8"),  # event at which the change was opened
        ("length", "i8"),  # events of a block of the return test
        ("count", "i8"),
        ("good", "i8"),  # blocks in a row that match
        ("sum", "f8"),
        ("squares", "f8"),
        ("values", "f8"),
        ("largest", "f8"),  # a mean further than this from the old one is no return
        ("floor", "f8"),
        ("outlived", "i8"),  # 1 where it outlived a change that was too small to matter
    ],
    align=True,
)


@kernel
def open_row(row: Record, nats_notice: float, nats_page: float) -> None:
    """Begin a stream. `nats_*`: natural logs of the levels, in events of this stream, that will be claimed."""
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    open_whitener(row["whitener"])
    set_levels(row, nats_notice, nats_page)


@kernel
def set_levels(row: Record, nats_notice: float, nats_page: float) -> None:
    """Change the levels that will be claimed; takes effect between excursions."""
    claim(row["wealth"], nats_notice, nats_page)
    row["decay_notice"] = 1.0 - math.exp(-nats_notice)
    row["decay_page"] = 1.0 - math.exp(-nats_page)


@kernel
def prepare(row: Record, x: float, v: float, logarithmic: bool, dither: float) -> float:
    """Transformed and dithered value: asinh(x / unit), or x / unit where `logarithmic` is false.

    A unit of 0 is learned: a sixteenth of the first value other than 0, so that asinh is a logarithm.
    """
    if row["unit"] == 0.0 and x != 0.0:
        row["unit"] = abs(x) * 0.0625
    scaled = min(max(x / row["unit"], -LARGEST), LARGEST) if row["unit"] > 0.0 else 0.0
    y: float = math.asinh(scaled) if logarithmic else scaled
    return y + (2.0 * v - 1.0) * max(dither, abs(y) * COARSEST)


@kernel
def clipped_score(u: float) -> float:
    """Normal score of a uniform number."""
    return min(max(normal_quantile(u), -CLIP), CLIP)


@kernel
def advance(row: Record, y: float, u: float, v: float, scratch: Floats) -> None:
    """Take in one transformed value and renew the levels. `u`, `v` uniform; `scratch` BETS numbers."""
    t = row["events"]
    row["events"] = t + 1
    record, record_start = bet_on_records(row["records"], row["values"], y, t)
    row["values"][t % RECENT_VALUES] = y
    z = clipped_score(ranks.rank(row["reference"], y, u))
    row["score"] = z
    residual = whiten(row["whitener"], z, True, scratch[:LEVELS])
    score = clipped_score(ranks.rank(row["residuals"], residual, v))
    blocks = block_evidence(row["long_run"], z, t, row["oldest"])
    wealth = row["wealth"]
    notice, page = bet(wealth, score, t, scratch)
    start = wealth["start"][wealth["leader"]]
    if record > notice:
        start = record_start
    notice, page = TEMPERED * notice + record, TEMPERED * page + record
    row["surcharge_notice"] *= row["decay_notice"]
    row["surcharge_page"] *= row["decay_page"]
    bets_notice, bets_page = -np.inf, -np.inf
    if t - start + 1 >= SHORTEST_RUN:
        bets_notice = math.log(0.5 * notice + 1e-300)
        bets_page = math.log(0.5 * page + 1e-300)
    long_run = row["long_run"]
    row["change"] = start if bets_notice >= blocks else long_run["start"][long_run["surest"]]
    row["log_notice"] = max(bets_notice, blocks) - SURCHARGE * row["surcharge_notice"]
    row["log_page"] = max(bets_page, blocks) - SURCHARGE * row["surcharge_page"]


@kernel
def relearn(row: Record, since: int, scratch: Floats) -> None:
    """Fill empty references, silently, with the events from `since` on (as far back as they are kept)."""
    t = row["events"]
    first = max(since, t - RECENT_VALUES, 0)
    for k in range(first, t):
        y = np.float64(row["values"][k % RECENT_VALUES])
        z = clipped_score(ranks.rank(row["reference"], y, 0.5))
        ranks.rank(row["residuals"], whiten(row["whitener"], z, False, scratch[:LEVELS]), 0.5)
    row["oldest"] = first


@kernel
def clear_evidence(row: Record) -> None:
    """Take all evidence back; what was learned of the way of moving stays."""
    cut_off(row["wealth"])
    clear_wealth(row["wealth"])
    clear_records(row["records"])
    clear_blocks(row["long_run"])
    restart_whitener(row["whitener"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_references(row: Record) -> None:
    """Start both references afresh: the values mean something else now."""
    ranks.clear(row["reference"])
    ranks.clear(row["residuals"])
    restart_whitener(row["whitener"])
    clear_wealth(row["wealth"])
    restart_records(row["records"])
    clear_blocks(row["long_run"])
    row["oldest"] = row["events"]


@kernel
def start_watcher(rows: Arena, i: int, j: int, since: int, scratch: Floats) -> None:
    """Make row j the watcher of row i: it knows the events from `since` on and how the stream moves."""
    rows[j] = rows[i]
    watcher = rows[j]
    clear_evidence(watcher)
    ranks.clear(watcher["reference"])
    ranks.clear(watcher["residuals"])
    relearn(watcher, since, scratch)
    watcher["surcharge_notice"] += 1.0
    rows[i]["watcher"] = j


@kernel
def open_change(rows: Arena, i: int, j: int, frozen: Arena, k: int, since: int, floor: float, scratch: Floats) -> None:
    """Open a change of row i that began at event `since`: frozen reference k (the row's retained reference, if it has one), watcher j.

    `floor`: distance of means, in transformed units, below which a stream counts as returned.
    """
    row, old = rows[i], frozen[k]
    if row["retained"] < 0:
        old["reference"] = row["reference"]
        old["residuals"] = row["residuals"]
        t = row["events"]
        for event in range(max(since, t - RECENT_VALUES, 0), t):
            ranks.forget(old["reference"], np.float64(row["values"][event % RECENT_VALUES]))
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    start_watcher(rows, i, j, since, scratch)
    expect_return(rows, i, frozen, since, floor)


@kernel
def expect_return(rows: Arena, i: int, frozen: Arena, since: int, floor: float) -> None:
    """Set the return test of row i up for the change that began at event `since`."""
    row = rows[i]
    old = frozen[row["frozen"]]
    old["opened"] = row["events"]
    old["length"] = return_block(row["events"], since)
    old["count"] = 0
    old["good"] = 0
    old["sum"] = 0.0
    old["squares"] = 0.0
    old["values"] = 0.0
    old["largest"] = max(0.5 * abs(shift(rows, i, frozen)), floor)
    old["floor"] = floor
    old["outlived"] = 1 if row["retained"] >= 0 else 0


@kernel
def shift(rows: Arena, i: int, frozen: Arena) -> float:
    """Mean of the transformed values since the open change less the mean before it."""
    return ranks.mean(rows[rows[i]["watcher"]]["reference"]) - ranks.mean(frozen[rows[i]["frozen"]]["reference"])


@kernel
def has_returned(row: Record, old: Record, y: float, u: float) -> bool:
    """Return test: two blocks in a row whose scores against the frozen reference have the old mean and the old spread.

    Where the frozen reference is that of an earlier, settled change, the level just before this one was within the floor of
    it: two blocks within the floor are a return.
    """
    z = clipped_score(ranks.rank_frozen(old["reference"], y, u))
    old["sum"] += z
    old["squares"] += z * z
    old["values"] += y
    old["count"] += 1
    n = old["length"]
    if old["count"] < n:
        return False
    variance = block_variance(row["long_run"], 0)
    if n >= 48:
        variance = max(variance, block_variance(row["long_run"], 1))
    noise = variance / n + 1.0 / (old["reference"]["seen"] + 1.0)
    same_level = abs(old["sum"] / n) < math.sqrt(noise)
    same_spread = abs(old["squares"] / n - 1.0) < 1.5 * math.sqrt(2.0 * noise)
    distance = abs(old["values"] / n - ranks.mean(old["reference"]))
    same = same_level and same_spread and distance < old["largest"]
    if old["outlived"] != 0 and distance < old["floor"]:
        same = True
    old["good"] = old["good"] + 1 if same else 0
    old["count"] = 0
    old["sum"] = 0.0
    old["squares"] = 0.0
    old["values"] = 0.0
    returned: bool = old["good"] >= 2
    return returned


@kernel
def matches_frozen(row: Record, old: Record, since: int) -> bool:
    """Do the events from `since` on (8 at least) look like those before the open change?"""
    t = row["events"]
    first = max(since, t - RECENT_VALUES, 0)
    n = t - first
    if n < 8:
        return False
    total, values = 0.0, 0.0
    for event in range(first, t):
        y = np.float64(row["values"][event % RECENT_VALUES])
        values += y
        total += clipped_score(ranks.rank_frozen(old["reference"], y, 0.5))
    noise = 1.5 * math.sqrt(ranks.variance(old["reference"]) / n)
    near = abs(values / n - ranks.mean(old["reference"])) < max(old["largest"], noise)
    matches: bool = near and abs(total) < 2.0 * math.sqrt(n * block_variance(row["long_run"], 0))
    return matches


@kernel
def restore(rows: Arena, i: int, frozen: Arena) -> None:
    """The stream has returned: the references of before the change hold again, the change is closed."""
    row = rows[i]
    old = frozen[row["frozen"]]
    row["reference"] = old["reference"]
    row["residuals"] = old["residuals"]
    close_change(row)
    row["oldest"] = row["events"] - RESTORED_AGE


@kernel
def close_change(row: Record) -> None:
    """End the open change of a row, whose evidence starts at nothing."""
    clear_evidence(row)
    row["surcharge_notice"] += 1.0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede(rows: Arena, i: int, frozen: Arena, floor: float, scratch: Floats) -> None:
    """The watcher found the next change: it becomes the process, with a new watcher; the oldest frozen reference stays."""
    j, k = rows[i]["watcher"], rows[i]["frozen"]
    rows[i] = rows[j]
    row = rows[i]
    row["frozen"] = k
    row["peak_page"] = row["log_page"]
    since = row["change"]
    start_watcher(rows, i, j, since, scratch)
    expect_return(rows, i, frozen, since, floor)


@kernel
def baseline(row: Record) -> int:
    """Events that the reference holds from before the change."""
    events: int = row["reference"]["seen"] - (row["events"] - row["change"])
    return events


@kernel
def observe(
    rows: Arena, i: int, frozen: Arena, y: float, u: float, v: float, nats_notice: float, scratch: Floats
) -> int:
    """Give one transformed value to row i and to what it has opened; returns FIRED, RETURNED NEXT or QUIET.

    `nats_notice`: log of the level, in events of this stream, at which a change is opened.
    """
    row = rows[i]
    advance(row, y, u, v, scratch)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice and baseline(row) >= BASELINE_NEEDED else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance(watcher, y, u, v, scratch)
    if has_returned(row, old, y, u):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice and baseline(watcher) >= BASELINE_NEEDED:
        return RETURNED if matches_frozen(watcher, old, watcher["change"]) else NEXT
    return QUIET


@kernel
def step_number(
    rows: Arena, i: int, frozen: Arena, y: float, u: float, v: float, nats_notice: float, scratch: Floats
) -> int:
    """`observe`, with the code noted in the row; LEVEL where the evidence of an open change passed its milestone."""
    return report(rows[i], observe(rows, i, frozen, y, u, v, nats_notice, scratch))
