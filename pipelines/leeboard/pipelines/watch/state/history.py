"""Reading the ring of recent calls: which calls, when, with which labels."""

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Arena
from leeboard.pipelines.signals import NUMERIC
from leeboard.pipelines.watch.families.bank import Bank, DetectorKey
from leeboard.pipelines.watch.texts.rows import (
    INPUT_FEATURES,
    INPUT_STYLE,
    INPUT_VECTOR,
    OUTPUT_FEATURES,
    OUTPUT_STYLE,
)
from leeboard.pipelines.watch.texts.signals import CONDITIONAL, CONTENT, INPUT_PARTS, OUTPUT_PARTS, STYLE

from .layout import CHUNK, NOT_MEASURED
from .scope import Interval, Scope

#: calls before a change that shares of labels are taken from
BEFORE_CALLS = 1000
#: what a call must have measured of its texts to be an event of a text signal
TEXT_BITS = {
    OUTPUT_PARTS: OUTPUT_FEATURES,
    STYLE: OUTPUT_FEATURES | OUTPUT_STYLE,
    CONDITIONAL: OUTPUT_FEATURES | OUTPUT_STYLE | INPUT_FEATURES,
    INPUT_PARTS: INPUT_FEATURES,
    CONTENT: INPUT_FEATURES,
}


def read_ring(bank: Bank, slot: int, first: int, last: int) -> Arena:
    """Rows of the calls number `first` to `last` (1 is the scope's first), as far as they are kept, oldest first."""
    calls = int(bank.scopes.array[slot]["calls"])
    first = max(first, calls - bank.ring_size + 1, 1)
    places = (np.arange(first, min(last, calls) + 1) - 1) % bank.ring_size
    chunks = bank.ring_chunks[slot][places // CHUNK]
    rows: Arena = bank.ring.array[chunks, places % CHUNK]
    return rows


def kept_from(bank: Bank, slot: int) -> int:
    """Number of the oldest call that the ring holds."""
    return max(int(bank.scopes.array[slot]["calls"]) - bank.ring_size + 1, 1)


def time_of(bank: Bank, slot: int, call: int) -> int:
    """Scope time of a call, epoch ms to the second; that of the oldest one kept where it is older."""
    scope = bank.scopes.array[slot]
    rows = read_ring(bank, slot, call, call)
    if len(rows) == 0:
        oldest = kept_from(bank, slot)
        rows = read_ring(bank, slot, oldest, oldest)
    return int(scope["first"]) + 1000 * int(rows["time"][0])


def measured(bank: Bank, slot: int, place: DetectorKey) -> npt.NDArray[np.bool_]:
    """For every call in the ring, oldest first: did it measure the signal? All did where the ring cannot tell."""
    rows = read_ring(bank, slot, 1, int(bank.scopes.array[slot]["calls"]))
    if place.kind == "numeric" and place.column < len(NUMERIC):
        return np.asarray(rows["scores"][:, place.column] != NOT_MEASURED)
    if place.kind == "text":
        bits = TEXT_BITS[place.column]
        if place.column in (CONDITIONAL, CONTENT) and bank.texts.text(slot)["vectors"]:
            bits |= INPUT_VECTOR
        return np.asarray(rows["texts"] & bits == bits)
    return np.ones(len(rows), np.bool_)


def to_calls(bank: Bank, scope: Scope, place: DetectorKey, ago: tuple[int, int, int]) -> Interval:
    """A change time in events of a signal (estimate, earliest, latest: events before the newest) as call numbers."""
    calls = int(bank.scopes.array[scope.slot]["calls"])
    which = np.flatnonzero(measured(bank, scope.slot, place))[::-1]
    oldest = kept_from(bank, scope.slot)
    numbers = []
    for events in ago:
        if events < len(which):
            numbers.append(oldest + int(which[events]))
        else:  # older than the ring: as many calls a signal event as over the scope's life
            seen = int(bank.record(scope.slot, place)["events"])
            numbers.append(max(1, calls - round(events * calls / max(seen, 1))))
    return Interval(numbers[0], min(numbers[0], numbers[1]), max(numbers[0], numbers[2]))


def counted_since(bank: Bank, slot: int, place: DetectorKey, call: int) -> int:
    """Texts that were counted (features and style) from a call on, on the side that a text signal looks at."""
    bits = INPUT_FEATURES | INPUT_STYLE if place.column in (INPUT_PARTS, CONTENT) else OUTPUT_FEATURES | OUTPUT_STYLE
    rows = read_ring(bank, slot, call, int(bank.scopes.array[slot]["calls"]))
    return int(np.count_nonzero(rows["texts"] & bits == bits))


def label_shares(bank: Bank, scope: Scope, first: int, last: int) -> tuple[dict[str, dict[str, float]], int]:
    """Shares of every value of every label over calls `first` to `last` (as far as kept), and their number."""
    rows = read_ring(bank, scope.slot, first, last)
    numbers, counts = np.unique(rows["labels"], return_counts=True)
    by_number = scope.labels.by_number()
    shares: dict[str, dict[str, float]] = {}
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        for label, value in by_number.get(number, {}).items():
            values = shares.setdefault(label, {})
            values[value] = values.get(value, 0.0) + count / len(rows)
    return shares, len(rows)
