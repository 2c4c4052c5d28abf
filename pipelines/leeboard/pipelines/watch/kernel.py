"""The compiled walk of a batch: every call through every signal of its scope, until a decision is due.

State is arenas (structured arrays, one row for a detector) and tables that say which row belongs to which signal of
which scope. Entries of a batch are ordered by scope; scopes know nothing of each other, so any batching of the same
records gives the same bits. Decisions are Python's: the kernel returns after a call that needs one.
"""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.budget import notice_nats
from leeboard.detectors.core.jit import Arena, Floats, Record, kernel
from leeboard.detectors.core.lifecycle import QUIET, report
from leeboard.detectors.core.special import uniform
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric import season
from leeboard.detectors.share import kernels as categorical
from leeboard.pipelines.signals import MAX_SCORES

from .state.layout import (
    CATEGORIES,
    CHUNK,
    DAY_MS,
    EPOCH_MINUTE,
    FIXED_CATEGORICAL,
    FIXED_NUMERIC,
    ID_CHUNK,
    MS_A_MINUTE,
    NOT_MEASURED,
    RECOUNT,
    SCORE_STEPS,
    WEEK_DAYS,
    Batch,
    Columns,
    Scratch,
    State,
)
from .texts.kernel import watch_texts


@kernel
def tick(scope: Record, scope_time: int, notices_per_week: float) -> None:
    """Count one call of the scope and renew its notice level where that is due."""
    if scope["calls"] == 0:
        scope["first"] = scope_time
        scope["day"] = scope_time // DAY_MS
    scope["calls"] += 1
    scope["time"] = scope_time
    day = scope_time // DAY_MS
    moved = day != scope["day"]
    if moved:
        for d in range(max(scope["day"] + 1, day - WEEK_DAYS + 1), day + 1):
            scope["day_calls"][d % WEEK_DAYS] = 0
        scope["day"] = day
    scope["day_calls"][day % WEEK_DAYS] += 1
    if moved or scope["calls"] >= scope["recount_calls"]:
        week = 0
        for d in range(WEEK_DAYS):
            week += scope["day_calls"][d]
        scope["notice_nats"] = notice_nats(scope["calls"], np.float64(week), notices_per_week)
        scope["recount_calls"] = scope["calls"] + max(int(RECOUNT * scope["calls"]), 10)


@kernel
def join_channel(scope: Record, channel: int, weight: float, channel_weight: float) -> None:
    """A signal is measured for the first time: its channel's budget is divided among one more."""
    scope["measured"][channel] += weight
    scope["channel_nats"][channel] = math.log(scope["measured"][channel] / channel_weight)


@kernel
def signal_nats(scope: Record, channel: int, weight: float, channel_weight: float, first: bool) -> float:
    """How much higher than the scope's level a signal must reach: log of 1 / its part of the evidence budget."""
    if first:
        join_channel(scope, channel, weight, channel_weight)
    nats: float = scope["channel_nats"][channel] - math.log(weight)
    return nats


@kernel
def watch_number(
    scope: Record,
    rows: Arena,
    i: int,
    frozen: Arena,
    y: float,
    event: np.uint64,
    salt: np.uint64,
    nats: float,
    bets: Floats,
) -> int:
    """One transformed and adjusted value through numeric row i; the code of what it led to.

    `nats`: how much higher than the scope's level the signal must reach.
    """
    u, v = uniform(event, salt, 1), uniform(event, salt, 2)
    return report(rows[i], numeric.observe(rows, i, frozen, y, u, v, scope["notice_nats"] + nats, bets))


@kernel
def watch_numbers(state: State, batch: Batch, columns: Columns, e: int, scratch: Scratch) -> int:
    """Entry e through the numeric signals that it measures; the codes of what it led to."""
    # Numba copies a tuple of arrays at every call: what is called per signal gets the few arrays that it needs
    slot, event, numbers = batch.slots[e], batch.hashes[e], batch.numbers[e]
    scope, rows, frozen = state.scopes[slot], state.numeric, state.frozen
    minute = (batch.times[e] // MS_A_MINUTE + EPOCH_MINUTE) % season.MINUTES_A_WEEK
    known, features, gain = scratch.covariates, scratch.features, scratch.gain
    codes = QUIET
    for s in range(numbers.size):
        if math.isnan(numbers[s]):
            continue
        i = state.numeric_rows[slot, s]
        row = rows[i]
        channel, weight = columns.numeric_channels[s], columns.numeric_weights[s]
        nats = signal_nats(scope, channel, weight, columns.channel_weights[channel], row["events"] == 0)
        numeric.set_levels(row, scope["notice_nats"] + nats, columns.page_nats + nats)
        salt = columns.numeric_salts[s] if s < FIXED_NUMERIC else batch.salts[e, s - FIXED_NUMERIC]
        y = numeric.prepare(row, numbers[s], uniform(event, salt, 0), columns.logarithmic[s], columns.dithers[s])
        r = state.regression_rows[slot, s]
        if r >= 0:
            hold = row["frozen"] >= 0
            if columns.given[s]:
                for c in range(season.COVARIATES):
                    known[c] = math.log1p(np.float64(batch.tokens[e, c]))
                y, moved = season.adjust(state.givens[r], y, minute, known, hold, features, gain)
            else:
                y, moved = season.adjust(state.clocks[r], y, minute, known, hold, features, gain)
            if moved:
                numeric.restart_references(row)
        codes |= watch_number(scope, rows, i, frozen, y, event, salt, nats, scratch.bets)
    return codes


@kernel
def watch_share(
    scope: Record,
    rows: Arena,
    i: int,
    frozen: Arena,
    hit: bool,
    u: float,
    nats: float,
    page_nats: float,
    bets: Floats,
) -> int:
    """One yes or no through share row i; the code of what it led to."""
    row = rows[i]
    notice = scope["notice_nats"] + nats
    categorical.set_share_levels(row, notice, page_nats + nats)
    return report(row, categorical.observe_share(rows, i, frozen, hit, u, notice, bets))


@kernel
def watch_binaries(state: State, batch: Batch, columns: Columns, e: int, scratch: Scratch) -> int:
    """Entry e through the yes/no signals that it measures; the codes of what it led to."""
    slot, event, said = batch.slots[e], batch.hashes[e], batch.binaries[e]
    scope, rows, frozen = state.scopes[slot], state.shares, state.frozen_shares
    events = state.binary_events[slot]
    codes = QUIET
    for s in range(said.size):
        if said[s] < 0:
            continue
        events[s] += 1
        i = state.binary_rows[slot, s]
        channel, weight = columns.binary_channels[s], columns.binary_weights[s]
        nats = signal_nats(scope, channel, weight, columns.channel_weights[channel], events[s] == 1)
        if i >= 0:  # it has not always said the same
            u = uniform(event, columns.binary_salts[s], 0)
            codes |= watch_share(scope, rows, i, frozen, said[s] == 1, u, nats, columns.page_nats, scratch.bets)
    return codes


@kernel
def watch_categories(
    scope: Record,
    rows: Arena,
    places: npt.NDArray[np.int32],
    frozen: Arena,
    code: int,
    events: int,
    u: float,
    nats: float,
    page_nats: float,
    bets: Floats,
) -> int:
    """Category `code` against all others, for every category of a signal that has shown more than one.

    `places`: row of every category, -1 for none; `events`: of the signal, before this one.
    """
    known = 0
    for k in range(CATEGORIES):
        if places[k] >= 0:
            known += 1
    if known == 0:
        return QUIET
    nats += math.log(np.float64(known))
    codes = QUIET
    for k in range(CATEGORIES):
        i = places[k]
        if i < 0:
            continue
        if rows[i]["wealth"]["nats_notice"] == 0.0:
            if code == k:  # first seen: counted, not bet on
                categorical.open_share(rows[i], events, False, scope["notice_nats"] + nats, page_nats + nats)
                categorical.count_share(rows[i], True)
            continue
        codes |= watch_share(scope, rows, i, frozen, code == k, u, nats, page_nats, bets)
    return codes


@kernel
def watch_labels(state: State, batch: Batch, columns: Columns, e: int, scratch: Scratch) -> int:
    """Entry e through the categorical signals that it measures; the codes of what it led to."""
    slot, event, shown = batch.slots[e], batch.hashes[e], batch.codes[e]
    scope, rows, frozen = state.scopes[slot], state.shares, state.frozen_shares
    events, places = state.category_events[slot], state.category_rows[slot]
    codes = QUIET
    for s in range(shown.size):
        if shown[s] < 0:
            continue
        channel, weight = columns.categorical_channels[s], columns.categorical_weights[s]
        nats = signal_nats(scope, channel, weight, columns.channel_weights[channel], events[s] == 0)
        salt = columns.categorical_salts[s]
        if s >= FIXED_CATEGORICAL:
            salt = batch.salts[e, MAX_SCORES + s - FIXED_CATEGORICAL]
        u, page = uniform(event, salt, 0), columns.page_nats
        codes |= watch_categories(scope, rows, places[s], frozen, shown[s], events[s], u, nats, page, scratch.bets)
        events[s] += 1
    return codes


@kernel
def remember(state: State, batch: Batch, e: int) -> None:
    """Write entry e into the ring of recent calls of its scope."""
    slot = batch.slots[e]
    scope = state.scopes[slot]
    chunks = state.ring_chunks[slot]
    place = (scope["calls"] - 1) % (chunks.size * CHUNK)
    recent = state.ring[chunks[place // CHUNK], place % CHUNK]
    recent["time"] = (batch.scope_times[e] - scope["first"]) // 1000
    recent["labels"] = batch.labels[e]
    recent["flags"] = batch.flags[e]
    recent["texts"] = batch.texts.measured[e]
    for s in range(FIXED_NUMERIC):
        score = NOT_MEASURED
        if not math.isnan(batch.numbers[e, s]):
            score = math.floor(state.numeric[state.numeric_rows[slot, s]]["score"] * SCORE_STEPS + 0.5)
        recent["scores"][s] = score


@kernel
def is_repeated(state: State, slot: int, event: np.uint64) -> bool:
    """Is the hash of a call id among the scope's last ids? If not, it is remembered."""
    scope = state.scopes[slot]
    chunks = state.id_chunks[slot]
    size = chunks.size * ID_CHUNK
    known = min(scope["ids"], size)
    at = 0
    while at < known:
        kept = state.ids[chunks[at // ID_CHUNK]]
        found = False
        for k in range(min(ID_CHUNK, known - at)):
            found |= kept[k] == event
        if found:
            return True
        at += ID_CHUNK
    place = scope["ids"] % size
    state.ids[chunks[place // ID_CHUNK], place % ID_CHUNK] = event
    scope["ids"] += 1
    return False


@kernel
def watch_entry(state: State, batch: Batch, columns: Columns, e: int, scratch: Scratch) -> bool:
    """One call (or later score) through every signal that it measures; true if Python has to decide something."""
    slot = batch.slots[e]
    scope = state.scopes[slot]
    if batch.is_call[e]:
        if is_repeated(state, slot, batch.hashes[e]):
            scope["repeated"] += 1
            batch.repeated[e] = True
            return False
        tick(scope, batch.scope_times[e], columns.notices_per_week)
    codes = watch_numbers(state, batch, columns, e, scratch)
    codes |= watch_binaries(state, batch, columns, e, scratch)
    codes |= watch_labels(state, batch, columns, e, scratch)
    if batch.texts.measured[e] != 0:
        event, most = batch.hashes[e], columns.page_nats
        codes |= watch_texts(scope, slot, state.texts, batch.texts, columns.texts, e, event, most, scratch.texts)
    if batch.is_call[e]:
        remember(state, batch, e)
    due = scope["calls"] >= scope["next_check_call"] or scope["time"] >= scope["latest_check_time"]
    due = due or (scope["time"] >= scope["summary_check_time"] and scope["calls"] >= scope["summary_check_call"])
    return codes != QUIET or due or batch.alarms[e]


@kernel
def watch(state: State, batch: Batch, columns: Columns, first: int, scratch: Scratch) -> tuple[int, bool]:
    """Walk through the entries from `first` on.

    Stops before an entry that Python has to prepare, and after one that Python has to decide on. Returns the next
    entry, and whether the one before it asks for a decision.
    """
    n = batch.slots.size
    for e in range(first, n):
        if e > first and batch.stops[e]:
            return e, False
        if watch_entry(state, batch, columns, e, scratch):
            return e + 1, True
    return n, False
