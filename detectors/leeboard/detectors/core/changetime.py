"""The time of a change: the split of the recent scores with the largest likelihood ratio."""

from typing import NamedTuple

import numpy as np

from .jit import Floats32, kernel

#: log likelihood ratio below the maximum that still belongs to the interval (about 95 % for one parameter)
WIDTH_NATS = 2.0


class ChangeTime(NamedTuple):
    """The first changed event, as events ago: 0 is the newest event, 1 the one before it."""

    estimate: int
    earliest: int
    latest: int


@kernel
def refine(scores: Floats32, queued: int, look_back: int) -> tuple[int, int, int]:
    """First changed event as events ago: estimate, earliest, latest.

    For scores that were N(0,1) before, the log likelihood ratio of a level shift that lasts until now, maximised over
    its size, is S^2 / 2n for the sum S of the last n scores (Siegmund, Venkatraman 1995). `scores`: ring of the newest
    scores; `queued`: number of scores ever written to it. Only the last `look_back` + 1 events are considered.
    """
    recent = scores.size
    n = min(min(recent, queued), look_back + 1)
    total = 0.0
    best = -1.0
    estimate = 0
    for k in range(n):
        total += np.float64(scores[(queued - 1 - k) % recent])
        gain = total * total / (2.0 * (k + 1))
        if gain > best:
            best = gain
            estimate = k
    earliest, latest = estimate, estimate
    total = 0.0
    for k in range(n):
        total += np.float64(scores[(queued - 1 - k) % recent])
        if total * total / (2.0 * (k + 1)) >= best - WIDTH_NATS:
            earliest = max(earliest, k)
            latest = min(latest, k)
    return estimate, earliest, latest
