"""Does the consumer still deliver what the log holds?

After two rebalances in quick succession Faust can leave a partition paused for good (seen once in about forty rounds of
chaos): the member is alive, its partitions are assigned, and no record comes. Only a restart helps.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from faust.types import TP

log = logging.getLogger(__name__)

#: positions are checked this often. Only time in which the consumer waits for records counts (`transport.IdleClock`):
#: with a slow embedder a round through all partitions may take longer than STALLED_S without a stall
CHECK_S = 10.0
#: a partition that is behind and has not moved for so long has stalled: longer than a broker's restart or a rebalance
STALLED_S = 45.0
#: a check fails if the broker or the consumer's thread does not answer within so long
ANSWER_S = 8.0


class StallCheck:
    """Checks the consumer's own positions. `consumer` is Faust's; `clock` counts the seconds that it has waited."""

    def __init__(self, consumer: Callable[[], Any], clock: Callable[[], float]) -> None:
        self._consumer = consumer
        self._clock = clock
        self._checked_s = 0.0
        #: partition -> its position, and since when it has been there
        self._since: dict[TP, tuple[int, float]] = {}
        self._tps: list[TP] = []

    def assigned(self, tps: Iterable[TP]) -> None:
        """These partitions belong to this process from now on."""
        self._tps = sorted(tps)
        self._since = {}

    async def stalled(self) -> TP | None:
        """A partition that is behind and does not move; None if there is none, or if the broker does not answer."""
        now = self._clock()
        if now - self._checked_s < CHECK_S or not self._tps:
            return None
        self._checked_s = now
        tps = list(self._tps)
        try:
            async with asyncio.timeout(ANSWER_S):
                consumer = self._consumer()
                ends = await consumer.highwaters(*tps)
                positions = {tp: await consumer.position(tp) for tp in tps}
        except Exception as error:  # a consumer that starts, stops or has lost its broker: the next check decides
            log.info("positions cannot be checked: %r", error)
            self._since = {}
            return None
        for tp in tps:
            position = positions[tp] or 0
            if position >= (ends[tp] or 0):
                self._since.pop(tp, None)
            elif self._since.get(tp, (-1, 0.0))[0] != position:
                self._since[tp] = (position, now)
            elif now - self._since[tp][1] >= STALLED_S:
                return tp
        return None
