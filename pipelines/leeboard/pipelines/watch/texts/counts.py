"""Which features and style tokens of a scope's texts have shifted: their counts before and after a change.

Counted are sums of features, and for every token of the style vocabulary its document frequency: the number of texts
that use it. Counts are held in blocks of events, so that `set_split_point` can divide them near any recent change.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from leeboard.detectors.core.algebra import Bytes
from leeboard.detectors.core.jit import Floats32, Record, kernel

#: events of a block, and number of blocks: a split point can be so many blocks back
SPLIT_EVENTS, SPLIT_BLOCKS = 32, 16
assert SPLIT_EVENTS <= 255  # counts of a block are bytes
#: number of texts from which on the counts are halved, so that older texts count for less
HALVED_AFTER = 8192
#: a feature or token has shifted when the difference is so many standard errors: some 300 are compared, and in one of
#: 100 reports there is a false one
STANDARD_ERRORS = 4.2
#: texts needed on either side of the split point
FEWEST_TEXTS = 8.0
#: shifts in sd are clipped here; it is also the shift of a feature that never varied before
LARGEST_SD = 100.0


def side_dtype(features: int, tokens: int) -> np.dtype[Any]:
    """Counts of one side of a scope's calls (inputs or outputs), for so many features and tokens."""
    counts = np.dtype(
        [("texts", "f8"), ("sums", "f8", features), ("squares", "f8", features), ("document_frequency", "f4", tokens)],
        align=True,
    )
    block = np.dtype(
        [("texts", "i8"), ("sums", "f8", features), ("squares", "f8", features), ("document_frequency", "u1", tokens)],
        align=True,
    )
    return np.dtype(
        [
            ("events", "i8"),
            ("older", counts),  # sums of the blocks that have left the ring
            ("blocks", block, SPLIT_BLOCKS),  # ring
            ("split", "i8"),  # 1 where there is a split point
            ("before", counts),  # counts before the split point
        ],
        align=True,
    )


class ShiftedFeature(NamedTuple):
    """A shifted feature: its number, its means before and after, and their difference in standard deviations before."""

    feature: int
    before: float
    after: float
    sd: float


class ShiftedToken(NamedTuple):
    """A token with a shifted document frequency: its number, and the shares of texts that use it before and after."""

    token: int
    before: float
    after: float


@kernel
def count_text(side: Record, features: Floats32, style: Bytes) -> None:
    """Count one text. `features`: (features,); `style`: (tokens,), all zeros where it was not measured."""
    block = side["blocks"][side["events"] // SPLIT_EVENTS % SPLIT_BLOCKS]
    if side["events"] % SPLIT_EVENTS == 0:
        if side["split"] == 0 and side["older"]["texts"] >= HALVED_AFTER:
            halve(side["older"])
        add(side["older"], block)
        empty(block)
    side["events"] += 1
    block["texts"] += 1
    for k in range(features.size):
        x = np.float64(features[k])
        block["sums"][k] += x
        block["squares"][k] += x * x
    for k in range(style.size):
        block["document_frequency"][k] += np.uint8(1 if style[k] > 0 else 0)


@kernel
def add(counts: Record, block: Record) -> None:
    """Add the counts of a block to other counts."""
    counts["texts"] += np.float64(block["texts"])
    for k in range(counts["sums"].size):
        counts["sums"][k] += block["sums"][k]
        counts["squares"][k] += block["squares"][k]
    for k in range(counts["document_frequency"].size):
        counts["document_frequency"][k] += np.float32(block["document_frequency"][k])


@kernel
def empty(block: Record) -> None:
    """Forget the counts of a block."""
    block["texts"] = 0
    block["sums"][:] = 0.0
    block["squares"][:] = 0.0
    block["document_frequency"][:] = 0


@kernel
def halve(counts: Record) -> None:
    """Let what was counted weigh half."""
    counts["texts"] *= 0.5
    for k in range(counts["sums"].size):
        counts["sums"][k] *= 0.5
        counts["squares"][k] *= 0.5
    for k in range(counts["document_frequency"].size):
        counts["document_frequency"][k] *= np.float32(0.5)


@kernel
def set_split_point(side: Record, since: int) -> None:
    """Set the split point before event `since`: to the nearest block, and at most as far back as the blocks go."""
    newest = (side["events"] - 1) // SPLIT_EVENTS
    first = (since + SPLIT_EVENTS // 2) // SPLIT_EVENTS
    side["split"] = 1
    side["before"] = side["older"]
    for number in range(max(newest - SPLIT_BLOCKS + 1, 0), min(first, newest + 1)):
        add(side["before"], side["blocks"][number % SPLIT_BLOCKS])


@kernel
def merge_counts(side: Record, accepted: bool) -> None:
    """Remove the split point; where the change was `accepted`, the counts before it are forgotten."""
    side["split"] = 0
    if not accepted:
        return
    older, before = side["older"], side["before"]
    for b in range(SPLIT_BLOCKS):
        add(older, side["blocks"][b])
        empty(side["blocks"][b])
    add_counts(older, before, -1.0)


@kernel
def restart_side(side: Record) -> None:
    """Forget all counts."""
    side["events"] = 0
    side["split"] = 0
    clear_counts(side["older"])
    clear_counts(side["before"])
    for b in range(SPLIT_BLOCKS):
        empty(side["blocks"][b])


@kernel
def clear_counts(counts: Record) -> None:
    """Set all counts to zero."""
    counts["texts"] = 0.0
    counts["sums"][:] = 0.0
    counts["squares"][:] = 0.0
    counts["document_frequency"][:] = 0.0


@kernel
def counts_after(side: Record, after: Record) -> None:
    """Write the counts since the split point into `after`, whose counts are all zero."""
    before = side["before"]
    add_counts(after, side["older"], 1.0)
    for b in range(SPLIT_BLOCKS):
        add(after, side["blocks"][b])
    add_counts(after, before, -1.0)


@kernel
def add_counts(counts: Record, other: Record, sign: float) -> None:
    """Add other counts (`sign` 1), or subtract them (-1)."""
    counts["texts"] += sign * other["texts"]
    for k in range(counts["sums"].size):
        counts["sums"][k] += sign * other["sums"][k]
        counts["squares"][k] += sign * other["squares"][k]
    for k in range(counts["document_frequency"].size):
        counts["document_frequency"][k] += np.float32(sign * np.float64(other["document_frequency"][k]))


def texts_before(side: Record) -> float:
    """Number of texts before the split point; older ones count for less."""
    return float(side["before"]["texts"])


def texts_since(side: Record) -> float:
    """Number of texts since the split point."""
    return float(side["older"]["texts"]) + float(side["blocks"]["texts"].sum()) - texts_before(side)


def _both(side: Record) -> tuple[Record, Record] | None:
    """Counts before and after the split point; None where there is none, or too few texts on one side."""
    before = side["before"]
    after = np.zeros(1, before.dtype)[0]
    counts_after(side, after)
    enough = side["split"] != 0 and before["texts"] >= FEWEST_TEXTS and after["texts"] >= FEWEST_TEXTS
    return (before, after) if enough else None


def shifted_features(side: Record) -> list[ShiftedFeature]:
    """Features whose mean has shifted since the split point, clearest first."""
    both = _both(side)
    if both is None:
        return []
    old, new = both
    n, m = float(old["texts"]), float(new["texts"])
    found = []
    for k in range(len(old["sums"])):
        before, after = float(old["sums"][k]) / n, float(new["sums"][k]) / m
        variance = max(float(old["squares"][k]) / n - before * before, 0.0)
        later = max(float(new["squares"][k]) / m - after * after, 0.0)
        error = math.sqrt(variance / n + max(variance, later) / m)
        if abs(after - before) > STANDARD_ERRORS * error:
            sd = (after - before) / math.sqrt(variance) if variance > 0.0 else math.copysign(LARGEST_SD, after - before)
            sd = min(max(sd, -LARGEST_SD), LARGEST_SD)
            found.append((-abs(after - before) / max(error, 1e-12), ShiftedFeature(k, before, after, sd)))
    return [shifted for _, shifted in sorted(found)]


def shifted_tokens(side: Record) -> list[ShiftedToken]:
    """Tokens whose document frequency has shifted since the split point, clearest first."""
    both = _both(side)
    if both is None:
        return []
    old, new = both
    n, m = float(old["texts"]), float(new["texts"])
    found = []
    for k in range(len(old["document_frequency"])):
        before, after = float(old["document_frequency"][k]) / n, float(new["document_frequency"][k]) / m
        share = (float(old["document_frequency"][k]) + float(new["document_frequency"][k]) + 1.0) / (n + m + 2.0)
        error = math.sqrt(share * (1.0 - share) * (1.0 / n + 1.0 / m))
        if abs(after - before) - 0.5 / m > STANDARD_ERRORS * error:
            found.append((-abs(after - before) / error, ShiftedToken(k, before, after)))
    return [shifted for _, shifted in sorted(found)]
