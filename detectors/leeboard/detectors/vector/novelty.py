"""Are there new ones? The share of recent vectors that lie where hardly any lay before, and calls that show it.

Density ratio by nearest neighbours (as in Loftsgaarden, Quesenberry 1965): how many of the 12 vectors nearest to one
are recent, beside what their number among all would give. Recent vectors whose ratio is above that of nearly all
earlier ones sit in a region of their own.
"""

from typing import NamedTuple

import numpy as np
from leeboard.detectors.core.algebra import Sums
from leeboard.detectors.core.jit import Floats, Integers, Record, kernel

from .store import call_of, oldest, seen, vector_of

NEIGHBOURS = 12
#: recent vectors looked at, and earlier ones for each of them
MOST_RECENT, EARLIER_FOR_ONE = 200, 2
#: share of earlier vectors that also have a ratio as high
BACKGROUND = 0.03
#: the share is told when it is so many standard errors above the background
STANDARD_ERRORS = 3.5
#: farther than any two vectors are
FARTHEST = np.int32(2**31 - 1)
#: vectors needed on either side
FEWEST = 40


class Novel(NamedTuple):
    """Share of recent vectors in regions of their own, and the numbers of their calls, the clearest first."""

    share: float
    calls: tuple[int, ...]


@kernel
def distances(space: Record, kind: int, first: int, events: Integers, k: int, squares: Sums) -> None:
    """Squared distances of events[k] to all of `events`, over the coordinates from `first` on."""
    own = vector_of(space, kind, events[k])
    for m in range(events.size):
        other = vector_of(space, kind, events[m])
        total = np.int32(0)
        for j in range(first, own.size):
            step = np.int32(np.int32(own[j]) - np.int32(other[j]))
            total = np.int32(total + np.int32(step * step))
        squares[m] = total


@kernel
def ratios(space: Record, kind: int, first: int, events: Integers, recent: int, found: Floats) -> None:
    """Write how dense the last `recent` of the events are around each, beside the others."""
    n = events.size
    earlier = n - recent
    squares = np.zeros(n, np.int32)
    for k in range(n):
        distances(space, kind, first, events, k, squares)
        squares[k] = FARTHEST
        new = 0
        for _ in range(NEIGHBOURS):
            nearest = 0
            for m in range(n):
                if squares[m] < squares[nearest]:
                    nearest = m
            new += 1 if nearest >= earlier else 0
            squares[nearest] = FARTHEST
        own_new = recent - (1 if k >= earlier else 0)
        own_old = earlier - (0 if k >= earlier else 1)
        density = (new + 0.5) / own_new
        found[k] = density / ((NEIGHBOURS - new + 0.5) / own_old)


def novel(space: Record, kind: int, since: int, first: int = 0, most: int = 5) -> Novel | None:
    """New vectors among those since event `since`; None where there are too few on either side, or none is new.

    Only coordinates from `first` on are looked at; at most `most` calls are named.
    """
    last, begin = int(seen(space, kind)), int(oldest(space, kind))
    recent = np.arange(max(since, begin, last - MOST_RECENT), last)
    earlier = np.arange(max(begin, since - EARLIER_FOR_ONE * len(recent)), min(since, last))
    if len(recent) < FEWEST or len(earlier) < FEWEST:
        return None
    events = np.concatenate([earlier, recent])
    found = np.zeros(len(events))
    ratios(space, kind, first, events, len(recent), found)
    usual = np.sort(found[: len(earlier)])
    limit = usual[int((1.0 - BACKGROUND) * len(usual))]
    new = found[len(earlier) :]
    share = float((new > limit).mean()) - BACKGROUND
    error = (BACKGROUND * (1.0 - BACKGROUND) / len(recent) + 1e-4) ** 0.5
    if share < STANDARD_ERRORS * error:
        return None
    order = sorted(range(len(new)), key=lambda k: (-new[k], k))
    chosen = [k for k in order if new[k] > limit][:most]
    return Novel(share, tuple(int(call_of(space, kind, int(recent[k]))) for k in chosen))
