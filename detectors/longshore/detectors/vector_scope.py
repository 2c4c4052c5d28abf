"""The five signals of the texts of one scope: what each looks at, one call through all of them, and starting afresh.

Python decides what happens when a signal fires, returns or moves again, as for numeric signals; here is what it calls.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import ranks
from .betting import clear_stakes
from .jit import Arena, Floats, Record, Salts, kernel
from .lifecycle import QUIET
from .numeric import restart_references
from .vector import direction_dtype, open_direction, set_direction_levels
from .vector_change import observe_direction, yardstick_dtype
from .vector_features import (
    JUDGED_EVENTS,
    features_dtype,
    features_yardstick_dtype,
    observe_features,
    set_features_levels,
)
from .vector_space import GIVENS, RESIDUALS, VECTORS, oldest, seen, vector_of
from .vector_text import (
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
GROWN = np.array([OUTPUT_ROW, PAIR_ROW, INPUT_ROW])
#: a coder is worn when fewer than this share of the coordinates that varied still do
WORN_BELOW = 0.75
#: newest rows that are looked at for that
WORN_EVENTS = 100

DIRECTION = direction_dtype(DIMENSIONS, DIMENSIONS)
DIRECTION_YARDSTICK = yardstick_dtype(DIMENSIONS, DIMENSIONS)
PARTS = features_dtype(FEATURES)
PARTS_YARDSTICK = features_yardstick_dtype(FEATURES)


class TextArenas(NamedTuple):
    """Where the state of all scopes lies."""

    texts: Arena  # TEXT
    young: Arena  # YOUNG
    directions: Arena  # DIRECTION
    direction_yardsticks: Arena
    parts: Arena  # PARTS
    parts_yardsticks: Arena


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
    """Entry e, call number `call` of its scope, through the five signals; all codes in one.

    `rows`: (6,) of the scope: TEXT, then those of SIGNALS, -1 for one that is switched off; `chunks`: of YOUNG.
    `event`: hash of the call. `nats`, `page_nats`: (5,) logs of the levels for notice and page, in events of a signal.
    `codes`: (5,), written: FIRED, RETURNED, NEXT or QUIET.
    """
    codes[:] = QUIET
    usable, grown = take_texts(arenas.texts[rows[0]], arenas.young, chunks, call, batch, e)
    for s in (OUTPUT_PARTS, INPUT_PARTS):
        i = rows[1 + s]
        features, salts, needed = batch.output_features[e], columns.output_salts, OUTPUT_FEATURES
        if s == INPUT_PARTS:
            features, salts, needed = batch.input_features[e], columns.input_salts, INPUT_FEATURES
        if i < 0 or usable & needed == 0:
            continue
        set_features_levels(arenas.parts[i], nats[s], page_nats[s])
        codes[s] = observe_features(
            arenas.parts, i, arenas.parts_yardsticks, features, event, salts, nats[s], scratch.values, scratch.bets
        )
    space = arenas.texts[rows[0]]["space"]
    for d in range(len(DIRECTIONS)):
        s = DIRECTIONS[d]
        i = rows[1 + s]
        if i < 0 or grown & GROWN[d] == 0:
            continue
        set_direction_levels(arenas.directions[i], nats[s], page_nats[s])
        codes[s] = observe_direction(
            arenas.directions,
            i,
            arenas.direction_yardsticks,
            space,
            KINDS[d],
            event,
            columns.direction_salts[d],
            nats[s],
            scratch.bets,
        )
    joint = QUIET
    for s in range(len(SIGNALS)):
        joint |= codes[s]
    return joint


@kernel
def is_worn(text: Record, kind: int, since: int) -> bool:
    """Do many coordinates no longer vary among the rows since event `since`, as when answers changed their language?

    To be asked when a new level is accepted; then outputs (VECTORS) or inputs (GIVENS) should start afresh.
    """
    space = text["space"]
    coder = space["coder"] if kind == VECTORS else space["given_coder"]
    last = seen(space, kind)
    first = max(since, oldest(space, kind), last - WORN_EVENTS)
    n = last - first
    if n < WORN_EVENTS // 2:
        return False
    counts = np.zeros(256, np.int64)
    alive = 0
    for j in range(DIMENSIONS):
        counts[:] = 0
        most = 0
        for event in range(first, last):
            place = np.int64(vector_of(space, kind, event)[j]) + 128
            counts[place] += 1
            most = max(most, counts[place])
        alive += 1 if 20 * most < 19 * n else 0
    worn: bool = alive < WORN_BELOW * coder["alive"]
    return worn


@kernel
def restart_outputs(text: Record) -> None:
    """Outputs are counted differently from now on, or the coder is worn: their side starts afresh, pairs with it.

    The rows of STYLE and CONDITIONAL need `restart_direction`, that of OUTPUT_PARTS `restart_parts` where the features
    mean something else; changes that are open in them end without a word.
    """
    space = text["space"]
    space["ring"]["events"] = 0
    space["coder"]["fitted"] = 0
    space["paired"] = 0
    text["young_outputs"] = 0
    restart_side(text["outputs"])


@kernel
def restart_inputs(text: Record, vectors: bool) -> None:
    """Inputs are measured differently from now on (another embedder, say): their side starts afresh, pairs with it.

    `vectors`: do inputs have vectors? The rows of CONTENT and CONDITIONAL need `restart_direction`.
    """
    space = text["space"]
    space["given"]["events"] = 0
    space["given_coder"]["fitted"] = 0
    space["paired"] = 0
    text["young_inputs"] = 0
    text["vectors"] = 1 if vectors else 0
    restart_side(text["inputs"])


@kernel
def restart_side(side: Record) -> None:
    """Forget the counts of a side."""
    side["events"] = 0
    side["marked"] = 0
    for tally in (side["older"], side["before"]):
        tally["texts"] = 0.0
        tally["sums"][:] = 0.0
        tally["squares"][:] = 0.0
        tally["users"][:] = 0.0
    for b in range(side["blocks"].size):
        side["blocks"][b]["texts"] = 0
        side["blocks"][b]["sums"][:] = 0.0
        side["blocks"][b]["squares"][:] = 0.0
        side["blocks"][b]["users"][:] = 0


@kernel
def restart_direction(row: Record) -> None:
    """A new baseline from the first event of a new ring; what excursions are usual is not forgotten."""
    clear_stakes(row["stakes"])
    row["events"] = 0
    row["away"][0] = 0
    row["away"][1] = 0
    row["surcharge_notice"] = 0.0
    row["surcharge_page"] = 0.0
    for w in range(row["aims"].size):
        aim = row["aims"][w]
        aim["compared"] = 0
        aim["scored"] = 0
        ranks.clear(aim["reference"])
    open_direction(row, 0, row["stakes"]["nats_notice"], row["stakes"]["nats_page"])


@kernel
def restart_parts(row: Record) -> None:
    """Features mean something else from now on: their references start afresh."""
    row["judged"] = row["events"] + JUDGED_EVENTS
    row["watcher"] = -1
    row["yardstick"] = -1
    row["anchor"] = -1
    row["log_notice"] = -np.inf
    row["log_page"] = -np.inf
    for k in range(row["parts"].size):
        restart_references(row["parts"][k])
        row["parts"][k]["unit"] = 0.0
