"""Bets on record values: they find a stream that leaves the range of all of its older values.

A rank says that a value is the largest so far, but not by how much; and prewhitening explains a value of a predictable
stream by the one before. Ranks and residuals therefore find three times the latency, after 150 events of an
autocorrelated stream, late or never. Here a hit is a value beyond the largest of all values older than LAG events, by a
margin. With n older values, and j of the LAG newer ones beyond their largest, the next exchangeable value is beyond it
with probability (j + 1) / (n + LAG + 1) at most, whatever the law. The bet "half of the values are hits" has the
e-value that follows from this bound, and a Shiryaev-Roberts process. A second bet does the same for the smallest
values.
"""

import numpy as np
from leeboard.detectors.core.jit import Floats32, Record, kernel

from .dependence import LAG

#: least distance of a hit beyond the record, in transformed units: 10 % for logarithmic values; a smooth walk exceeds
#: its record by less
MARGIN = 0.1
#: older values needed
NEEDED = 64
#: share of hits that is bet on
SHARE = 0.5
#: hits needed: fewer are outliers
HITS_NEEDED = 4
#: a wealth below this marks the start of a run
IDLE = 2.0
#: weight of each side beside the tempered bets
WEIGHT = 0.025
#: upper bound of wealth
CAP = 1e250

RECORDS = np.dtype(
    [
        ("record", "f8", 2),  # largest of the values older than LAG events, and largest of their negatives
        ("older", "i8"),  # number of values older than LAG events
        ("wealth", "f8", 2),  # Shiryaev-Roberts processes
        ("hits", "i8", 2),  # of the current run
        ("start", "i8", 2),  # first event of the current run
    ],
    align=True,
)


@kernel
def clear_records(r: Record) -> None:
    """Set the wealth of both sides to zero."""
    for side in range(2):
        r["wealth"][side] = 0.0
        r["hits"][side] = 0


@kernel
def restart_records(r: Record) -> None:
    """Forget the records: the values mean something else from now on."""
    r["older"] = 0
    clear_records(r)


@kernel
def age_records(r: Record, values: Floats32, t: int) -> None:
    """Add the value of LAG events ago to the older ones. `values`: ring of recent values, without that of event t."""
    if t < LAG:
        return
    late = np.float64(values[(t - LAG) % values.size])
    for side in range(2):
        signed = late if side == 0 else -late
        if r["older"] == 0 or signed > r["record"][side]:
            r["record"][side] = signed
    r["older"] += 1


@kernel
def newer_beyond(r: Record, values: Floats32, side: int, t: int) -> int:
    """Number of the last LAG values that are beyond the record of a side."""
    count = 0
    for event in range(t - LAG, t):
        value = np.float64(values[event % values.size])
        if (value if side == 0 else -value) > r["record"][side]:
            count += 1
    return count


@kernel
def bet_on_records(r: Record, values: Floats32, y: float, t: int) -> tuple[float, int]:
    """Update both sides with value y of event t.

    Returns the weighted wealth of the runs with enough hits, and the first event of the one with the larger wealth.
    `values`: ring of recent values, without that of event t.
    """
    age_records(r, values, t)
    if r["older"] < NEEDED:
        return 0.0, t
    total, best, start = 0.0, 0.0, t
    for side in range(2):
        if r["wealth"][side] < IDLE:
            r["start"][side] = t
            r["hits"][side] = 0
        beyond = (y if side == 0 else -y) - r["record"][side]
        e_value = 1.0 - SHARE
        if beyond > MARGIN:
            r["hits"][side] += 1
            e_value = max(SHARE * (r["older"] + LAG + 1.0) / (newer_beyond(r, values, side, t) + 1.0), e_value)
        r["wealth"][side] = min((r["wealth"][side] + 1.0) * e_value, CAP)
        if r["hits"][side] >= HITS_NEEDED:
            total += WEIGHT * r["wealth"][side]
            if r["wealth"][side] > best:
                best = r["wealth"][side]
                start = r["start"][side]
    return total, start
