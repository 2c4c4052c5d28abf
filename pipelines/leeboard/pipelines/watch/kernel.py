"""The compiled walk of a batch: every call through every signal of its scope, until a decision is due.

State is arenas (structured arrays, one row for a detector) and tables that say which row belongs to which signal of
which scope. Entries of a batch are ordered by scope; scopes know nothing of each other, so any batching of the same
records gives the same bits. Decisions are Python's: the kernel returns after a call that needs one.
"""

import math

import numpy as np
from leeboard.detectors.core.budget import notice_nats
from leeboard.detectors.core.jit import Row, kernel
from leeboard.detectors.core.lifecycle import QUIET
from leeboard.detectors.core.special import uniform
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric import season
from leeboard.detectors.numeric.scaling import prepare_number
from leeboard.detectors.share import kernels as share
from leeboard.detectors.share.categories import step_categories
from leeboard.pipelines.signals import MAX_SCORES
from leeboard.pipelines.units import DAY_MS

from .state.channels import signal_nats
from .state.layout import (
    CHUNK,
    FIXED_CATEGORICAL,
    FIXED_NUMERIC,
    ID_CHUNK,
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
def tick(scope: Row, scope_time: int, notices_per_week: float) -> None:
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
def watch_numbers(state: State, batch: Batch, columns: Columns, e: int, scratch: Scratch) -> int:
    """Entry e through the numeric signals that it measures; the codes of what it led to."""
    # Numba copies a tuple of arrays at every call: what is called per signal gets the few arrays that it needs
    slot, event, numbers = batch.slots[e], batch.hashes[e], batch.numbers[e]
    scope, rows, frozen = state.scopes[slot], state.numeric, state.frozen
    minute = season.minute_of_week(batch.times[e])
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
        y = prepare_number(row, numbers[s], uniform(event, salt, 0), columns.logarithmic[s], columns.dithers[s])
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
        u, v = uniform(event, salt, 1), uniform(event, salt, 2)
        codes |= numeric.step_number(rows, i, frozen, y, u, v, scope["notice_nats"] + nats, scratch.bets)
    return codes


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
            notice, page = scope["notice_nats"] + nats, columns.page_nats + nats
            codes |= share.step_share(rows, i, frozen, said[s] == 1, u, notice, page, scratch.bets)
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
        u, notice, page = uniform(event, salt, 0), scope["notice_nats"], columns.page_nats
        args = (rows, places[s], frozen, shown[s], events[s], u, notice, page, nats, scratch.bets)
        codes |= step_categories(*args)
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
    """Is the hash of a call id among the ids of the scope's last calls? If not, it is remembered."""
    scope = state.scopes[slot]
    chunks = state.id_chunks[slot]
    size = chunks.size * ID_CHUNK
    known = min(scope["calls"], size)
    at = 0
    while at < known:
        kept = state.ids[chunks[at // ID_CHUNK]]
        found = False
        for k in range(min(ID_CHUNK, known - at)):
            found |= kept[k] == event
        if found:
            return True
        at += ID_CHUNK
    at = scope["calls"] % size
    state.ids[chunks[at // ID_CHUNK], at % ID_CHUNK] = event
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
