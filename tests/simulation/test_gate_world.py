"""Whatever happens to the processes of the page gate, every page is sent once, as one undisturbed process would."""

import asyncio
from functools import cache

import pytest
from leeboard.pipelines.runtime.gate import EXPIRE_AFTER_MS, RESOLVED_KEPT_MS, GateFold
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import Alert, Page, decode_result, encode
from msgspec.structs import replace

from tests.pipelines.watch.eventful import SETTINGS, eventful, merged
from tests.pipelines.watch.streams import run

from .driver import Driver
from .world import Record, World

TOPICS = TopicSettings()
BUDGET = BudgetSettings(pages_per_week=20, calls_per_week=1000)


@cache
def alerts() -> tuple[Alert, ...]:
    return tuple(run(merged(eventful()), SETTINGS, batch=500).alerts)


@cache
def log() -> tuple[Record, ...]:
    """Alerts, with the holes that the markers of transactions leave."""
    made: list[Record] = []
    offset = 0
    for k, alert in enumerate(alerts()):
        made.append(Record(offset, alert.dedup_key.encode(), encode(alert)))
        offset += 2 if k % 3 == 0 else 1
        if k % 40 == 20:
            made.append(Record(offset, b"x", b"not an alert"))
            offset += 1
    return tuple(made)


def new_world(seed: int) -> World:
    return World(
        {0: list(log())}, lambda partition: GateFold(BUDGET, TOPICS, partition), seed, TOPICS.gate_state, pulls=True
    )


async def played(seed: int | None) -> World:
    world = new_world(seed or 0)
    driver = Driver(world)
    if seed is not None:
        await driver.play(1200)
    await driver.finish_calmly()
    return world


@cache
def expected() -> World:
    return asyncio.run(played(None))


def outputs(world: World) -> list[tuple[str, bytes | None, bytes | None]]:
    return [(send.topic, send.key, send.value) for send in world.logs[0].outputs]


def test_the_undisturbed_run_pages_and_sends_other_records_to_the_dead_letters() -> None:
    found = outputs(expected())
    pages = [decode_result(value or b"") for topic, _, value in found if topic == TOPICS.pages]
    assert {page.status for page in pages if isinstance(page, Page)} == {"trigger", "update", "resolve"}
    assert sum(topic == TOPICS.dead_letters for topic, _, _ in found) > 2


@pytest.mark.parametrize("seed", range(12))
def test_no_history_of_faults_changes_a_page(seed: int) -> None:
    world = asyncio.run(played(seed))
    assert outputs(world) and outputs(world) == outputs(expected())
    assert dict(world.logs[0].state) == dict(expected().logs[0].state)


def fold_with_a_page() -> tuple[GateFold, Alert]:
    fold = GateFold(BUDGET, TOPICS, 0)
    fold.begin(0, 0)
    alert = next(alert for alert in alerts() if fold.gate.is_candidate(alert) and alert.status != "resolve")
    fold.apply([Record(0, alert.dedup_key.encode(), encode(alert))])
    assert [send.topic for send in fold.publish()] == [TOPICS.pages, TOPICS.gate_state]
    return fold, alert


def test_a_page_without_a_summary_for_a_day_ends_as_expired() -> None:
    fold, alert = fold_with_a_page()
    now_ms = 5_000_000_000_000
    fold.expire(now_ms)
    fold.expire(now_ms + EXPIRE_AFTER_MS - 1)
    fold.note_summaries([(alert.scope, alert.time)], now_ms + EXPIRE_AFTER_MS - 1)
    fold.expire(now_ms + EXPIRE_AFTER_MS + 1)
    assert not fold.urgent, "a summary came in between"
    state = [send for send in fold.publish() if send.topic == TOPICS.gate_state]
    restored = GateFold(BUDGET, TOPICS, 0)
    restored.restore([(send.key or b"", send.value) for send in state])
    restored.expire(now_ms + 2 * EXPIRE_AFTER_MS + 1)
    [page] = [decode_result(send.value or b"") for send in restored.publish() if send.topic == TOPICS.pages]
    assert isinstance(page, Page) and (page.status, page.expired) == ("resolve", True)


def test_an_incident_that_ended_long_ago_leaves_the_compacted_topic() -> None:
    fold = GateFold(BUDGET, TOPICS, 0)
    fold.begin(0, 0)
    ended = next(alert for alert in alerts() if alert.status == "resolve")
    later = replace(alerts()[0], dedup_key="later", time=ended.time + RESOLVED_KEPT_MS + 1)
    for k, alert in enumerate((ended, later)):
        fold.apply([Record(k, alert.dedup_key.encode(), encode(alert))])
    tombstones = [send for send in fold.publish() if send.topic == TOPICS.alert_state]
    assert [(send.key, send.value) for send in tombstones] == [(ended.dedup_key.encode(), None)]
