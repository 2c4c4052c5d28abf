"""A consumer that is behind and delivers nothing is found; one that waits, moves, or does not answer is not."""

import asyncio
from typing import Any

import pytest
from faust.types import TP
from leeboard.pipelines.kafka.worker.stall_check import CHECK_S, STALLED_S, StallCheck
from leeboard.pipelines.kafka.worker.transport import SINK_HANGS_S, IdleClock

TPS = [TP("calls", 0), TP("calls", 1)]


class Positions:
    """Positions of a consumer, and ends of its partitions."""

    def __init__(self) -> None:
        self.at = dict.fromkeys(TPS, 5)
        self.ends = dict.fromkeys(TPS, 5)
        self.answers = True

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        if not self.answers:
            raise ConnectionError("no broker")
        return {tp: self.ends[tp] for tp in tps}

    async def position(self, tp: TP) -> int:
        return self.at[tp]


def play(change: Any, seconds: float) -> TP | None:
    """Check once a second after `change(consumer, second)`. The first partition found."""
    consumer, now = Positions(), [100.0]
    check = StallCheck(lambda: consumer, lambda: now[0])
    check.assigned(TPS)

    async def run() -> TP | None:
        for second in range(int(seconds)):
            now[0] += 1.0
            change(consumer, second)
            found = await check.stalled()
            if found is not None:
                return found
        return None

    return asyncio.run(run())


def falls_behind(consumer: Positions, _: int) -> None:
    consumer.ends[TPS[1]] = 9


def test_a_partition_that_is_behind_and_does_not_move_is_found() -> None:
    assert play(falls_behind, STALLED_S + 3 * CHECK_S) == TPS[1]
    assert play(falls_behind, STALLED_S) is None, "not before its time"


@pytest.mark.parametrize("case", ["at the end", "slow", "no answer"])
def test_no_other_consumer_is_found(case: str) -> None:
    def change(consumer: Positions, second: int) -> None:
        if case == "slow":
            consumer.ends[TPS[0]] = 10_000
            consumer.at[TPS[0]] = 5 + second // 20
        if case == "no answer":
            falls_behind(consumer, second)
            consumer.answers = second % 30 > 9

    assert play(change, 10 * STALLED_S) is None


def test_time_counts_while_the_consumer_waits_and_not_while_a_sink_is_busy() -> None:
    now = [50.0]
    idle = IdleClock(lambda: now[0])
    for seconds, busy in ((2.0, True), (100.0, False), (3.0, True), (SINK_HANGS_S - 1.0, False), (0.5, True)):
        now[0] += seconds
        idle.busy(busy)
    assert idle.seconds() == 5.5
    now[0] += SINK_HANGS_S
    assert idle.seconds() == 5.5
    now[0] += STALLED_S
    assert idle.seconds() == 5.5 + STALLED_S, "a sink that does not return is found at last"
