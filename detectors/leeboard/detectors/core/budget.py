"""The arithmetic of levels: how often an owner of several signals may open notices, and a fleet of owners may page.

A level A means "at most one false crossing in A events of the owner, all of its signals together". Signal s has a
weight w_s, the weights of an owner add up to at most 1, and s fires at A / w_s events. A nat is the unit of natural
logs.
"""

import math

from .jit import kernel

#: bounds of the notice level, and its factor on the events so far, while an owner has seen few events
LOWEST_NOTICE = 1e3
WARM_UP_NOTICE = 1e4
WARM_UP_FACTOR = 10.0
assert LOWEST_NOTICE < WARM_UP_NOTICE
#: notice levels change in steps of 25 %, so that they do not change at every event
STEP_NATS = math.log(1.25)
#: the severe path needs this level, in events of the signal, and so many events since the change
SEVERE_NATS = math.log(1e4)
SEVERE_EVENTS = 20


@kernel
def notice_nats(events: int, events_per_week: float, notices_per_week: float) -> float:
    """Natural log of an owner's notice level, rounded up to the next step.

    `events`: those of the owner so far; `events_per_week`: those of its last 7 days; `notices_per_week`: false notices
    that are allowed. The expected number of false notices is at most the sum of 1 / level over the events: .33 in the
    first 1,000 events, later the allowed number a week, or one in 10,000 events where that is less.
    """
    warm_up = min(WARM_UP_FACTOR * events, WARM_UP_NOTICE)
    level = max(LOWEST_NOTICE, warm_up, events_per_week / notices_per_week)
    return math.ceil(math.log(level) / STEP_NATS) * STEP_NATS


def page_nats(events_per_week: float, pages_per_week: float) -> float:
    """Natural log of the fleet's page level A_page = events_per_week / pages_per_week."""
    return math.log(events_per_week / pages_per_week)
