"""What a text is to the detectors: features, counts over a fixed vocabulary, a vector; from calls to coded rows.

Outputs become rows of 82 codes: 18 features and the square roots of the shares of 64 tokens, those that most of the
first 300 outputs used. Inputs become rows of 82: 18 features and the first 64 columns of the vector. Until a side has
shown 300 texts they wait as they came, in chunks; then its quantiser is fitted, and they are its first rows. So a scope
needs no rings (SPACE) before its call number 300, and no chunks (YOUNG) after both sides have finished warm-up.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.algebra import Bytes, Codes, Weights
from leeboard.detectors.core.jit import Arena, Floats32, Integers, Record, kernel
from leeboard.detectors.vector.direction import READABLE
from leeboard.detectors.vector.features import is_finite
from leeboard.detectors.vector.store import (
    FIT_EVENTS,
    code,
    fit_coordinate,
    next_row,
    pair_all,
    pair_newest,
    store_dtype,
)

from .counts import count_text, side_dtype

#: what is measured of a text: features, entries of the style vocabulary
FEATURES, STYLE = 18, 256
#: entries of the vocabulary, and columns of a vector, that become coordinates
TOKENS, COLUMNS = 64, 64
DIMENSIONS = FEATURES + TOKENS
assert DIMENSIONS == FEATURES + COLUMNS
assert FEATURES == READABLE
#: texts of a chunk, and chunks of a scope while it is young
WARM_UP_TEXTS = 50
WARM_UP_CHUNKS = FIT_EVENTS // WARM_UP_TEXTS
#: what was measured of a call: bits of `TextBatch.measured`
OUTPUT_FEATURES, OUTPUT_STYLE, INPUT_FEATURES, INPUT_STYLE, INPUT_VECTOR = 1, 2, 4, 8, 16
#: which rings took in a row (bits)
OUTPUT_ROW, INPUT_ROW, PAIR_ROW = 1, 2, 4

TEXT = np.dtype(
    [
        ("tokens", "i2", TOKENS),  # entries of the vocabulary that are coordinates
        ("young_outputs", "i4"),
        ("young_inputs", "i4"),
        ("vectors", "i8"),  # 1 where inputs have vectors
        ("refused", "i8"),  # sides of calls with a number that is not finite
        ("restarted", "i8"),  # number of the first call after a side has started afresh: all else may have changed then
        ("outputs", side_dtype(FEATURES, STYLE)),
        ("inputs", side_dtype(FEATURES, STYLE)),
    ],
    align=True,
)

#: vectors are outputs; what they are given is inputs
STORE = store_dtype(DIMENSIONS, DIMENSIONS)

WARM_UP = np.dtype(
    [
        ("features", "f4", (WARM_UP_TEXTS, FEATURES)),
        ("style", "u1", (WARM_UP_TEXTS, STYLE)),
        ("tokens", "i4", WARM_UP_TEXTS),
        ("calls", "i4", WARM_UP_TEXTS),  # numbers of their calls, 0: no text yet
        ("partners", "i4", WARM_UP_TEXTS),
        ("input_features", "f4", (WARM_UP_TEXTS, FEATURES)),
        ("vectors", "i1", (WARM_UP_TEXTS, COLUMNS)),
        ("scales", "f4", WARM_UP_TEXTS),
        ("input_calls", "i4", WARM_UP_TEXTS),
    ],
    align=True,
)

#: row numbers of an arena
Rows: TypeAlias = npt.NDArray[np.int32]


class TextBatch(NamedTuple):
    """Measures of the texts of calls, one row a call; where a bit of `measured` is not set the row is ignored."""

    measured: npt.NDArray[np.uint8]
    output_features: Floats32  # (calls, FEATURES)
    output_style: npt.NDArray[np.uint8]  # (calls, STYLE)
    output_tokens: Integers
    input_features: Floats32
    input_style: npt.NDArray[np.uint8]
    input_vectors: npt.NDArray[np.int8]  # (calls, COLUMNS): first columns; shorter ones are filled up with 0
    input_scales: Floats32


@kernel
def token_value(count: np.uint8, tokens: int) -> np.float32:
    """Square root of a token's share of a text."""
    return np.float32(math.sqrt(np.float64(count) / max(tokens, 1)))


@kernel
def column_value(entry: np.int8, scale: np.float32) -> np.float32:
    """Entry of a vector."""
    return np.float32(np.float64(entry) * np.float64(scale))


@kernel
def choose_tokens(text: Record, young: Arena, chunks: Rows) -> None:
    """The tokens that most of the young outputs use; of two that are used alike the first."""
    users = np.zeros(STYLE, np.int64)
    for k in range(FIT_EVENTS):
        style = young[chunks[k // WARM_UP_TEXTS]]["style"][k % WARM_UP_TEXTS]
        for token in range(STYLE):
            users[token] += 1 if style[token] > 0 else 0
    for place in range(TOKENS):
        best = 0
        for token in range(STYLE):
            if users[token] > users[best]:
                best = token
        text["tokens"][place] = best
        users[best] = -1


@kernel
def code_output(quantiser: Record, tokens: Weights, features: Floats32, style: Bytes, total: int, codes: Codes) -> None:
    """Write the codes of an output."""
    edges = quantiser["edges"]
    for j in range(FEATURES):
        codes[j] = code(edges[j], features[j])
    for place in range(TOKENS):
        codes[FEATURES + place] = code(edges[FEATURES + place], token_value(style[tokens[place]], total))


@kernel
def code_input(quantiser: Record, features: Floats32, vector: Codes, scale: np.float32, codes: Codes) -> None:
    """Write the codes of an input."""
    edges = quantiser["edges"]
    for j in range(FEATURES):
        codes[j] = code(edges[j], features[j])
    for column in range(COLUMNS):
        codes[FEATURES + column] = code(edges[FEATURES + column], column_value(vector[column], scale))


@kernel
def finish_output_warm_up(text: Record, space: Record, young: Arena, chunks: Rows, call: int) -> None:
    """Fit the quantiser of the outputs and write the young ones into their ring."""
    quantiser, ring = space["quantiser"], space["ring"]
    choose_tokens(text, young, chunks)
    values = np.zeros(FIT_EVENTS, np.float32)
    quantiser["varying"] = 0
    for j in range(DIMENSIONS):
        for k in range(FIT_EVENTS):
            chunk, at = young[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
            if j < FEATURES:
                values[k] = chunk["features"][at, j]
            else:
                values[k] = token_value(chunk["style"][at, text["tokens"][j - FEATURES]], chunk["tokens"][at])
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        chunk, at = young[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
        slot = next_row(ring, chunk["calls"][at])
        ring["partners"][slot] = chunk["partners"][at]
        features, style, total = chunk["features"][at], chunk["style"][at], chunk["tokens"][at]
        code_output(quantiser, text["tokens"], features, style, total, ring["codes"][slot])
    quantiser["fitted"] = call
    if space["given_quantiser"]["fitted"] != 0:
        pair_all(space, call)


@kernel
def finish_input_warm_up(space: Record, young: Arena, chunks: Rows, call: int) -> None:
    """Fit the quantiser of the inputs and write the young ones into their ring."""
    quantiser, ring = space["given_quantiser"], space["given"]
    values = np.zeros(FIT_EVENTS, np.float32)
    quantiser["varying"] = 0
    for j in range(DIMENSIONS):
        for k in range(FIT_EVENTS):
            chunk, at = young[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
            if j < FEATURES:
                values[k] = chunk["input_features"][at, j]
            else:
                values[k] = column_value(chunk["vectors"][at, j - FEATURES], chunk["scales"][at])
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        chunk, at = young[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
        slot = next_row(ring, chunk["input_calls"][at])
        code_input(
            quantiser, chunk["input_features"][at], chunk["vectors"][at], chunk["scales"][at], ring["codes"][slot]
        )
    quantiser["fitted"] = call
    if space["quantiser"]["fitted"] != 0:
        pair_all(space, call)


@kernel
def take_input(
    text: Record,
    stores: Arena,
    i: int,
    young: Arena,
    chunks: Rows,
    call: int,
    features: Floats32,
    vector: Codes,
    scale: np.float32,
) -> int:
    """Take in an input that has all its parts; its event number."""
    event: int
    if i >= 0 and stores[i]["given_quantiser"]["fitted"] != 0:
        space = stores[i]
        event = space["given"]["events"]
        slot = next_row(space["given"], call)
        code_input(space["given_quantiser"], features, vector, scale, space["given"]["codes"][slot])
        return event
    event = text["young_inputs"]
    chunk, at = young[chunks[event // WARM_UP_TEXTS]], event % WARM_UP_TEXTS
    chunk["input_features"][at] = features
    chunk["vectors"][at] = vector
    chunk["scales"][at] = scale
    chunk["input_calls"][at] = call
    text["young_inputs"] = event + 1
    if event + 1 == FIT_EVENTS:
        finish_input_warm_up(stores[i], young, chunks, call)
    return event


@kernel
def take_output(
    text: Record,
    stores: Arena,
    i: int,
    young: Arena,
    chunks: Rows,
    call: int,
    partner: int,
    features: Floats32,
    style: Bytes,
    total: int,
) -> None:
    """Take in an output that has all its parts; `partner`: event number of its input, -1 for none."""
    if i >= 0 and stores[i]["quantiser"]["fitted"] != 0:
        space = stores[i]
        ring = space["ring"]
        slot = next_row(ring, call)
        ring["partners"][slot] = partner
        code_output(space["quantiser"], text["tokens"], features, style, total, ring["codes"][slot])
        pair_newest(space, call)
        return
    event = text["young_outputs"]
    chunk, at = young[chunks[event // WARM_UP_TEXTS]], event % WARM_UP_TEXTS
    chunk["features"][at] = features
    chunk["style"][at] = style
    chunk["tokens"][at] = total
    chunk["calls"][at] = call
    chunk["partners"][at] = partner
    text["young_outputs"] = event + 1
    if event + 1 == FIT_EVENTS:
        finish_output_warm_up(text, stores[i], young, chunks, call)


@kernel
def take_texts(
    text: Record, stores: Arena, i: int, young: Arena, chunks: Rows, call: int, batch: TextBatch, e: int
) -> tuple[int, int]:
    """Take in the texts of call number `call` (from 1) of a scope, entry e; what may be used, and which rings grew.

    Both are bits. `i`: row of the scope's space, -1 before its call number FIT_EVENTS; `chunks`: rows of `young` that
    the scope has, at least for this text. A side with a number that is not finite is refused and counted. Where inputs
    have vectors, one without is not a row: it would be taken for one of zeros.
    """
    usable: int = batch.measured[e]
    if usable & OUTPUT_FEATURES and not is_finite(batch.output_features[e]):
        usable &= ~(OUTPUT_FEATURES | OUTPUT_STYLE)
        text["refused"] += 1
    bad_scale = usable & INPUT_VECTOR != 0 and not math.isfinite(batch.input_scales[e])
    if usable & INPUT_FEATURES and (bad_scale or not is_finite(batch.input_features[e])):
        usable &= ~(INPUT_FEATURES | INPUT_STYLE | INPUT_VECTOR)
        text["refused"] += 1
    outputs, inputs, pairs = finished_to(stores, i)
    partner = -1
    if usable & INPUT_FEATURES:
        if usable & INPUT_STYLE:
            count_text(text["inputs"], batch.input_features[e], batch.input_style[e])
        if usable & INPUT_VECTOR or text["vectors"] == 0:
            vector, scale = batch.input_vectors[e], batch.input_scales[e]
            partner = take_input(text, stores, i, young, chunks, call, batch.input_features[e], vector, scale)
    if usable & OUTPUT_FEATURES and usable & OUTPUT_STYLE:
        features, style, total = batch.output_features[e], batch.output_style[e], batch.output_tokens[e]
        count_text(text["outputs"], features, style)
        take_output(text, stores, i, young, chunks, call, partner, features, style, total)
    more_outputs, more_inputs, more_pairs = finished_to(stores, i)
    finished = OUTPUT_ROW if more_outputs > outputs else 0
    finished |= INPUT_ROW if more_inputs > inputs else 0
    finished |= PAIR_ROW if more_pairs > pairs else 0
    return usable, finished


@kernel
def finished_to(stores: Arena, i: int) -> tuple[int, int, int]:
    """Events of outputs, inputs and pairs in the rings of space i; none where there is no space."""
    if i < 0:
        return 0, 0, 0
    space = stores[i]
    return space["ring"]["events"], space["given"]["events"], space["paired"]


@kernel
def chunks_needed(text: Record, stores: Arena, i: int, outputs: int, inputs: int) -> int:
    """Chunks of YOUNG that a scope needs for so many more outputs and inputs; 0 once both sides have finished warm-up."""
    needed = 0
    if i < 0 or stores[i]["quantiser"]["fitted"] == 0:
        needed = min(text["young_outputs"] + outputs, FIT_EVENTS)
    if i < 0 or stores[i]["given_quantiser"]["fitted"] == 0:
        needed = max(needed, min(text["young_inputs"] + inputs, FIT_EVENTS))
    return (needed + WARM_UP_TEXTS - 1) // WARM_UP_TEXTS
