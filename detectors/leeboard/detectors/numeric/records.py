"""Bets on record values: a stream that leaves the range of everything it has ever shown.

Ranks say that a value is the largest so far, not by how much, and a predictable stream explains the next one by the one
before. Three times the latency after 150 calls of a wandering stream is hence seen late or never by rank and residual.
Here a hit is a value beyond the largest of all values older than LAG events, by a margin. With n older values, and j of
the LAG newer ones beyond their largest, the next exchangeable value goes beyond it with probability
(j + 1) / (n + LAG + 1) at most, whatever their law; the bet "half of the values do" pays out accordingly
(Shiryaev-Roberts). The same for the smallest values.
"""

import numpy as np
from leeboard.detectors.core.jit import Floats32, Record, kernel

from .dependence import LAG

#: how far beyond the record a hit lies, in transformed units: 10 %, for logarithmic values; a smooth walk creeps beyond
#: its record by less
MARGIN = 0.1
#: older values needed
NEEDED = 64
#: share of hits that is bet on
SHARE = 0.5
#: hits needed: fewer are outliers
HITS_NEEDED = 4
#: a wealth below this has no run behind it
IDLE = 2.0
#: weight of each side beside the tempered bets
WEIGHT = 0.025
CAP = 1e250

RECORDS = np.dtype(
    [
        ("record", "f8", 2),  # largest value older than LAG events, and largest of their negatives
        ("older", "i8"),
        ("wealth", "f8", 2),
        ("hits", "i8", 2),  # of the run behind the wealth
        ("start", "i8", 2),  # event at which it began
    ],
    align=True,
)


@kernel
def clear_records(r: Record) -> None:
    """Take the wealth off the table."""
    for side in range(2):
        r["wealth"][side] = 0.0
        r["hits"][side] = 0


@kernel
def restart_records(r: Record) -> None:
    """Forget the records: the values mean something else now."""
    r["older"] = 0
    clear_records(r)


@kernel
def age_records(r: Record, values: Floats32, t: int) -> None:
    """Let the value of LAG events ago join the older ones. `values`: ring of recent values, before event t's."""
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
    """How many of the last LAG values are beyond the record."""
    count = 0
    for event in range(t - LAG, t):
        value = np.float64(values[event % values.size])
        if (value if side == 0 else -value) > r["record"][side]:
            count += 1
    return count


@kernel
def bet_on_records(r: Record, values: Floats32, y: float, t: int) -> tuple[float, int]:
    """Play both sides on value y of event t: the weighted wealth of runs with enough hits, start of the larger one."""
    age_records(r, values, t)
    if r["older"] < NEEDED:
        return 0.0, t
    total, best, start = 0.0, 0.0, t
    for side in range(2):
        if r["wealth"][side] < IDLE:
            r["start"][side] = t
            r["hits"][side] = 0
        beyond = (y if side == 0 else -y) - r["record"][side]
        pay_out = 1.0 - SHARE
        if beyond > MARGIN:
            r["hits"][side] += 1
            pay_out = max(SHARE * (r["older"] + LAG + 1.0) / (newer_beyond(r, values, side, t) + 1.0), pay_out)
        r["wealth"][side] = min((r["wealth"][side] + 1.0) * pay_out, CAP)
        if r["hits"][side] >= HITS_NEEDED:
            total += WEIGHT * r["wealth"][side]
            if r["wealth"][side] > best:
                best = r["wealth"][side]
                start = r["start"][side]
    return total, start
