"""The arithmetic of levels: what one scope's notices and the fleet's pages may cost.

A level A means "at most one false crossing in A calls of the scope, all signals together". Signal s has a weight w_s,
the weights of a scope add up to at most 1, and s fires at A / w_s calls. Natural logs are called nats.
"""

import math

from .jit import kernel

#: the notice level of a scope that has seen so many calls: 10 times their number, within these bounds
LOWEST_NOTICE = 1e3
YOUNG_NOTICE = 1e4
YOUNG_FACTOR = 10.0
#: notice levels change in steps of 25 %, so that they do not change at every call
STEP_NATS = math.log(1.25)
#: the severe path needs this level, in calls of the signal, and so many calls since the change
SEVERE_NATS = math.log(1e4)
SEVERE_CALLS = 20


@kernel
def notice_nats(calls: int, calls_a_week: float, notices_per_week: float) -> float:
    """Log of a scope's notice level, rounded up to the next step.

    `calls` of the scope so far; `calls_a_week`: those of its last 7 days. The expected number of false notices in the
    first 1,000 calls is at most the sum of 1 / level over them, .33; later the two a week that are allowed, or one in
    10,000 calls, whichever is less.
    """
    young = min(YOUNG_FACTOR * calls, YOUNG_NOTICE)
    level = max(LOWEST_NOTICE, young, calls_a_week / notices_per_week)
    return math.ceil(math.log(level) / STEP_NATS) * STEP_NATS


def page_nats(calls_per_week: float, pages_per_week: float) -> float:
    """Log of the fleet's page level A_page = calls_per_week / pages_per_week."""
    return math.log(calls_per_week / pages_per_week)
