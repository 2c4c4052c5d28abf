"""Novel vectors: the share of recent vectors in regions where there were hardly any before, and the clearest of them.

The density ratio of a vector is estimated from its 12 nearest neighbours (as in Loftsgaarden, Quesenberry 1965): the
number of recent ones among them, relative to the share of recent vectors among all. A recent vector is novel when its
ratio is above that of nearly all earlier vectors.
"""

from typing import NamedTuple

import numpy as np
from leeboard.detectors.core.algebra import Sums
from leeboard.detectors.core.jit import Floats, Integers, Record, kernel

from .store import LARGEST_CODE, MOST_DIMENSIONS, index_of, oldest, seen, vector_of

NEIGHBOURS = 12
#: most recent vectors that are compared, and earlier ones for each of them
MOST_RECENT, EARLIER_FOR_ONE = 200, 2
#: share of earlier vectors whose ratio is as high as that of a novel one
BACKGROUND = 0.03
#: vectors are novel when the share of ratios that high is so many standard errors above the background
STANDARD_ERRORS = 3.5
#: larger than any squared distance
FARTHEST = np.int32(2**31 - 1)
assert MOST_DIMENSIONS * (2 * LARGEST_CODE) ** 2 < FARTHEST
#: vectors needed on either side
FEWEST = 40
assert FEWEST > NEIGHBOURS


class Novel(NamedTuple):
    """Share of novel vectors among the recent ones, and the indices of the clearest, clearest first."""

    share: float
    indices: tuple[int, ...]


@kernel
def distances(store: Record, kind: int, first: int, events: Integers, k: int, squares: Sums) -> None:
    """Write the squared distances (events,) of events[k] to all `events`, over the coordinates from `first` on."""
    own = vector_of(store, kind, events[k])
    for m in range(events.size):
        other = vector_of(store, kind, events[m])
        total = np.int32(0)
        for j in range(first, own.size):
            step = np.int32(np.int32(own[j]) - np.int32(other[j]))
            total = np.int32(total + np.int32(step * step))
        squares[m] = total


@kernel
def ratios(store: Record, kind: int, first: int, events: Integers, recent: int, found: Floats) -> None:
    """Write the density ratio (events,) of every event: the last `recent` events against the others."""
    n = events.size
    earlier = n - recent
    squares = np.zeros(n, np.int32)
    for k in range(n):
        distances(store, kind, first, events, k, squares)
        squares[k] = FARTHEST
        recent_neighbours = 0
        for _ in range(NEIGHBOURS):
            nearest = 0
            for m in range(n):
                if squares[m] < squares[nearest]:
                    nearest = m
            recent_neighbours += 1 if nearest >= earlier else 0
            squares[nearest] = FARTHEST
        others_recent = recent - (1 if k >= earlier else 0)
        others_earlier = earlier - (0 if k >= earlier else 1)
        density = (recent_neighbours + 0.5) / others_recent
        found[k] = density / ((NEIGHBOURS - recent_neighbours + 0.5) / others_earlier)


def novel(store: Record, kind: int, since: int, first: int = 0, most: int = 5) -> Novel | None:
    """Novel vectors among those since event `since`; None where too few are on either side, or none are novel.

    Only coordinates from `first` on are compared; at most `most` indices are returned.
    """
    last, begin = int(seen(store, kind)), int(oldest(store, kind))
    recent = np.arange(max(since, begin, last - MOST_RECENT), last)
    earlier = np.arange(max(begin, since - EARLIER_FOR_ONE * len(recent)), min(since, last))
    if len(recent) < FEWEST or len(earlier) < FEWEST:
        return None
    events = np.concatenate([earlier, recent])
    found = np.zeros(len(events))
    ratios(store, kind, first, events, len(recent), found)
    background = np.sort(found[: len(earlier)])
    limit = background[int((1.0 - BACKGROUND) * len(background))]
    own = found[len(earlier) :]
    share = float((own > limit).mean()) - BACKGROUND
    error = (BACKGROUND * (1.0 - BACKGROUND) / len(recent) + 1e-4) ** 0.5
    if share < STANDARD_ERRORS * error:
        return None
    order = sorted(range(len(own)), key=lambda k: (-own[k], k))
    chosen = [k for k in order if own[k] > limit][:most]
    return Novel(share, tuple(int(index_of(store, kind, int(recent[k]))) for k in chosen))
