"""Sequential ranks in bounded memory: any value becomes an exactly uniform number while nothing changes.

The first `EXACT` values are ranked exactly. Then 43 of their order statistics become the edges of 44 bins, and every
bin keeps its number of *gaps* (a Polya urn): for exchangeable values the next one falls into a bin with probability
gaps / total, whatever their law, so the randomised rank is exactly uniform and independent of the earlier ones
(smoothed conformal p-values: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005). Two ladders keep
the 16 largest values above the top edge and the 16 smallest below the bottom edge with their exact ranks, so that the
resolution in the tails grows with the number of values.
"""

import numpy as np

from .jit import Floats32, Record, Value, kernel

#: values that are ranked exactly before the bins are frozen
EXACT = 255
#: extremes kept on each side
LADDER = 16


def _edge_ranks() -> list[int]:
    """1-based ranks, among the first EXACT values, of those that become edges: finer in both tails."""
    tail = [1, 2, 3, 4, 6, 8, 12, 16, 24]
    middle = list(range(32, EXACT + 1 - 31, (EXACT + 1) // 32))
    return tail + middle + [EXACT + 1 - rank for rank in reversed(tail)]


EDGE_RANKS = np.array(_edge_ranks(), np.int64)
EDGES = EDGE_RANKS.size
BINS = EDGES + 1
TOP = EDGES - 1
# once the bins are frozen, `values` holds: edges, the largest (ascending), the smallest (ascending)
HIGH = EDGES
LOW = EDGES + LADDER

REFERENCE = np.dtype(
    [
        ("values", "f4", EXACT),  # young: sorted values; later: edges and ladders
        ("gaps", "i4", BINS),
        ("seen", "i4"),
        ("highs", "i4"),  # filled places of the upper ladder
        ("lows", "i4"),
        ("total", "i4"),  # gaps in all, seen + 1
        ("frozen", "i4"),  # 1 once the values are bins
        ("sum", "f8"),  # of the values, for their mean
        ("squares", "f8"),
    ],
    align=True,
)


@kernel
def clear(ref: Record) -> None:
    """Forget everything."""
    ref["seen"] = 0
    ref["highs"] = 0
    ref["lows"] = 0
    ref["total"] = 0
    ref["frozen"] = 0
    ref["sum"] = 0.0
    ref["squares"] = 0.0


@kernel
def first_not_below(values: Floats32, size: int, y: Value) -> int:
    """Number of the first `size` ascending values that are smaller than y."""
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
    """Gaps in the bins before bin b."""
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
        values[k] = 0.0  # the ladders' places; what lies beyond them is nothing, and compresses to nothing
    ref["total"] = EXACT + 1
    ref["frozen"] = 1
    gaps[EDGES] = EXACT + 1 - previous


@kernel
def rank_warm_up(ref: Record, y: Value, v: float) -> float:
    """Exact randomised rank among at most EXACT values; learns y."""
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
def rank_above(ref: Record, y: Value, v: float) -> float:
    """Rank of a value above the top edge, by the ladder of the largest; learns y on the ladder."""
    highs = ref["highs"]
    ladder = ref["values"][HIGH : HIGH + LADDER]
    gaps, total = ref["gaps"][EDGES], ref["total"]
    j = 0
    while j < highs and ladder[j] < y:
        j += 1
    u: float
    hidden = gaps - 1 - highs  # values above the edge that are not on the ladder, all of them below it
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
def rank_below(ref: Record, y: Value, v: float) -> float:
    """Rank of a value at or below the bottom edge, by the ladder of the smallest; learns y on the ladder."""
    lows = ref["lows"]
    ladder = ref["values"][LOW : LOW + LADDER]
    gaps, total = ref["gaps"][0], ref["total"]
    j = 0
    while j < lows and ladder[j] < y:
        j += 1
    # the edge itself is one of the values of this bin and bounds its last gap
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
    """Randomised rank in (0, 1) of `value` among the values seen so far; the reference then learns it.

    `v` is uniform on (0, 1) and independent of the values. O(1) memory; exact under exchangeability.
    """
    y = np.float32(value)
    kept = np.float64(y)
    ref["sum"] += kept
    ref["squares"] += kept * kept
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
    """Randomised rank of `value` in a reference that does not learn it."""
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
def drop_from_ladder(ladder: Floats32, size: int, y: Value) -> int:
    """Remove y from an ascending ladder, if it stands there; returns the new size."""
    at = first_not_below(ladder, size, y)
    if at == size or ladder[at] != y:
        return size
    for i in range(at, size - 1):
        ladder[i] = ladder[i + 1]
    return size - 1


@kernel
def forget(ref: Record, value: float) -> None:
    """Take back one value that was ranked before (the edges stay where they are)."""
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
        if ref["gaps"][b] <= 1:  # the value went into the edges when they were frozen
            return
        ref["gaps"][b] -= 1
        if b == EDGES:
            ref["highs"] = drop_from_ladder(values[HIGH : HIGH + LADDER], ref["highs"], y)
        elif b == 0:
            ref["lows"] = drop_from_ladder(values[LOW : LOW + LADDER], ref["lows"], y)
    kept = np.float64(y)
    ref["seen"] = t - 1
    ref["total"] -= 1
    ref["sum"] -= kept
    ref["squares"] -= kept * kept


@kernel
def median(ref: Record) -> float:
    """Median of the values seen (of the first EXACT ones, once the bins are frozen, refined by the gap counts)."""
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
    """Mean of the values seen."""
    average: float = ref["sum"] / ref["seen"] if ref["seen"] > 0 else np.nan
    return average


@kernel
def variance(ref: Record) -> float:
    """Variance of the values seen."""
    n = ref["seen"]
    if n < 2:
        return 0.0
    centre = ref["sum"] / n
    spread: float = max(ref["squares"] / n - centre * centre, 0.0) * n / (n - 1.0)
    return spread
