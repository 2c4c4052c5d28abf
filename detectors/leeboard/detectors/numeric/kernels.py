"""Kernels of numeric streams, whose null hypothesis is "the stream goes on varying as it has varied so far".

The steps of one event: scale and dither (`prepare_number`), subtract what clock and covariates explain
(`season.adjust`), sequential rank and normal score, prewhitening, a second rank. Then two channels share the budget
equally: tempered Shiryaev-Roberts bets (W), and block means against earlier block means (B). The evidence is a *level*:
the largest A, in events, at which the detector would fire now.

A change is opened when the evidence reaches the notice level. A *frozen reference* (the references as they were before
the change) then serves effect, floor and return test. A *watcher* builds a new reference from the change time on and
looks for the next change. The process itself continues unchanged, so it alone carries the evidence from notice to page.
"""

import math

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.betting import CLIP, WEALTH, bet, censor_excursions, claim, clear_wealth
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
    AGE_NEEDED,
    BLOCK_EVENTS,
    LEVEL_FEATURES,
    LONG_RUN,
    RECENT,
    WHITENER,
    block_evidence,
    block_variance,
    clear_blocks,
    open_whitener,
    restart_whitener,
    whiten,
)
from .records import RECORDS, WEIGHT, bet_on_records, clear_records, restart_records

#: half width of the random noise that breaks ties, in transformed units: .05 % of a positive value. An owner to whom
#: small shifts do not matter uses more (an eighth of its effect floor), so that they never gain evidence
DITHER = 2.0**-11
#: the noise is at least this part of a value: 64 steps of a 32-bit float
COARSEST = 2.0**-18
#: scaled values are clipped here, so that their squares stay finite
LARGEST = 1e30
assert math.inf > LARGEST * LARGEST
#: weight of the tempered bets beside the two bets on records
TEMPERED = 1.0 - 2.0 * WEIGHT
#: age of a restored reference in events: old enough for blocks of every scale
RESTORED_AGE = 4096
assert AGE_NEEDED * BLOCK_EVENTS[-1] <= RESTORED_AGE
#: scores and values go back equally far, which `numeric_change` relies on
assert RECENT_VALUES == RECENT
NUMERIC_STATE = np.dtype(
    [
        ("events", "i8"),
        ("oldest", "i8"),  # event with which the reference begins
        ("change", "i8"),  # first event of the leading excursion or block
        ("score", "f8"),  # normal score of the newest value
        ("log_notice", "f8"),  # natural log of the level, for claims up to the notice level
        ("log_page", "f8"),  # natural log of the level, for claims up to the page level
        ("peak_page", "f8"),  # highest log_page since the change was opened
        ("milestone", "f8"),  # peak_page from which on the owner is reported LEVEL
        ("surcharge_notice", "f8"),  # number of recent firings, decaying
        ("surcharge_page", "f8"),
        ("decay_notice", "f8"),  # factor of the surcharge per event
        ("decay_page", "f8"),
        ("unit", "f8"),  # scale of the transformation, 0 while not learned
        ("watcher", "i4"),  # row number of the watcher, -1 while no change is open
        ("frozen", "i4"),  # row number of the frozen reference, -1 while no change is open
        ("retained", "i4"),  # frozen reference of an earlier change that was closed as immaterial, -1 for none
        ("code", "i4"),  # result of the newest value
        ("reference", REFERENCE),  # of transformed values
        ("residuals", REFERENCE),  # of prewhitened scores
        ("whitener", WHITENER),
        ("long_run", LONG_RUN),
        ("wealth", WEALTH),
        ("records", RECORDS),
        ("values", "f4", RECENT_VALUES),  # ring of transformed values
    ],
    align=True,
)

FROZEN_NUMERIC_STATE = np.dtype(
    [
        ("reference", REFERENCE),
        ("residuals", REFERENCE),
        ("opened", "i8"),  # event at which the change was opened
        ("length", "i8"),  # events of a block of the return test
        ("count", "i8"),  # events of the running block
        ("good", "i8"),  # number of consecutive blocks that match
        ("sum", "f8"),  # of the scores of the running block
        ("squares", "f8"),  # sum of its squared scores
        ("values", "f8"),  # sum of its transformed values
        ("largest", "f8"),  # a block mean further than this from the old mean is no return
        ("floor", "f8"),  # effect, in transformed units, below which a stream counts as returned
        ("was_retained", "i8"),  # 1 where an earlier change was closed as immaterial and left this reference
    ],
    align=True,
)


@kernel
def open_row(row: Record, nats_notice: float, nats_page: float) -> None:
    """Start a stream in an empty row. `nats_*`: natural logs of the levels, in events, that will be claimed."""
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    open_whitener(row["whitener"])
    set_levels(row, nats_notice, nats_page)


@kernel
def set_levels(row: Record, nats_notice: float, nats_page: float) -> None:
    """Set the levels (natural logs, in events) that will be claimed; a bet follows when its excursion has ended."""
    claim(row["wealth"], nats_notice, nats_page)
    row["decay_notice"] = 1.0 - math.exp(-nats_notice)
    row["decay_page"] = 1.0 - math.exp(-nats_page)


@kernel
def prepare_number(row: Record, x: float, v: float, logarithmic: bool, dither: float) -> float:
    """Transformed and dithered value: asinh(x / unit), or x / unit where `logarithmic` is false.

    `v`: uniform on (0, 1); `dither`: half width of the noise. A unit of 0 is learned: it becomes a sixteenth of the
    first value other than 0, so that asinh is close to a logarithm.
    """
    if row["unit"] == 0.0 and x != 0.0:
        row["unit"] = abs(x) * 0.0625
    scaled = min(max(x / row["unit"], -LARGEST), LARGEST) if row["unit"] > 0.0 else 0.0
    y: float = math.asinh(scaled) if logarithmic else scaled
    return y + (2.0 * v - 1.0) * max(dither, abs(y) * COARSEST)


@kernel
def clipped_score(u: float) -> float:
    """Normal score of u in (0, 1), clipped to +-CLIP."""
    return min(max(normal_quantile(u), -CLIP), CLIP)


@kernel
def advance_number(row: Record, y: float, u: float, v: float, scratch: Floats) -> None:
    """Add one transformed value and update the levels. `u`, `v`: uniform on (0, 1); `scratch`: BETS numbers."""
    t = row["events"]
    row["events"] = t + 1
    record, record_start = bet_on_records(row["records"], row["values"], y, t)
    row["values"][t % RECENT_VALUES] = y
    z = clipped_score(ranks.rank(row["reference"], y, u))
    row["score"] = z
    residual = whiten(row["whitener"], z, True, scratch[:LEVEL_FEATURES])
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
    """Fill empty references with the events from `since` on, as far back as values are held; no bet is placed."""
    t = row["events"]
    first = max(since, t - RECENT_VALUES, 0)
    for k in range(first, t):
        y = np.float64(row["values"][k % RECENT_VALUES])
        z = clipped_score(ranks.rank(row["reference"], y, 0.5))
        ranks.rank(row["residuals"], whiten(row["whitener"], z, False, scratch[:LEVEL_FEATURES]), 0.5)
    row["oldest"] = first


@kernel
def clear_evidence(row: Record) -> None:
    """Discard all evidence; what was learned of the stream's autocorrelation, blocks and excursions stays."""
    censor_excursions(row["wealth"])
    clear_wealth(row["wealth"])
    clear_records(row["records"])
    clear_blocks(row["long_run"])
    restart_whitener(row["whitener"])
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf


@kernel
def restart_references(row: Record) -> None:
    """Empty both references and discard the evidence: the values mean something else from now on."""
    ranks.clear(row["reference"])
    ranks.clear(row["residuals"])
    restart_whitener(row["whitener"])
    clear_wealth(row["wealth"])
    restart_records(row["records"])
    clear_blocks(row["long_run"])
    row["oldest"] = row["events"]


@kernel
def start_watcher(rows: Arena, i: int, j: int, since: int, scratch: Floats) -> None:
    """Make row j the watcher of row i: a copy whose references hold only the events from `since` on."""
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
    """Open a change of row i that began at event `since`, with watcher j and frozen reference k.

    k is the row's retained reference where it has one. `floor`: distance of means, in transformed units, below which a
    stream counts as returned.
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
    """Set up the return test of row i for the change that began at event `since`."""
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
    old["was_retained"] = 1 if row["retained"] >= 0 else 0


@kernel
def shift(rows: Arena, i: int, frozen: Arena) -> float:
    """Mean of the transformed values since the open change of row i, less the mean before it."""
    return ranks.mean(rows[rows[i]["watcher"]]["reference"]) - ranks.mean(frozen[rows[i]["frozen"]]["reference"])


@kernel
def number_has_returned(row: Record, old: Record, y: float, u: float) -> bool:
    """Add one value to the return test; true when the stream has returned.

    It has returned when two consecutive blocks have scores, against the frozen reference, with the old mean and the old
    spread. A frozen reference that was retained describes the stream before an earlier, immaterial change; the level
    just before this change was within the floor of it. Two consecutive blocks within the floor are then a return as
    well.
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
    if old["was_retained"] != 0 and distance < old["floor"]:
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
    """Do the events from `since` on (at least 8) have the mean of those before the open change?"""
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
def restore_number(rows: Arena, i: int, frozen: Arena) -> None:
    """Close the change of row i after a return: the references from before the change are used again."""
    row = rows[i]
    old = frozen[row["frozen"]]
    row["reference"] = old["reference"]
    row["residuals"] = old["residuals"]
    close_change(row)
    row["oldest"] = row["events"] - RESTORED_AGE


@kernel
def close_change(row: Record) -> None:
    """Close the open change of a row and discard its evidence."""
    clear_evidence(row)
    row["surcharge_notice"] += 1.0
    row["watcher"] = -1
    row["frozen"] = -1
    row["retained"] = -1


@kernel
def supersede(rows: Arena, i: int, frozen: Arena, floor: float, scratch: Floats) -> None:
    """The watcher of row i has found the next change: it replaces row i and gets a new watcher.

    The frozen reference stays that of the first change. `floor`: as for `open_change`.
    """
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
    """Number of events in the reference from before the change."""
    events: int = row["reference"]["seen"] - (row["events"] - row["change"])
    return events


@kernel
def observe(
    rows: Arena, i: int, frozen: Arena, y: float, u: float, v: float, nats_notice: float, scratch: Floats
) -> int:
    """Add one transformed value to row i, and to its open change: FIRED, RETURNED, NEXT or QUIET.

    `nats_notice`: natural log of the level, in events of this stream, at which a change is opened. `u`, `v`: uniform on
    (0, 1); `scratch`: BETS numbers.
    """
    row = rows[i]
    advance_number(row, y, u, v, scratch)
    if row["frozen"] < 0:
        return FIRED if row["log_notice"] >= nats_notice and baseline(row) >= BASELINE_NEEDED else QUIET
    row["peak_page"] = max(row["peak_page"], row["log_page"])
    old = frozen[row["frozen"]]
    watcher = rows[row["watcher"]]
    advance_number(watcher, y, u, v, scratch)
    if number_has_returned(row, old, y, u):
        return RETURNED
    if watcher["log_notice"] - WATCHER_NATS >= nats_notice and baseline(watcher) >= BASELINE_NEEDED:
        return RETURNED if matches_frozen(watcher, old, watcher["change"]) else NEXT
    return QUIET


@kernel
def step_number(
    rows: Arena, i: int, frozen: Arena, y: float, u: float, v: float, nats_notice: float, scratch: Floats
) -> int:
    """As `observe`; stores the code in the row; LEVEL when the evidence of an open change passes its milestone."""
    return report(rows[i], observe(rows, i, frozen, y, u, v, nats_notice, scratch))
