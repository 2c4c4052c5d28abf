"""Vector store: vectors as rows of one-byte codes, in rings that the detectors of a stream share.

A coordinate is coded by the normal score of its position among 31 quantiles of the first FIT_EVENTS vectors, in steps
of 1 / CODE_STEPS sd. A code is one byte and suits any law, also one with many zeros or heavy tails; and an extreme
vector cannot outweigh all others. A store has two rings: one of vectors, one of their conditioning vectors (either may
be empty). A vector and its conditioning vector are a pair. A ring holds the newest ROWS events. Events are numbered
from 0 in each ring, and carry an index: their number in the sequence of the store's owner, from 1.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core.algebra import CodeRow, Sums, sort
from leeboard.detectors.core.jit import Floats32, Record, kernel
from leeboard.detectors.core.special import normal_quantile

#: most coordinates of a vector
MOST_DIMENSIONS = 128
#: vectors from which quantiser, mean and covariance are first learned
FIT_EVENTS = 300
#: quantiles of a coordinate that become edges of its quantiser
EDGES = 31
#: steps of a code per standard deviation
CODE_STEPS = 31.0
#: most older vectors that a new one is compared with; the longest window in front of these; events of a frozen block
HISTORY, LONGEST_WINDOW, BLOCK_EVENTS = 1000, 320, 16
#: rows of a ring: HISTORY older vectors and a window of 160 and a block; fewer older ones with a longer window
ROWS = 1184
assert ROWS >= HISTORY + 160 + BLOCK_EVENTS
#: rows of a chunk, which a checkpoint writes when one of them has changed
CHUNK_ROWS = 148
CHUNKS = ROWS // CHUNK_ROWS
assert CHUNKS * CHUNK_ROWS == ROWS
#: kinds of vectors: those of the stream, their conditioning vectors, and the residuals of the first given the second
VECTORS, CONDITIONING, RESIDUALS = 0, 1, 2


def _code_table() -> list[int]:
    """Code of a value with `lower` edges below it and `upper` edges not above it, by lower + upper."""
    ranks = [(0.5 * both + 0.5) / (EDGES + 1.0) for both in range(2 * EDGES + 1)]
    return [math.floor(CODE_STEPS * normal_quantile(rank) + 0.5) for rank in ranks]


CODE_TABLE = np.array(_code_table(), np.int8)
LARGEST_CODE = int(CODE_TABLE[-1])


def quantiser_dtype(dimensions: int) -> np.dtype[Any]:
    """Quantiser of the coordinates of vectors (dimensions,)."""
    return np.dtype(
        [
            ("edges", "f4", (dimensions, EDGES)),  # ascending
            ("fitted", "i8"),  # index of the event at which the edges were learned, 0 while they are not
            ("varying", "i8"),  # coordinates that varied at that time, inside the middle 90 % of their values
        ],
        align=True,
    )


def ring_dtype(dimensions: int) -> np.dtype[Any]:
    """Ring of the newest coded vectors (dimensions,)."""
    return np.dtype(
        [
            ("events", "i8"),
            ("codes", "i1", (ROWS, dimensions)),
            ("indices", "i4", ROWS),
            ("partners", "i4", ROWS),  # event of the conditioning vector, -1 for none
            ("written", "i4", CHUNKS),  # newest index of each chunk
        ],
        align=True,
    )


def store_dtype(dimensions: int, conditioning_dimensions: int) -> np.dtype[Any]:
    """Both rings, their quantisers and their pairs, for vectors and conditioning vectors of so many dimensions."""
    return np.dtype(
        [
            ("quantiser", quantiser_dtype(dimensions)),
            ("conditioning_quantiser", quantiser_dtype(conditioning_dimensions)),
            ("ring", ring_dtype(dimensions)),
            ("conditioning", ring_dtype(conditioning_dimensions)),
            ("pairs", "i4", (ROWS, 2)),  # ring: event of the vector, event of its conditioning vector
            ("pairs_written", "i4", CHUNKS),  # newest index of each chunk
            ("paired", "i8"),  # number of pairs so far
        ],
        align=True,
    )


@kernel
def fit_coordinate(quantiser: Record, j: int, values: Floats32) -> None:
    """Learn the edges of coordinate j from values (n,), which are sorted in place."""
    sort(values)
    n = values.size
    for k in range(EDGES):
        quantiser["edges"][j, k] = values[(k + 1) * n // (EDGES + 1)]
    if values[n // 20] < values[n - 1 - n // 20]:
        quantiser["varying"] += 1


@kernel
def code(edges: Floats32, value: np.float32) -> np.int8:
    """Code of a value, for ascending edges (EDGES,)."""
    low, high = 0, EDGES
    while low < high:
        middle = (low + high) >> 1
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    upper = low
    while upper < EDGES and edges[upper] == value:
        upper += 1
    value_code: np.int8 = CODE_TABLE[low + upper]
    return value_code


@kernel
def next_row(ring: Record, index: int) -> int:
    """Add an event with that index to a ring; returns its row, whose codes are still to be written."""
    slot: int = ring["events"] % ROWS
    ring["indices"][slot] = index
    ring["partners"][slot] = -1
    ring["written"][slot // CHUNK_ROWS] = index
    ring["events"] += 1
    return slot


@kernel
def oldest_event(ring: Record) -> int:
    """Oldest event in a ring."""
    oldest: int = max(ring["events"] - ROWS, 0)
    return oldest


@kernel
def pair_event(store: Record, event: int, index: int) -> None:
    """Add a vector and its conditioning vector to the pairs, if the latter is still held. `index`: the newest one."""
    conditioning = store["conditioning"]
    partner = np.int64(store["ring"]["partners"][event % ROWS])
    if oldest_event(conditioning) <= partner < conditioning["events"]:
        slot = store["paired"] % ROWS
        store["pairs"][slot, 0] = event
        store["pairs"][slot, 1] = partner
        store["pairs_written"][slot // CHUNK_ROWS] = index
        store["paired"] += 1


@kernel
def pair_newest(store: Record, index: int) -> None:
    """Add the newest vector to the pairs, once both quantisers are fitted. `index`: the newest one."""
    if store["quantiser"]["fitted"] != 0 and store["conditioning_quantiser"]["fitted"] != 0:
        pair_event(store, store["ring"]["events"] - 1, index)


@kernel
def pair_all(store: Record, index: int) -> None:
    """Add all vectors of the ring to the pairs, once the second quantiser has been fitted. `index`: the newest one."""
    for event in range(oldest_event(store["ring"]), store["ring"]["events"]):
        pair_event(store, event, index)


@kernel
def seen(store: Record, kind: int) -> int:
    """Number of events of a kind so far."""
    events: int
    if kind == VECTORS:
        events = store["ring"]["events"]
    elif kind == CONDITIONING:
        events = store["conditioning"]["events"]
    else:
        events = store["paired"]
    return events


@kernel
def oldest(store: Record, kind: int) -> int:
    """Oldest event of a kind that is held."""
    if kind == VECTORS:
        return oldest_event(store["ring"])
    if kind == CONDITIONING:
        return oldest_event(store["conditioning"])
    event: int = max(store["paired"] - ROWS, 0)
    first_vector, first_conditioning = oldest_event(store["ring"]), oldest_event(store["conditioning"])
    while event < store["paired"] and (
        store["pairs"][event % ROWS, 0] < first_vector or store["pairs"][event % ROWS, 1] < first_conditioning
    ):
        event += 1
    return event


@kernel
def vector_of(store: Record, kind: int, event: int) -> CodeRow:
    """Codes of an event; for RESIDUALS those of the vector of the pair."""
    codes: CodeRow
    if kind == VECTORS:
        codes = store["ring"]["codes"][event % ROWS]
    elif kind == CONDITIONING:
        codes = store["conditioning"]["codes"][event % ROWS]
    else:
        codes = store["ring"]["codes"][store["pairs"][event % ROWS, 0] % ROWS]
    return codes


@kernel
def conditioning_of(store: Record, event: int) -> CodeRow:
    """Codes of the conditioning vector of a pair."""
    codes: CodeRow = store["conditioning"]["codes"][store["pairs"][event % ROWS, 1] % ROWS]
    return codes


@kernel
def index_of(store: Record, kind: int, event: int) -> int:
    """Index of an event."""
    index: int
    if kind == VECTORS:
        index = store["ring"]["indices"][event % ROWS]
    elif kind == CONDITIONING:
        index = store["conditioning"]["indices"][event % ROWS]
    else:
        index = store["ring"]["indices"][store["pairs"][event % ROWS, 0] % ROWS]
    return index


@kernel
def first_from(store: Record, kind: int, index: int) -> int:
    """Oldest event with that index or a later one; the number of events where there is none."""
    event = seen(store, kind)
    begin = oldest(store, kind)
    while event > begin and index_of(store, kind, event - 1) >= index:
        event -= 1
    return event


@kernel
def sum_codes(store: Record, kind: int, first: int, last: int, sums: Sums, conditioning_sums: Sums) -> None:
    """Write the sums of the codes of events `first` to `last` - 1; for RESIDUALS also of the conditioning vectors."""
    sums[:] = 0
    conditioning_sums[:] = 0
    for event in range(first, last):
        codes = vector_of(store, kind, event)
        for j in range(sums.size):
            sums[j] += np.int32(codes[j])
        if kind == RESIDUALS:
            codes = conditioning_of(store, event)
            for j in range(conditioning_sums.size):
                conditioning_sums[j] += np.int32(codes[j])
