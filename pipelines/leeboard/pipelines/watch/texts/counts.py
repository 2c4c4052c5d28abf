"""What moved in a text, told without its words: means of features and shares of texts that use a token.

Counts go on in blocks of events, so that they can be split near any recent change: `mark` puts aside what was before.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from leeboard.detectors.core.algebra import Bytes
from leeboard.detectors.core.jit import Floats32, Record, kernel

#: events of a block, and blocks by which a change can be looked back on
SPLIT_EVENTS, SPLIT_BLOCKS = 32, 16
#: events after which the counts are halved: what is older counts for less
HALVED_AFTER = 8192
#: a feature or token has moved when its difference is so many standard errors: one false one in 100 reports of some 300
STANDARD_ERRORS = 4.2
#: texts needed on either side of the change
FEWEST_TEXTS = 8.0
#: a feature that never varied before has moved by this much
LARGEST_SD = 100.0


def side_dtype(features: int, tokens: int) -> np.dtype[Any]:
    """Counts of one side (what comes in, or what goes out)."""
    counts = np.dtype(
        [("texts", "f8"), ("sums", "f8", features), ("squares", "f8", features), ("users", "f4", tokens)], align=True
    )
    block = np.dtype(
        [("texts", "i8"), ("sums", "f8", features), ("squares", "f8", features), ("users", "u1", tokens)], align=True
    )
    return np.dtype(
        [
            ("events", "i8"),
            ("older", counts),  # what has left the blocks; `users`: texts that use the token
            ("blocks", block, SPLIT_BLOCKS),  # ring
            ("split", "i8"),  # 1 where a change is marked
            ("before", counts),  # what was before it
        ],
        align=True,
    )


class MovedFeature(NamedTuple):
    """A feature that moved: its number, its means, and the difference in standard deviations of before."""

    feature: int
    before: float
    after: float
    sd: float


class MovedToken(NamedTuple):
    """A token whose use moved: its number, and the shares of texts that use it."""

    token: int
    before: float
    after: float


@kernel
def count_text(side: Record, features: Floats32, style: Bytes) -> None:
    """Count one text; `style` all zeros where it was not measured."""
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
        block["users"][k] += np.uint8(1 if style[k] > 0 else 0)


@kernel
def add(counts: Record, block: Record) -> None:
    """Add the counts of a block."""
    counts["texts"] += np.float64(block["texts"])
    for k in range(counts["sums"].size):
        counts["sums"][k] += block["sums"][k]
        counts["squares"][k] += block["squares"][k]
    for k in range(counts["users"].size):
        counts["users"][k] += np.float32(block["users"][k])


@kernel
def empty(block: Record) -> None:
    """Forget the counts of a block."""
    block["texts"] = 0
    block["sums"][:] = 0.0
    block["squares"][:] = 0.0
    block["users"][:] = 0


@kernel
def halve(counts: Record) -> None:
    """Let what was counted weigh half."""
    counts["texts"] *= 0.5
    for k in range(counts["sums"].size):
        counts["sums"][k] *= 0.5
        counts["squares"][k] *= 0.5
    for k in range(counts["users"].size):
        counts["users"][k] *= np.float32(0.5)


@kernel
def mark(side: Record, since: int) -> None:
    """Put aside what was before event `since` (to the nearest block, as far back as the blocks go)."""
    newest = (side["events"] - 1) // SPLIT_EVENTS
    first = (since + SPLIT_EVENTS // 2) // SPLIT_EVENTS
    side["split"] = 1
    side["before"] = side["older"]
    for number in range(max(newest - SPLIT_BLOCKS + 1, 0), min(first, newest + 1)):
        add(side["before"], side["blocks"][number % SPLIT_BLOCKS])


@kernel
def merge_split(side: Record, accepted: bool) -> None:
    """The marked change is over; where it was `accepted`, what was before it is forgotten."""
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
    """Forget the counts of a counts."""
    counts["texts"] = 0.0
    counts["sums"][:] = 0.0
    counts["squares"][:] = 0.0
    counts["users"][:] = 0.0


@kernel
def counts_after(side: Record, after: Record) -> None:
    """Write what was counted since the marked change into an empty counts."""
    before = side["before"]
    add_counts(after, side["older"], 1.0)
    for b in range(SPLIT_BLOCKS):
        add(after, side["blocks"][b])
    add_counts(after, before, -1.0)


@kernel
def add_counts(counts: Record, other: Record, sign: float) -> None:
    """Add another counts, or take it off."""
    counts["texts"] += sign * other["texts"]
    for k in range(counts["sums"].size):
        counts["sums"][k] += sign * other["sums"][k]
        counts["squares"][k] += sign * other["squares"][k]
    for k in range(counts["users"].size):
        counts["users"][k] += np.float32(sign * np.float64(other["users"][k]))


def texts_before(side: Record) -> float:
    """Texts counted before the marked change (older ones count for less)."""
    return float(side["before"]["texts"])


def texts_since(side: Record) -> float:
    """Texts counted since."""
    return float(side["older"]["texts"]) + float(side["blocks"]["texts"].sum()) - texts_before(side)


def _both(side: Record) -> tuple[Record, Record] | None:
    """What was counted before and after the marked change; None where one of them is too little."""
    before = side["before"]
    after = np.zeros(1, before.dtype)[0]
    counts_after(side, after)
    enough = side["split"] != 0 and before["texts"] >= FEWEST_TEXTS and after["texts"] >= FEWEST_TEXTS
    return (before, after) if enough else None


def moved_features(side: Record) -> list[MovedFeature]:
    """Features that moved since the marked change, the clearest first."""
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
            found.append((-abs(after - before) / max(error, 1e-12), MovedFeature(k, before, after, sd)))
    return [moved for _, moved in sorted(found)]


def moved_tokens(side: Record) -> list[MovedToken]:
    """Tokens whose share of texts moved since the marked change, the clearest first."""
    both = _both(side)
    if both is None:
        return []
    old, new = both
    n, m = float(old["texts"]), float(new["texts"])
    found = []
    for k in range(len(old["users"])):
        before, after = float(old["users"][k]) / n, float(new["users"][k]) / m
        share = (float(old["users"][k]) + float(new["users"][k]) + 1.0) / (n + m + 2.0)
        error = math.sqrt(share * (1.0 - share) * (1.0 / n + 1.0 / m))
        if abs(after - before) - 0.5 / m > STANDARD_ERRORS * error:
            found.append((-abs(after - before) / error, MovedToken(k, before, after)))
    return [moved for _, moved in sorted(found)]
