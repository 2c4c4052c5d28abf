"""Sequential ranks in bounded memory: while nothing changes, the rank of every value is exactly uniform.

The first `EXACT` values are ranked exactly. Then 43 of their order statistics become the edges of 44 bins, and every
bin counts its *gaps* (a Polya urn): the next exchangeable value falls into a bin with probability gaps / total,
whatever the law. The randomised rank is therefore exactly uniform and independent of the earlier ones (smoothed
conformal p-values: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005). Two ladders hold the 16
largest values above the top edge and the 16 smallest below the bottom edge with their exact ranks, so the resolution in
the tails grows with the number of values.
"""

import numpy as np

from .jit import Floats32, Record, Single, kernel

#: values that are ranked exactly before they become bins
EXACT = 255
#: extreme values held on each side
LADDER = 16


def _edge_ranks() -> list[int]:
    """1-based ranks of the order statistics of the first EXACT values that become edges; denser in both tails."""
    tail = [1, 2, 3, 4, 6, 8, 12, 16, 24]
    middle = list(range(32, EXACT + 1 - 31, (EXACT + 1) // 32))
    return tail + middle + [EXACT + 1 - rank for rank in reversed(tail)]


EDGE_RANKS = np.array(_edge_ranks(), np.int64)
EDGES = EDGE_RANKS.size
BINS = EDGES + 1
TOP = EDGES - 1
#: once the values are bins, `values` holds the edges, from HIGH on the largest, from LOW on the smallest (all
#: ascending)
HIGH = EDGES
LOW = EDGES + LADDER
assert LOW + LADDER <= EXACT

REFERENCE = np.dtype(
    [
        ("values", "f4", EXACT),  # sorted values; edges and ladders once the values are bins
        ("gaps", "i4", BINS),
        ("seen", "i4"),  # number of values
        ("highs", "i4"),  # number of values on the upper ladder
        ("lows", "i4"),  # number of values on the lower ladder
        ("total", "i4"),  # sum of all gaps, seen + 1
        ("frozen", "i4"),  # 1 once the values are bins
        ("sum", "f8"),  # of the values
        ("squares", "f8"),  # sum of the squared values
    ],
    align=True,
)


@kernel
def clear(ref: Record) -> None:
    """Forget all values."""
    ref["seen"] = 0
    ref["highs"] = 0
    ref["lows"] = 0
    ref["total"] = 0
    ref["frozen"] = 0
    ref["sum"] = 0.0
    ref["squares"] = 0.0


@kernel
def first_not_below(values: Floats32, size: int, y: Single) -> int:
    """Index of the first of `size` ascending values that is not below y; `size` where there is none."""
    low, high = 0, size
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < y:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def gaps_below(ref: Record, b: int) -> int:
    """Sum of the gaps in the bins below bin b."""
    gaps = ref["gaps"]
    below = 0
    for a in range(b):
        below += gaps[a]
    return below


@kernel
def freeze(ref: Record) -> None:
    """Turn the EXACT sorted values into bins and empty ladders."""
    values, gaps = ref["values"], ref["gaps"]
    previous = 0
    for b in range(EDGES):
        rank = EDGE_RANKS[b]
        values[b] = values[rank - 1]  # rank - 1 >= b: what is read was not yet overwritten
        gaps[b] = rank - previous
        previous = rank
    for k in range(EDGES, EXACT):
        values[k] = 0.0  # clears the ladders; the rest is not used, and zeros compress well
    ref["total"] = EXACT + 1
    ref["frozen"] = 1
    gaps[EDGES] = EXACT + 1 - previous


@kernel
def rank_warm_up(ref: Record, y: Single, v: float) -> float:
    """Exact randomised rank of y among at most EXACT values, then adds y to them. `v`: uniform on (0, 1)."""
    values = ref["values"]
    t = ref["seen"]
    at = first_not_below(values, t, y)
    equal = 0
    while at + equal < t and values[at + equal] == y:
        equal += 1
    u: float = (at + v * (equal + 1)) / (t + 1.0)
    for j in range(t, at, -1):
        values[j] = values[j - 1]
    values[at] = y
    ref["seen"] = t + 1
    ref["total"] = t + 2
    if t == EXACT - 1:
        freeze(ref)
    return u


@kernel
def rank_above(ref: Record, y: Single, v: float) -> float:
    """Randomised rank of a value above the top edge, from the upper ladder; then adds y to the ladder."""
    highs = ref["highs"]
    ladder = ref["values"][HIGH : HIGH + LADDER]
    gaps, total = ref["gaps"][EDGES], ref["total"]
    j = 0
    while j < highs and ladder[j] < y:
        j += 1
    u: float
    hidden = gaps - 1 - highs  # values above the edge that are not on the ladder; all of them lie below it
    if hidden <= 0:
        u = (total - gaps + j + v) / total
    elif j == 0:
        u = (total - gaps + v * (gaps - highs)) / total
    else:
        u = (total - highs + j - 1 + v) / total
    if highs < LADDER:
        if hidden <= 0 or j > 0:
            for i in range(highs, j, -1):
                ladder[i] = ladder[i - 1]
            ladder[j] = y
            ref["highs"] = highs + 1
    elif j > 0:
        for i in range(j - 1):
            ladder[i] = ladder[i + 1]
        ladder[j - 1] = y
    return u


@kernel
def rank_below(ref: Record, y: Single, v: float) -> float:
    """Randomised rank of a value at or below the bottom edge, from the lower ladder; then adds y to the ladder."""
    lows = ref["lows"]
    ladder = ref["values"][LOW : LOW + LADDER]
    gaps, total = ref["gaps"][0], ref["total"]
    j = 0
    while j < lows and ladder[j] < y:
        j += 1
    # the edge is itself a value of this bin, and bounds its last gap
    hidden = gaps - 1 - lows
    u: float = (lows + v * (gaps - lows)) / total if hidden > 0 and j == lows else (j + v) / total
    if lows < LADDER:
        if hidden <= 0 or j < lows:
            for i in range(lows, j, -1):
                ladder[i] = ladder[i - 1]
            ladder[j] = y
            ref["lows"] = lows + 1
    elif j < lows:
        for i in range(lows - 1, j, -1):
            ladder[i] = ladder[i - 1]
        ladder[j] = y
    return u


@kernel
def rank(ref: Record, value: float, v: float) -> float:
    """Randomised rank, in (0, 1), of `value` among the values seen so far; then adds it to the reference.

    `v` is uniform on (0, 1) and independent of the values. O(1) memory; exactly uniform under exchangeability.
    """
    y = np.float32(value)
    stored = np.float64(y)
    ref["sum"] += stored
    ref["squares"] += stored * stored
    if ref["frozen"] == 0:
        return rank_warm_up(ref, y, v)
    b = first_not_below(ref["values"], EDGES, y)
    if b == EDGES:
        u = rank_above(ref, y, v)
    elif b == 0:
        u = rank_below(ref, y, v)
    else:
        u = (gaps_below(ref, b) + v * ref["gaps"][b]) / ref["total"]
    ref["gaps"][b] += 1
    ref["total"] += 1
    ref["seen"] += 1
    return u


@kernel
def rank_frozen(ref: Record, value: float, v: float) -> float:
    """Randomised rank, in (0, 1), of `value` in a reference to which it is not added. `v`: uniform on (0, 1)."""
    y = np.float32(value)
    u: float
    if ref["frozen"] == 0:
        t = ref["seen"]
        u = (first_not_below(ref["values"], t, y) + v) / (t + 1.0)
    else:
        b = first_not_below(ref["values"], EDGES, y)
        u = (gaps_below(ref, b) + v * ref["gaps"][b]) / ref["total"]
    return u


@kernel
def drop_from_ladder(ladder: Floats32, size: int, y: Single) -> int:
    """Remove y from the first `size` ascending values of a ladder, if it is there; returns the new size."""
    at = first_not_below(ladder, size, y)
    if at == size or ladder[at] != y:
        return size
    for i in range(at, size - 1):
        ladder[i] = ladder[i + 1]
    return size - 1


@kernel
def forget(ref: Record, value: float) -> None:
    """Remove one value that was ranked before; the edges of bins do not move."""
    y = np.float32(value)
    values, t = ref["values"], ref["seen"]
    if t == 0:
        return
    if ref["frozen"] == 0:
        left = drop_from_ladder(values, t, y)
        if left == t:
            return
    else:
        b = first_not_below(values, EDGES, y)
        if ref["gaps"][b] <= 1:  # no value but the edge is left in the bin
            return
        ref["gaps"][b] -= 1
        if b == EDGES:
            ref["highs"] = drop_from_ladder(values[HIGH : HIGH + LADDER], ref["highs"], y)
        elif b == 0:
            ref["lows"] = drop_from_ladder(values[LOW : LOW + LADDER], ref["lows"], y)
    stored = np.float64(y)
    ref["seen"] = t - 1
    ref["total"] -= 1
    ref["sum"] -= stored
    ref["squares"] -= stored * stored


@kernel
def median(ref: Record) -> float:
    """Median of the values seen, NaN for none; once the values are bins, interpolated between edges by gap counts."""
    values, t = ref["values"], ref["seen"]
    if t == 0:
        return np.nan
    if ref["frozen"] == 0:
        return np.float64(values[t >> 1])
    half = 0.5 * ref["total"]
    below = 0.0
    for b in range(BINS):
        inside = np.float64(ref["gaps"][b])
        if below + inside >= half:
            if b == 0:
                return np.float64(values[0])
            if b == EDGES:
                return np.float64(values[TOP])
            left, right = np.float64(values[b - 1]), np.float64(values[b])
            between: float = left + (right - left) * (half - below) / inside
            return between
        below += inside
    return np.float64(values[TOP])


@kernel
def mean(ref: Record) -> float:
    """Mean of the values seen, NaN for none."""
    average: float = ref["sum"] / ref["seen"] if ref["seen"] > 0 else np.nan
    return average


@kernel
def variance(ref: Record) -> float:
    """Unbiased variance of the values seen, 0 for fewer than two."""
    n = ref["seen"]
    if n < 2:
        return 0.0
    centre = ref["sum"] / n
    spread: float = max(ref["squares"] / n - centre * centre, 0.0) * n / (n - 1.0)
    return spread
