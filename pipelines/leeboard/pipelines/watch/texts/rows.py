"""From the texts of a scope's calls to coded rows of its vector store.

An output becomes a row of 82 codes: 18 features, and the square roots of the shares of 64 tokens, those with the
highest document frequency among the first 300 outputs. An input becomes a row of 82 codes: 18 features, and the first
64 columns of its embedding vector. Inputs are the conditioning vectors of outputs.

Each side (outputs, inputs) has a warm-up: its first 300 texts are held in chunks (WARM_UP) as they were measured. Then
the side's quantiser is fitted to them, and they become the first rows of its ring. A scope therefore needs no vector
store (STORE) before its call number 300, and no chunks once both sides have finished warm-up.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.algebra import Bytes, CodeRow, WeightRow
from leeboard.detectors.core.jit import Arena, Floats32, Integers, Record, kernel
from leeboard.detectors.vector.direction import READABLE
from leeboard.detectors.vector.features import is_finite
from leeboard.detectors.vector.store import (
    FIT_EVENTS,
    MOST_DIMENSIONS,
    code,
    fit_coordinate,
    next_row,
    pair_all,
    pair_newest,
    store_dtype,
)

from .counts import count_text, side_dtype

#: measures of a text: number of features, number of tokens of the style vocabulary
TEXT_FEATURES, STYLE_ENTRIES = 18, 256
#: number of tokens, and of columns of a vector, that become coordinates
TOKENS, COLUMNS = 64, 64
DIMENSIONS = TEXT_FEATURES + TOKENS
assert DIMENSIONS == TEXT_FEATURES + COLUMNS
assert TEXT_FEATURES == READABLE
assert TOKENS <= STYLE_ENTRIES
assert DIMENSIONS <= MOST_DIMENSIONS
#: texts of a chunk, and chunks of a scope during warm-up
WARM_UP_TEXTS = 50
WARM_UP_CHUNKS = FIT_EVENTS // WARM_UP_TEXTS
assert WARM_UP_CHUNKS * WARM_UP_TEXTS == FIT_EVENTS
#: what was measured of a call: bits of `TextBatch.measured`
OUTPUT_FEATURES, OUTPUT_STYLE, INPUT_FEATURES, INPUT_STYLE, INPUT_VECTOR = 1, 2, 4, 8, 16
#: to what a row was added: bits
OUTPUT_ROW, INPUT_ROW, PAIR_ROW = 1, 2, 4

TEXT_STATE = np.dtype(
    [
        ("tokens", "i2", TOKENS),  # tokens of the style vocabulary that are coordinates
        ("warm_up_outputs", "i4"),  # number of outputs held in chunks
        ("warm_up_inputs", "i4"),  # number of inputs held in chunks
        ("vectors", "i8"),  # 1 where inputs have vectors
        ("refused", "i8"),  # number of texts that were refused, for a number that is not finite
        ("restarted", "i8"),  # number of the first call after the latest restart of a side
        ("outputs", side_dtype(TEXT_FEATURES, STYLE_ENTRIES)),
        ("inputs", side_dtype(TEXT_FEATURES, STYLE_ENTRIES)),
    ],
    align=True,
)

#: vectors are outputs, conditioning vectors are inputs
STORE = store_dtype(DIMENSIONS, DIMENSIONS)

WARM_UP = np.dtype(
    [
        ("features", "f4", (WARM_UP_TEXTS, TEXT_FEATURES)),
        ("style", "u1", (WARM_UP_TEXTS, STYLE_ENTRIES)),
        ("tokens", "i4", WARM_UP_TEXTS),
        ("calls", "i4", WARM_UP_TEXTS),  # numbers of the outputs' calls, 0 where there is no output
        ("partners", "i4", WARM_UP_TEXTS),  # event of the output's input, -1 for none
        ("input_features", "f4", (WARM_UP_TEXTS, TEXT_FEATURES)),
        ("vectors", "i1", (WARM_UP_TEXTS, COLUMNS)),
        ("scales", "f4", WARM_UP_TEXTS),
        ("input_calls", "i4", WARM_UP_TEXTS),  # numbers of the inputs' calls, 0 where there is no input
    ],
    align=True,
)

#: row numbers of an arena, -1 for none
RowNumbers: TypeAlias = npt.NDArray[np.int32]


class TextBatch(NamedTuple):
    """Measures of the texts of calls, one row a call; what has no bit in `measured` is ignored."""

    measured: npt.NDArray[np.uint8]
    output_features: Floats32  # (calls, TEXT_FEATURES)
    output_style: npt.NDArray[np.uint8]  # (calls, STYLE_ENTRIES): how often a token is used
    output_tokens: Integers
    input_features: Floats32
    input_style: npt.NDArray[np.uint8]
    input_vectors: npt.NDArray[np.int8]  # (calls, COLUMNS): first columns; shorter vectors are padded with 0
    input_scales: Floats32


@kernel
def token_value(count: np.uint8, tokens: int) -> np.float32:
    """Square root of a token's share of the tokens of a text."""
    return np.float32(math.sqrt(np.float64(count) / max(tokens, 1)))


@kernel
def column_value(entry: np.int8, scale: np.float32) -> np.float32:
    """Entry of a vector, from its quantised form."""
    return np.float32(np.float64(entry) * np.float64(scale))


@kernel
def choose_tokens(text: Record, warm_up: Arena, chunks: RowNumbers) -> None:
    """Choose the tokens with the highest document frequency in the outputs of the warm-up; of equal ones the first."""
    document_frequency = np.zeros(STYLE_ENTRIES, np.int64)
    for k in range(FIT_EVENTS):
        style = warm_up[chunks[k // WARM_UP_TEXTS]]["style"][k % WARM_UP_TEXTS]
        for token in range(STYLE_ENTRIES):
            document_frequency[token] += 1 if style[token] > 0 else 0
    for rank in range(TOKENS):
        best = 0
        for token in range(STYLE_ENTRIES):
            if document_frequency[token] > document_frequency[best]:
                best = token
        text["tokens"][rank] = best
        document_frequency[best] = -1


@kernel
def code_output(
    quantiser: Record, tokens: WeightRow, features: Floats32, style: Bytes, total: int, codes: CodeRow
) -> None:
    """Write the codes (DIMENSIONS,) of an output. `total`: number of its tokens."""
    edges = quantiser["edges"]
    for j in range(TEXT_FEATURES):
        codes[j] = code(edges[j], features[j])
    for k in range(TOKENS):
        codes[TEXT_FEATURES + k] = code(edges[TEXT_FEATURES + k], token_value(style[tokens[k]], total))


@kernel
def code_input(quantiser: Record, features: Floats32, vector: CodeRow, scale: np.float32, codes: CodeRow) -> None:
    """Write the codes (DIMENSIONS,) of an input. `vector`, `scale`: its quantised vector."""
    edges = quantiser["edges"]
    for j in range(TEXT_FEATURES):
        codes[j] = code(edges[j], features[j])
    for column in range(COLUMNS):
        codes[TEXT_FEATURES + column] = code(edges[TEXT_FEATURES + column], column_value(vector[column], scale))


@kernel
def finish_output_warm_up(text: Record, store: Record, warm_up: Arena, chunks: RowNumbers, call: int) -> None:
    """Fit the quantiser of the outputs, and write those of the warm-up into their ring. `call`: number of the call."""
    quantiser, ring = store["quantiser"], store["ring"]
    choose_tokens(text, warm_up, chunks)
    values = np.zeros(FIT_EVENTS, np.float32)
    quantiser["varying"] = 0
    for j in range(DIMENSIONS):
        for k in range(FIT_EVENTS):
            chunk, at = warm_up[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
            if j < TEXT_FEATURES:
                values[k] = chunk["features"][at, j]
            else:
                values[k] = token_value(chunk["style"][at, text["tokens"][j - TEXT_FEATURES]], chunk["tokens"][at])
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        chunk, at = warm_up[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
        slot = next_row(ring, chunk["calls"][at])
        ring["partners"][slot] = chunk["partners"][at]
        features, style, total = chunk["features"][at], chunk["style"][at], chunk["tokens"][at]
        code_output(quantiser, text["tokens"], features, style, total, ring["codes"][slot])
    quantiser["fitted"] = call
    if store["conditioning_quantiser"]["fitted"] != 0:
        pair_all(store, call)


@kernel
def finish_input_warm_up(store: Record, warm_up: Arena, chunks: RowNumbers, call: int) -> None:
    """Fit the quantiser of the inputs, and write those of the warm-up into their ring. `call`: number of the call."""
    quantiser, ring = store["conditioning_quantiser"], store["conditioning"]
    values = np.zeros(FIT_EVENTS, np.float32)
    quantiser["varying"] = 0
    for j in range(DIMENSIONS):
        for k in range(FIT_EVENTS):
            chunk, at = warm_up[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
            if j < TEXT_FEATURES:
                values[k] = chunk["input_features"][at, j]
            else:
                values[k] = column_value(chunk["vectors"][at, j - TEXT_FEATURES], chunk["scales"][at])
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        chunk, at = warm_up[chunks[k // WARM_UP_TEXTS]], k % WARM_UP_TEXTS
        slot = next_row(ring, chunk["input_calls"][at])
        code_input(
            quantiser, chunk["input_features"][at], chunk["vectors"][at], chunk["scales"][at], ring["codes"][slot]
        )
    quantiser["fitted"] = call
    if store["quantiser"]["fitted"] != 0:
        pair_all(store, call)


@kernel
def add_input(
    text: Record,
    stores: Arena,
    i: int,
    warm_up: Arena,
    chunks: RowNumbers,
    call: int,
    features: Floats32,
    vector: CodeRow,
    scale: np.float32,
) -> int:
    """Add an input whose measures are complete; returns its event number."""
    event: int
    if i >= 0 and stores[i]["conditioning_quantiser"]["fitted"] != 0:
        store = stores[i]
        event = store["conditioning"]["events"]
        slot = next_row(store["conditioning"], call)
        code_input(store["conditioning_quantiser"], features, vector, scale, store["conditioning"]["codes"][slot])
        return event
    event = text["warm_up_inputs"]
    chunk, at = warm_up[chunks[event // WARM_UP_TEXTS]], event % WARM_UP_TEXTS
    chunk["input_features"][at] = features
    chunk["vectors"][at] = vector
    chunk["scales"][at] = scale
    chunk["input_calls"][at] = call
    text["warm_up_inputs"] = event + 1
    if event + 1 == FIT_EVENTS:
        finish_input_warm_up(stores[i], warm_up, chunks, call)
    return event


@kernel
def add_output(
    text: Record,
    stores: Arena,
    i: int,
    warm_up: Arena,
    chunks: RowNumbers,
    call: int,
    partner: int,
    features: Floats32,
    style: Bytes,
    total: int,
) -> None:
    """Add an output whose measures are complete. `partner`: event number of its input, -1 for none."""
    if i >= 0 and stores[i]["quantiser"]["fitted"] != 0:
        store = stores[i]
        ring = store["ring"]
        slot = next_row(ring, call)
        ring["partners"][slot] = partner
        code_output(store["quantiser"], text["tokens"], features, style, total, ring["codes"][slot])
        pair_newest(store, call)
        return
    event = text["warm_up_outputs"]
    chunk, at = warm_up[chunks[event // WARM_UP_TEXTS]], event % WARM_UP_TEXTS
    chunk["features"][at] = features
    chunk["style"][at] = style
    chunk["tokens"][at] = total
    chunk["calls"][at] = call
    chunk["partners"][at] = partner
    text["warm_up_outputs"] = event + 1
    if event + 1 == FIT_EVENTS:
        finish_output_warm_up(text, stores[i], warm_up, chunks, call)


@kernel
def add_texts(
    text: Record, stores: Arena, i: int, warm_up: Arena, chunks: RowNumbers, call: int, batch: TextBatch, e: int
) -> tuple[int, int]:
    """Add the texts of entry e of a batch, call number `call` (from 1) of a scope.

    Returns two sets of bits: the measures that are usable, and what rows were added to. `i`: row of the scope's store,
    -1 before its call number FIT_EVENTS; `chunks`: rows of `warm_up` that the scope has, enough for these texts. A text
    with a number that is not finite is refused and counted. Where inputs have vectors, an input without one makes no
    row: it would look like a vector of zeros.
    """
    usable: int = batch.measured[e]
    if usable & OUTPUT_FEATURES and not is_finite(batch.output_features[e]):
        usable &= ~(OUTPUT_FEATURES | OUTPUT_STYLE)
        text["refused"] += 1
    bad_scale = usable & INPUT_VECTOR != 0 and not math.isfinite(batch.input_scales[e])
    if usable & INPUT_FEATURES and (bad_scale or not is_finite(batch.input_features[e])):
        usable &= ~(INPUT_FEATURES | INPUT_STYLE | INPUT_VECTOR)
        text["refused"] += 1
    outputs, inputs, pairs = store_sizes(stores, i)
    partner = -1
    if usable & INPUT_FEATURES:
        if usable & INPUT_STYLE:
            count_text(text["inputs"], batch.input_features[e], batch.input_style[e])
        if usable & INPUT_VECTOR or text["vectors"] == 0:
            vector, scale = batch.input_vectors[e], batch.input_scales[e]
            partner = add_input(text, stores, i, warm_up, chunks, call, batch.input_features[e], vector, scale)
    if usable & OUTPUT_FEATURES and usable & OUTPUT_STYLE:
        features, style, total = batch.output_features[e], batch.output_style[e], batch.output_tokens[e]
        count_text(text["outputs"], features, style)
        add_output(text, stores, i, warm_up, chunks, call, partner, features, style, total)
    more_outputs, more_inputs, more_pairs = store_sizes(stores, i)
    added = OUTPUT_ROW if more_outputs > outputs else 0
    added |= INPUT_ROW if more_inputs > inputs else 0
    added |= PAIR_ROW if more_pairs > pairs else 0
    return usable, added


@kernel
def store_sizes(stores: Arena, i: int) -> tuple[int, int, int]:
    """Number of outputs, inputs and pairs ever added to the rings of store i; zeros where i is -1."""
    if i < 0:
        return 0, 0, 0
    store = stores[i]
    return store["ring"]["events"], store["conditioning"]["events"], store["paired"]


@kernel
def chunks_needed(text: Record, stores: Arena, i: int, outputs: int, inputs: int) -> int:
    """Number of warm-up chunks that a scope needs for so many more texts; 0 once both sides have finished warm-up."""
    needed = 0
    if i < 0 or stores[i]["quantiser"]["fitted"] == 0:
        needed = min(text["warm_up_outputs"] + outputs, FIT_EVENTS)
    if i < 0 or stores[i]["conditioning_quantiser"]["fitted"] == 0:
        needed = max(needed, min(text["warm_up_inputs"] + inputs, FIT_EVENTS))
    return (needed + WARM_UP_TEXTS - 1) // WARM_UP_TEXTS
