"""The five signals of a scope's texts: what each one watches, one call through all of them, and restarts.

As for numeric signals, these kernels report what a signal found, and Python decides what happens then.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Arena, Floats, Record, Salts, kernel
from leeboard.detectors.core.lifecycle import QUIET, report
from leeboard.detectors.vector.change import observe_direction, restart_direction
from leeboard.detectors.vector.drift import set_direction_levels
from leeboard.detectors.vector.features import (
    observe_features,
    restart_features,
    set_features_levels,
)
from leeboard.detectors.vector.store import CONDITIONING, FIT_EVENTS, RESIDUALS, VECTORS, oldest, seen, vector_of
from leeboard.pipelines.signals import TEXT_SIGNALS

from .counts import restart_side
from .rows import (
    DIMENSIONS,
    INPUT_FEATURES,
    INPUT_ROW,
    OUTPUT_FEATURES,
    OUTPUT_ROW,
    PAIR_ROW,
    RowNumbers,
    TextBatch,
    add_texts,
)

#: the signals, in the order of `codes` and `nats`
SIGNALS = ("output_features", "output_style", "output_given_input", "input_features", "input_content")
assert SIGNALS == TEXT_SIGNALS, "the names and their order are those of the catalogue"
OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL, INPUT_PARTS, CONTENT = range(len(SIGNALS))
#: the learned directions among them: which vectors each one watches, and the bit of `add_texts` for an event of it
DIRECTIONS = (STYLE_COLUMN, CONDITIONAL, CONTENT)
KINDS = np.array([VECTORS, RESIDUALS, CONDITIONING])
ADDED = np.array([OUTPUT_ROW, PAIR_ROW, INPUT_ROW])
#: number of the text of a side before which a scope gets its rows of features. The evidence of features does not count
#: earlier, and most scopes of a fleet have fewer calls. Store and directions come before text number FIT_EVENTS
PARTS_CALL = 101
assert PARTS_CALL <= FIT_EVENTS
#: the order in which a scope begins with its signals
STARTING = (OUTPUT_PARTS, STYLE_COLUMN, INPUT_PARTS, CONTENT, CONDITIONAL)
#: a quantiser is degenerate when less than this share of the coordinates that varied at its fit still vary
DEGENERATE_BELOW = 0.75
#: newest rows in which coordinates must vary
DEGENERATE_EVENTS = 100


def has_enough(column: int, outputs: int, inputs: int) -> bool:
    """Are so many outputs and inputs of a scope enough for a signal to begin?"""
    texts = {OUTPUT_PARTS: outputs, STYLE_COLUMN: outputs, INPUT_PARTS: inputs, CONTENT: inputs}
    return texts.get(column, min(outputs, inputs)) >= (FIT_EVENTS if column in DIRECTIONS else PARTS_CALL)


class TextArenas(NamedTuple):
    """Arenas of the state of all scopes, by the dtype of their rows."""

    texts: Arena  # TEXT_STATE
    stores: Arena  # STORE
    warm_up: Arena  # WARM_UP
    directions: Arena  # direction_dtype(DIMENSIONS, DIMENSIONS)
    frozen_directions: Arena
    parts: Arena  # features_dtype(TEXT_FEATURES)
    frozen_parts: Arena


class TextColumns(NamedTuple):
    """Salts of the signals: `hash64` of their names, and for features of `<signal>.<feature number>`."""

    output_salts: Salts  # (TEXT_FEATURES,)
    input_salts: Salts
    direction_salts: Salts  # (3,), see DIRECTIONS


class TextScratch(NamedTuple):
    """Scratch space of the kernels."""

    values: Floats  # (TEXT_FEATURES,)
    bets: Floats  # betting.BETS or drift.ALL_BETS, whichever is larger


@kernel
def observe_text(
    arenas: TextArenas,
    rows: RowNumbers,
    chunks: RowNumbers,
    call: int,
    batch: TextBatch,
    e: int,
    event: np.uint64,
    columns: TextColumns,
    nats: Floats,
    page_nats: Floats,
    codes: npt.NDArray[np.int64],
    scratch: TextScratch,
) -> int:
    """Entry e of a batch, call number `call` (from 1) of its scope, through the five signals; returns all codes or-ed.

    `rows` (7,): row numbers of the scope's TEXT_STATE, STORE and SIGNALS, -1 where it has none: not yet (see
    PARTS_CALL), or because the signal is switched off. `chunks`: its rows of WARM_UP (see `chunks_needed`). `event`:
    hash of the call. `nats`, `page_nats` (5,): natural logs of the notice and page levels, in events of a signal.
    `codes` (5,), written: FIRED, RETURNED, NEXT, LEVEL or QUIET.
    """
    codes[:] = QUIET
    i = rows[1]
    usable, added = add_texts(arenas.texts[rows[0]], arenas.stores, i, arenas.warm_up, chunks, call, batch, e)
    for s in (OUTPUT_PARTS, INPUT_PARTS):
        i = rows[2 + s]
        features, salts, needed = batch.output_features[e], columns.output_salts, OUTPUT_FEATURES
        if s == INPUT_PARTS:
            features, salts, needed = batch.input_features[e], columns.input_salts, INPUT_FEATURES
        if i < 0 or usable & needed == 0:
            continue
        row, old = arenas.parts[i], arenas.frozen_parts
        set_features_levels(row, nats[s], page_nats[s])
        args = (arenas.parts, i, old, features, event, salts, nats[s], scratch.values, scratch.bets)
        codes[s] = report(row, observe_features(*args))
    for d in range(len(DIRECTIONS)):
        s = DIRECTIONS[d]
        i = rows[2 + s]
        if i < 0 or added & ADDED[d] == 0:
            continue
        row, old, store = arenas.directions[i], arenas.frozen_directions, arenas.stores[rows[1]]
        set_direction_levels(row, nats[s], page_nats[s])
        salt = columns.direction_salts[d]
        arguments = (arenas.directions, i, old, store, KINDS[d], event, salt, nats[s], scratch.bets)
        codes[s] = report(row, observe_direction(*arguments))
    joint = QUIET
    for s in range(len(SIGNALS)):
        joint |= codes[s]
    return joint


@kernel
def is_degenerate(store: Record, kind: int, since: int) -> bool:
    """Is the quantiser degenerate: do many coordinates no longer vary since event `since`, as in another language?

    To be asked when a new level is accepted; outputs (VECTORS) or inputs (CONDITIONING) should then be restarted.
    """
    quantiser = store["quantiser"] if kind == VECTORS else store["conditioning_quantiser"]
    last = seen(store, kind)
    first = max(since, oldest(store, kind), last - DEGENERATE_EVENTS)
    n = last - first
    if n < DEGENERATE_EVENTS // 2:
        return False
    counts = np.zeros(256, np.int64)
    varying = 0
    for j in range(DIMENSIONS):
        counts[:] = 0
        most = 0
        for event in range(first, last):
            value = np.int64(vector_of(store, kind, event)[j]) + 128
            counts[value] += 1
            most = max(most, counts[value])
        varying += 1 if 20 * most < 19 * n else 0
    degenerate: bool = varying < DEGENERATE_BELOW * quantiser["varying"]
    return degenerate


@kernel
def restart_outputs(arenas: TextArenas, rows: RowNumbers, chunks: RowNumbers, call: int, features: bool) -> None:
    """Restart outputs and pairs: outputs are measured differently from now on, or their quantiser is degenerate.

    `chunks`: rows of WARM_UP, -1 for none; `call`: number of the next call; `features`: do the features mean something
    else, too? Open changes of these signals end unreported; the owner frees their watchers and frozen references
    before.
    """
    text = arenas.texts[rows[0]]
    text["restarted"] = call
    text["warm_up_outputs"] = 0
    restart_side(text["outputs"])
    for k in range(chunks.size):
        if chunks[k] >= 0:
            forget_outputs(arenas.warm_up[chunks[k]])
    if rows[1] >= 0:
        store = arenas.stores[rows[1]]
        store["ring"]["events"] = 0
        store["quantiser"]["fitted"] = 0
        store["paired"] = 0
    restart_signal(arenas, rows, STYLE_COLUMN)
    restart_signal(arenas, rows, CONDITIONAL)
    if features:
        restart_signal(arenas, rows, OUTPUT_PARTS)


@kernel
def restart_inputs(
    arenas: TextArenas, rows: RowNumbers, chunks: RowNumbers, call: int, features: bool, vectors: bool
) -> None:
    """As `restart_outputs` for inputs, also when another embedder makes their vectors; `vectors`: do they have any?"""
    text = arenas.texts[rows[0]]
    text["restarted"] = call
    text["warm_up_inputs"] = 0
    text["vectors"] = 1 if vectors else 0
    restart_side(text["inputs"])
    for k in range(chunks.size):
        if chunks[k] >= 0:
            forget_inputs(arenas.warm_up[chunks[k]])
    if rows[1] >= 0:
        store = arenas.stores[rows[1]]
        store["ring"]["partners"][:] = -1
        store["conditioning"]["events"] = 0
        store["conditioning_quantiser"]["fitted"] = 0
        store["paired"] = 0
    restart_signal(arenas, rows, CONTENT)
    restart_signal(arenas, rows, CONDITIONAL)
    if features:
        restart_signal(arenas, rows, INPUT_PARTS)


@kernel
def forget_outputs(chunk: Record) -> None:
    """Clear the outputs of a warm-up chunk."""
    chunk["features"][:] = 0.0
    chunk["style"][:] = 0
    chunk["tokens"][:] = 0
    chunk["calls"][:] = 0
    chunk["partners"][:] = 0


@kernel
def forget_inputs(chunk: Record) -> None:
    """Clear the inputs of a warm-up chunk; its outputs have no conditioning vector any more."""
    chunk["input_features"][:] = 0.0
    chunk["vectors"][:] = 0
    chunk["scales"][:] = 0.0
    chunk["input_calls"][:] = 0
    for k in range(chunk["partners"].size):
        if chunk["calls"][k] > 0:
            chunk["partners"][k] = -1


@kernel
def restart_signal(arenas: TextArenas, rows: RowNumbers, s: int) -> None:
    """Start a new baseline of signal s, where the scope has it."""
    i = rows[2 + s]
    if i >= 0 and s in (OUTPUT_PARTS, INPUT_PARTS):
        restart_features(arenas.parts[i])
    elif i >= 0:
        restart_direction(arenas.directions[i])
