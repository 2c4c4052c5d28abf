"""Vectors as rows of small whole numbers, in a ring that the detectors of a stream share.

A coordinate becomes the normal score of its place among 31 quantiles of the first FIT_EVENTS vectors, in steps of
1 / CODE_STEPS sd: one byte, at home in any law, with many zeros or heavy tails, and a vector far outside cannot
outweigh all others. A space has two rings: vectors, and what the vectors are given (both optional); events that have
both are pairs. Rings hold the newest ROWS events; an event is numbered by its place in its ring's history.
"""

import math
from typing import Any

import numpy as np
from leeboard.detectors.core.algebra import Codes, Sums, sort
from leeboard.detectors.core.jit import Floats32, Record, kernel
from leeboard.detectors.core.special import normal_quantile

#: most coordinates of a vector
MAX_DIMENSIONS = 128
#: vectors from which quantiser, mean and covariance are first learned
FIT_EVENTS = 300
#: quantiles that become the edges of a coordinate
EDGES = 31
#: steps of a code to a standard deviation
CODE_STEPS = 31.0
#: vectors compared with at most; the longest window in front of them; events for which a direction is held
HISTORY, LONGEST_WINDOW, BLOCK_EVENTS = 1000, 320, 16
#: rows of a ring: HISTORY behind a window of 160, less behind a longer one
ROWS = 1184
#: rows of a chunk: what a checkpoint writes again when one of them has changed
CHUNK_ROWS = 148
CHUNKS = ROWS // CHUNK_ROWS
assert CHUNKS * CHUNK_ROWS == ROWS
#: what a detector looks at: the vectors, what they are given, or what the second does not explain of the first
VECTORS, GIVENS, RESIDUALS = 0, 1, 2


def _levels() -> list[int]:
    """Code of a value with `lower` edges below it and `upper` edges not above it, by lower + upper."""
    places = [(0.5 * both + 0.5) / (EDGES + 1.0) for both in range(2 * EDGES + 1)]
    return [math.floor(CODE_STEPS * normal_quantile(place) + 0.5) for place in places]


LEVELS = np.array(_levels(), np.int8)
LARGEST_CODE = int(LEVELS[-1])


def quantiser_dtype(dimensions: int) -> np.dtype[Any]:
    """How vectors of so many dimensions are coded."""
    return np.dtype(
        [
            ("edges", "f4", (dimensions, EDGES)),  # ascending
            ("fitted", "i8"),  # number of the call from which the edges are known, 0 while they are not
            ("varying", "i8"),  # coordinates that varied then, inside the middle 90 %
        ],
        align=True,
    )


def ring_dtype(dimensions: int) -> np.dtype[Any]:
    """The newest coded vectors."""
    return np.dtype(
        [
            ("events", "i8"),
            ("codes", "i1", (ROWS, dimensions)),
            ("calls", "i4", ROWS),  # numbers of their calls, the first call of a stream being 1
            ("partners", "i4", ROWS),  # event of what the vector is given, -1 for none
            ("written", "i4", CHUNKS),  # call that was last written to each chunk
        ],
        align=True,
    )


def store_dtype(dimensions: int, given: int) -> np.dtype[Any]:
    """Two rings and their pairs; `given` dimensions of what the vectors are given."""
    return np.dtype(
        [
            ("quantiser", quantiser_dtype(dimensions)),
            ("given_quantiser", quantiser_dtype(given)),
            ("ring", ring_dtype(dimensions)),
            ("given", ring_dtype(given)),
            ("pairs", "i4", (ROWS, 2)),  # ring: event of the vector, event of what it is given
            ("pairs_written", "i4", CHUNKS),
            ("paired", "i8"),
        ],
        align=True,
    )


@kernel
def fit_coordinate(quantiser: Record, j: int, values: Floats32) -> None:
    """Learn the edges of coordinate j from values (n,), which are sorted on the way."""
    sort(values)
    n = values.size
    for k in range(EDGES):
        quantiser["edges"][j, k] = values[(k + 1) * n // (EDGES + 1)]
    if values[n // 20] < values[n - 1 - n // 20]:
        quantiser["varying"] += 1


@kernel
def code(edges: Floats32, value: np.float32) -> np.int8:
    """Code of a value, for ascending edges."""
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
    level: np.int8 = LEVELS[low + upper]
    return level


@kernel
def next_row(ring: Record, call: int) -> int:
    """Place of the next event in the ring, whose codes the caller writes; `call`: number by which it can be found."""
    slot: int = ring["events"] % ROWS
    ring["calls"][slot] = call
    ring["partners"][slot] = -1
    ring["written"][slot // CHUNK_ROWS] = call
    ring["events"] += 1
    return slot


@kernel
def oldest_event(ring: Record) -> int:
    """Oldest event that the ring still holds."""
    oldest: int = max(ring["events"] - ROWS, 0)
    return oldest


@kernel
def pair(space: Record, event: int, call: int) -> None:
    """Count the vector of an event as one of a pair, if what it is given is still there. `call`: the newest call."""
    given = space["given"]
    partner = np.int64(space["ring"]["partners"][event % ROWS])
    if oldest_event(given) <= partner < given["events"]:
        slot = space["paired"] % ROWS
        space["pairs"][slot, 0] = event
        space["pairs"][slot, 1] = partner
        space["pairs_written"][slot // CHUNK_ROWS] = call
        space["paired"] += 1


@kernel
def pair_newest(space: Record, call: int) -> None:
    """Count the newest vector as one of a pair, once both quantisers are fitted."""
    if space["quantiser"]["fitted"] != 0 and space["given_quantiser"]["fitted"] != 0:
        pair(space, space["ring"]["events"] - 1, call)


@kernel
def pair_all(space: Record, call: int) -> None:
    """Count the pairs among the vectors that are there, when the second of the two quantisers has been fitted."""
    for event in range(oldest_event(space["ring"]), space["ring"]["events"]):
        pair(space, event, call)


@kernel
def seen(space: Record, kind: int) -> int:
    """Events of that kind so far."""
    events: int
    if kind == VECTORS:
        events = space["ring"]["events"]
    elif kind == GIVENS:
        events = space["given"]["events"]
    else:
        events = space["paired"]
    return events


@kernel
def oldest(space: Record, kind: int) -> int:
    """Oldest event of that kind that is still there."""
    if kind == VECTORS:
        return oldest_event(space["ring"])
    if kind == GIVENS:
        return oldest_event(space["given"])
    event: int = max(space["paired"] - ROWS, 0)
    first_vector, first_given = oldest_event(space["ring"]), oldest_event(space["given"])
    while event < space["paired"] and (
        space["pairs"][event % ROWS, 0] < first_vector or space["pairs"][event % ROWS, 1] < first_given
    ):
        event += 1
    return event


@kernel
def vector_of(space: Record, kind: int, event: int) -> Codes:
    """Codes of the vector of an event (of what it is given, for GIVENS)."""
    codes: Codes
    if kind == VECTORS:
        codes = space["ring"]["codes"][event % ROWS]
    elif kind == GIVENS:
        codes = space["given"]["codes"][event % ROWS]
    else:
        codes = space["ring"]["codes"][space["pairs"][event % ROWS, 0] % ROWS]
    return codes


@kernel
def given_of(space: Record, event: int) -> Codes:
    """Codes of what the vector of a pair is given."""
    codes: Codes = space["given"]["codes"][space["pairs"][event % ROWS, 1] % ROWS]
    return codes


@kernel
def call_of(space: Record, kind: int, event: int) -> int:
    """Number of the call of an event."""
    call: int
    if kind == VECTORS:
        call = space["ring"]["calls"][event % ROWS]
    elif kind == GIVENS:
        call = space["given"]["calls"][event % ROWS]
    else:
        call = space["ring"]["calls"][space["pairs"][event % ROWS, 0] % ROWS]
    return call


@kernel
def first_from(space: Record, kind: int, call: int) -> int:
    """Oldest event of a call with that number or a later one; the number of events where there is none."""
    event = seen(space, kind)
    begin = oldest(space, kind)
    while event > begin and call_of(space, kind, event - 1) >= call:
        event -= 1
    return event


@kernel
def add_up(space: Record, kind: int, first: int, last: int, sums: Sums, given_sums: Sums) -> None:
    """Sums of the codes of events `first` to `last` - 1; of what they are given too, for RESIDUALS."""
    sums[:] = 0
    given_sums[:] = 0
    for event in range(first, last):
        codes = vector_of(space, kind, event)
        for j in range(sums.size):
            sums[j] += np.int32(codes[j])
        if kind == RESIDUALS:
            codes = given_of(space, event)
            for j in range(given_sums.size):
                given_sums[j] += np.int32(codes[j])
