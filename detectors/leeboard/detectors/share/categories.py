"""Kernel of a stream of categories: every category it has shown is a share of its own."""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Arena, Floats, kernel
from leeboard.detectors.core.lifecycle import QUIET

from .kernels import count_share, open_share, step_share


@kernel
def step_categories(
    rows: Arena,
    categories: npt.NDArray[np.int32],
    frozen: Arena,
    shown: int,
    events: int,
    u: float,
    nats_notice: float,
    nats_page: float,
    nats: float,
    scratch: Floats,
) -> int:
    """Category `shown` against all others, for every category of a stream that has shown more than one; joint codes.

    `categories`: row of every category, -1 for none; `events`: of the stream, before this one; `nats`: what is added
    to both levels, and beside it the log of the number of categories, since each has an equal part of the budget.
    """
    known = 0
    for k in range(categories.size):
        if categories[k] >= 0:
            known += 1
    if known == 0:
        return QUIET
    nats += math.log(np.float64(known))
    codes = QUIET
    for k in range(categories.size):
        i = categories[k]
        if i < 0:
            continue
        if rows[i]["wealth"]["nats_notice"] == 0.0:
            if shown == k:  # first seen: counted, not bet on
                open_share(rows[i], events, False, nats_notice + nats, nats_page + nats)
                count_share(rows[i], True)
            continue
        codes |= step_share(rows, i, frozen, shown == k, u, nats_notice + nats, nats_page + nats, scratch)
    return codes
