"""The five signals of the texts of one scope: what each looks at, one call through all of them, and starting afresh.

Python decides what happens when a signal fires, returns or moves again, as for numeric signals; here is what it calls.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Arena, Floats, Record, Salts, kernel
from leeboard.detectors.core.lifecycle import QUIET, report
from leeboard.detectors.vector.change import frozen_direction_dtype, observe_direction, restart_direction
from leeboard.detectors.vector.drift import direction_dtype, set_direction_levels
from leeboard.detectors.vector.features import (
    features_dtype,
    frozen_features_dtype,
    observe_features,
    restart_features,
    set_features_levels,
)
from leeboard.detectors.vector.store import FIT_EVENTS, GIVENS, RESIDUALS, VECTORS, oldest, seen, vector_of

from .counts import restart_side
from .rows import (
    DIMENSIONS,
    FEATURES,
    INPUT_FEATURES,
    INPUT_ROW,
    OUTPUT_FEATURES,
    OUTPUT_ROW,
    PAIR_ROW,
    Rows,
    TextBatch,
    take_texts,
)

#: the signals, in the order of `codes` and `nats`
SIGNALS = ("output_features", "output_style", "output_given_input", "input_features", "input_content")
OUTPUT_PARTS, STYLE, CONDITIONAL, INPUT_PARTS, CONTENT = range(len(SIGNALS))
#: the learned directions among them: what each looks at, and the bit of `take_texts` that says whether it has an event
DIRECTIONS = (STYLE, CONDITIONAL, CONTENT)
KINDS = np.array([VECTORS, RESIDUALS, GIVENS])
FINISHED = np.array([OUTPUT_ROW, PAIR_ROW, INPUT_ROW])
#: a scope's rows of PARTS are taken before its call with this number, its SPACE and rows of DIRECTION before that one:
#: nothing can use them earlier, and most scopes of a fleet never get there
PARTS_CALL, SPACE_CALL = 101, FIT_EVENTS
#: the order in which a scope begins with its signals
STARTING = (OUTPUT_PARTS, STYLE, INPUT_PARTS, CONTENT, CONDITIONAL)
#: a quantiser is degenerate when fewer than this share of the coordinates that varied still do
DEGENERATE_BELOW = 0.75
#: newest rows that are looked at for that
DEGENERATE_EVENTS = 100

DIRECTION = direction_dtype(DIMENSIONS, DIMENSIONS)
FROZEN_DIRECTION = frozen_direction_dtype(DIMENSIONS, DIMENSIONS)
PARTS = features_dtype(FEATURES)
FROZEN_PARTS = frozen_features_dtype(FEATURES)


def has_enough(column: int, outputs: int, inputs: int) -> bool:
    """Are so many outputs and inputs of a scope enough for a signal to begin?"""
    texts = {OUTPUT_PARTS: outputs, STYLE: outputs, INPUT_PARTS: inputs, CONTENT: inputs}
    return texts.get(column, min(outputs, inputs)) >= (FIT_EVENTS if column in DIRECTIONS else PARTS_CALL)


class TextArenas(NamedTuple):
    """Where the state of all scopes lies."""

    texts: Arena  # TEXT
    stores: Arena  # SPACE
    young: Arena  # YOUNG
    directions: Arena  # DIRECTION
    frozen_directions: Arena
    parts: Arena  # PARTS
    frozen_parts: Arena


class TextColumns(NamedTuple):
    """Constants of the signals: `hash64` of their names, and for features of `signal.feature number`."""

    output_salts: Salts  # (FEATURES,)
    input_salts: Salts
    direction_salts: Salts  # (3,), see DIRECTIONS


class TextScratch(NamedTuple):
    """Space that the kernels write over."""

    values: Floats  # (FEATURES,)
    bets: Floats  # betting.BETS or vector.ALL_BETS, the larger one


@kernel
def observe_text(
    arenas: TextArenas,
    rows: Rows,
    chunks: Rows,
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
    """Entry e, call number `call` (from 1) of its scope, through the five signals; all codes in one.

    `rows`: (7,) of the scope: TEXT, SPACE, then those of SIGNALS, -1 where it has none, yet (see PARTS_CALL) or because
    the signal is switched off; `chunks`: of YOUNG (see `chunks_needed`). `event`: hash of the call. `nats` and
    `page_nats`: (5,) logs of the levels for notice and page, in events of a signal. `codes`: (5,), written: FIRED,
    RETURNED, NEXT, LEVEL or QUIET.
    """
    codes[:] = QUIET
    i = rows[1]
    usable, finished = take_texts(arenas.texts[rows[0]], arenas.stores, i, arenas.young, chunks, call, batch, e)
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
        if i < 0 or finished & FINISHED[d] == 0:
            continue
        row, old, space = arenas.directions[i], arenas.frozen_directions, arenas.stores[rows[1]]
        set_direction_levels(row, nats[s], page_nats[s])
        salt = columns.direction_salts[d]
        arguments = (arenas.directions, i, old, space, KINDS[d], event, salt, nats[s], scratch.bets)
        codes[s] = report(row, observe_direction(*arguments))
    joint = QUIET
    for s in range(len(SIGNALS)):
        joint |= codes[s]
    return joint


@kernel
def is_degenerate(space: Record, kind: int, since: int) -> bool:
    """Do many coordinates no longer vary among the rows since event `since`, as when answers changed their language?

    To be asked when a new level is accepted; then outputs (VECTORS) or inputs (GIVENS) should start afresh.
    """
    quantiser = space["quantiser"] if kind == VECTORS else space["given_quantiser"]
    last = seen(space, kind)
    first = max(since, oldest(space, kind), last - DEGENERATE_EVENTS)
    n = last - first
    if n < DEGENERATE_EVENTS // 2:
        return False
    counts = np.zeros(256, np.int64)
    varying = 0
    for j in range(DIMENSIONS):
        counts[:] = 0
        most = 0
        for event in range(first, last):
            place = np.int64(vector_of(space, kind, event)[j]) + 128
            counts[place] += 1
            most = max(most, counts[place])
        varying += 1 if 20 * most < 19 * n else 0
    degenerate_side: bool = varying < DEGENERATE_BELOW * quantiser["varying"]
    return degenerate_side


@kernel
def restart_outputs(arenas: TextArenas, rows: Rows, chunks: Rows, call: int, features: bool) -> None:
    """Outputs are counted differently from now on, or their quantiser is degenerate: their side starts afresh, pairs with it.

    `chunks`: of YOUNG, -1 for none; `call`: number of the next call; `features`: do the features mean something else,
    too? Open changes of these signals end without a word: their watchers and frozen references are the owner's to take back,
    before.
    """
    text = arenas.texts[rows[0]]
    text["restarted"] = call
    text["young_outputs"] = 0
    restart_side(text["outputs"])
    for k in range(chunks.size):
        if chunks[k] >= 0:
            forget_outputs(arenas.young[chunks[k]])
    if rows[1] >= 0:
        space = arenas.stores[rows[1]]
        space["ring"]["events"] = 0
        space["quantiser"]["fitted"] = 0
        space["paired"] = 0
    restart_signal(arenas, rows, STYLE)
    restart_signal(arenas, rows, CONDITIONAL)
    if features:
        restart_signal(arenas, rows, OUTPUT_PARTS)


@kernel
def restart_inputs(arenas: TextArenas, rows: Rows, chunks: Rows, call: int, features: bool, vectors: bool) -> None:
    """The same for inputs, also when another embedder makes their vectors; `vectors`: do they have any from now on?"""
    text = arenas.texts[rows[0]]
    text["restarted"] = call
    text["young_inputs"] = 0
    text["vectors"] = 1 if vectors else 0
    restart_side(text["inputs"])
    for k in range(chunks.size):
        if chunks[k] >= 0:
            forget_inputs(arenas.young[chunks[k]])
    if rows[1] >= 0:
        space = arenas.stores[rows[1]]
        space["ring"]["partners"][:] = -1
        space["given"]["events"] = 0
        space["given_quantiser"]["fitted"] = 0
        space["paired"] = 0
    restart_signal(arenas, rows, CONTENT)
    restart_signal(arenas, rows, CONDITIONAL)
    if features:
        restart_signal(arenas, rows, INPUT_PARTS)


@kernel
def forget_outputs(chunk: Record) -> None:
    """Make the outputs of a chunk of YOUNG as they were when it was new."""
    chunk["features"][:] = 0.0
    chunk["style"][:] = 0
    chunk["tokens"][:] = 0
    chunk["calls"][:] = 0
    chunk["partners"][:] = 0


@kernel
def forget_inputs(chunk: Record) -> None:
    """The same for its inputs; outputs that are there are no halves of pairs any more."""
    chunk["input_features"][:] = 0.0
    chunk["vectors"][:] = 0
    chunk["scales"][:] = 0.0
    chunk["input_calls"][:] = 0
    for k in range(chunk["partners"].size):
        if chunk["calls"][k] > 0:
            chunk["partners"][k] = -1


@kernel
def restart_signal(arenas: TextArenas, rows: Rows, s: int) -> None:
    """A new baseline for signal s, where the scope has it."""
    i = rows[2 + s]
    if i >= 0 and s in (OUTPUT_PARTS, INPUT_PARTS):
        restart_features(arenas.parts[i])
    elif i >= 0:
        restart_direction(arenas.directions[i])
