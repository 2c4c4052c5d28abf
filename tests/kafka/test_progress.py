"""A consumer that is behind and gives nothing is found; one that waits, moves, or cannot be asked is not."""

import asyncio
from typing import Any

import pytest
from faust.types import TP
from leeboard.pipelines.kafka.progress import CHECK_S, STUCK_S, Progress
from leeboard.pipelines.kafka.transport import HANGS_S, Idle

TPS = [TP("calls", 0), TP("calls", 1)]


class Positions:
    """Where a consumer stands, and where its partitions end."""

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
    """Check once a second; `change(consumer, second)` moves it. What was found first."""
    consumer, now = Positions(), [100.0]
    progress = Progress(lambda: consumer, lambda: now[0])
    progress.assigned(TPS)

    async def run() -> TP | None:
        for second in range(int(seconds)):
            now[0] += 1.0
            change(consumer, second)
            found = await progress.stuck()
            if found is not None:
                return found
        return None

    return asyncio.run(run())


def falls_behind(consumer: Positions, _: int) -> None:
    consumer.ends[TPS[1]] = 9


def test_a_partition_that_is_behind_and_does_not_move_is_found() -> None:
    assert play(falls_behind, STUCK_S + 3 * CHECK_S) == TPS[1]
    assert play(falls_behind, STUCK_S) is None, "not before its time"


@pytest.mark.parametrize("case", ["at the end", "slow", "no answer"])
def test_nothing_else_is(case: str) -> None:
    def change(consumer: Positions, second: int) -> None:
        if case == "slow":
            consumer.ends[TPS[0]] = 10_000
            consumer.at[TPS[0]] = 5 + second // 20
        if case == "no answer":
            falls_behind(consumer, second)
            consumer.answers = second % 30 > 9

    assert play(change, 10 * STUCK_S) is None


def test_time_counts_while_records_are_waited_for_and_not_while_a_sink_is_busy() -> None:
    now = [50.0]
    idle = Idle(lambda: now[0])
    for seconds, busy in ((2.0, True), (100.0, False), (3.0, True), (HANGS_S - 1.0, False), (0.5, True)):
        now[0] += seconds
        idle.busy(busy)
    assert idle.seconds() == 5.5
    now[0] += HANGS_S
    assert idle.seconds() == 5.5
    now[0] += STUCK_S
    assert idle.seconds() == 5.5 + STUCK_S, "a sink that does not return is found at last"
