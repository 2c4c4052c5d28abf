"""`leeboard notify` on a real broker: what it sends, what it commits, what it reads back, how it ends."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.notify.feed.progress import read_metadata
from leeboard.schemas import Summary, encode
from msgspec.structs import replace

from ..pipelines.notify.receivers import ACCEPTED, Answer, always, eventually, receiver
from ..pipelines.notify.records import full_page, real_notices, real_pages
from .broker import Broker
from .notifying import Fleet, events, new_fleet, secrets, sink, story

WAIT_S = 25.0


@pytest.fixture
def fleet(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> Iterator[Fleet]:
    made = new_fleet(kafka, new_topic, tmp_path)
    yield made
    made.end()
    if "Traceback" in made.said():
        pytest.fail(made.said())


def committed(fleet: Fleet) -> Any:
    """Offset and metadata of the partition of pages."""
    return fleet.reader.committed(TopicPartition(fleet.topics["pages"], 0), metadata=True)


def group_of(fleet: Fleet) -> tuple[str, int]:
    """State and members of the consumer group."""
    name = f"{fleet.topics['pages']}-notify"
    with fleet.broker.admin() as admin:
        group = admin.describe_groups([name])[name]
    return group["group_state"], len(group["members"])


def test_real_pages_and_notices_reach_their_sinks_and_are_committed(fleet: Fleet) -> None:
    pages, notices = real_pages(), real_notices()
    with receiver(lambda request: ACCEPTED if "/v2/" in request.path else Answer()) as server:
        readers = ("pagerduty", "slack", "webhook")
        fleet.notify = (
            "http_port = 0\n"
            + sink("pagerduty", server.url, more="change_events = true")
            + sink("slack", server.url)
            + sink("webhook", f"{server.url}/hook")
            + sink("alertmanager", server.url)
            + "".join(f'[[notify.routes]]\nsink = "{name}"\nrecords = ["pages", "notices"]\n' for name in readers)
            + '[[notify.routes]]\nsink = "alertmanager"\n'
        )
        fleet.environment = secrets(server.url, *readers)
        fleet.write("pages", *pages[:2], b'{"schema": "page/1"}', b"\xff", *pages[2:])
        fleet.write("alerts", *notices)
        by_path: dict[str, list[Any]] = {}
        expected = {"/v2/enqueue": 5, "/v2/change/enqueue": 1, "/api/v2/alerts": 5, "/hook": 5 + len(notices)}

        def all_sent() -> bool:
            by_path.clear()
            for request in list(server.requests):
                by_path.setdefault(request.path, []).append(request.json)
            return all(len(by_path.get(path, [])) >= count for path, count in expected.items())

        with fleet.running():
            eventually(all_sent, WAIT_S)
        all_sent()
    assert {path: len(by_path[path]) for path in expected} == expected
    assert events(by_path["/v2/enqueue"]) == {
        pages[0].page_key: ["trigger"] * 3 + ["resolve"],
        pages[4].page_key: ["trigger"],
    }
    assert len(by_path["/slack"]) < len(notices), "a chat gets few messages"
    letters = fleet.letters()
    assert [(letter.reason, letter.position.rpartition("/")[2]) for letter in letters] == [
        ("missing_field", "2"),
        ("not_utf8", "3"),
    ]
    found = committed(fleet)
    assert found.offset == len(pages) + 2
    assert read_metadata(found.metadata).ahead == {}


def test_what_a_transaction_aborted_is_never_sent(fleet: Fleet) -> None:
    kept, aborted = story(2)[:2]
    with receiver() as server:
        fleet.notify = "http_port = 0\n" + sink("webhook", server.url)
        fleet.environment = secrets(server.url, "webhook")
        producer = KafkaProducer(**python_client(fleet.settings), transactional_id=fleet.topics["pages"])
        producer.init_transactions()
        for page, commit in ((aborted, False), (kept, True)):
            producer.begin_transaction()
            producer.send(fleet.topics["pages"], encode(page)).get(10)
            (producer.commit_transaction if commit else producer.abort_transaction)()
        producer.close()
        with fleet.running():
            eventually(lambda: server.requests, WAIT_S)
            eventually(lambda: committed(fleet) and committed(fleet).offset == 4, WAIT_S)
    assert [body["page_key"] for body in server.bodies()] == [kept.page_key]


def test_a_restart_sends_nothing_twice_and_goes_on_where_each_sink_was(fleet: Fleet) -> None:
    """One sink is down: the other gets nothing again, and what was waiting is sent after the restart."""
    pages = story(6)
    with receiver(always(Answer(503))) as down, receiver() as up:
        fleet.notify = (
            "http_port = 0\n" + sink("webhook", down.url, "webhook_down") + sink("webhook", up.url, "webhook_up")
        )
        fleet.environment = secrets("", "webhook_down", "webhook_up")

        def watermark_up() -> int | None:
            return read_metadata(committed(fleet).metadata).ahead.get("webhook_up")

        fleet.write("pages", *pages)
        process = fleet.start()
        eventually(lambda: len(up.requests) == len(pages) and down.requests, WAIT_S)
        eventually(lambda: committed(fleet) is not None and watermark_up() == len(pages), WAIT_S)
        process.kill()
        process.wait()
        down.requests.clear()
        down.answering = always(Answer())
        fleet.start()
        eventually(lambda: committed(fleet).offset == len(pages), WAIT_S)
        assert len(up.requests) == len(pages)
    assert [body["page_key"] for body in down.bodies()] == [page.page_key for page in pages]


def test_what_no_sink_takes_becomes_a_dead_letter_and_the_rest_goes_on(fleet: Fleet) -> None:
    pages = story(2)

    def answering(request: Any) -> Answer:
        return Answer(400) if request.json["page_key"] == pages[0].page_key else Answer()

    with receiver(answering) as server, receiver(always(Answer(500))) as broken:
        fleet.notify = (
            "http_port = 0\nretry_hours = 0.0003\n" + sink("webhook", server.url) + sink("alertmanager", broken.url)
        )
        fleet.environment = secrets("", "webhook")
        fleet.write("pages", *pages)
        with fleet.running():
            eventually(lambda: committed(fleet) is not None and committed(fleet).offset == len(pages), WAIT_S)
    letters = fleet.letters()
    assert {letter.reason for letter in letters} == {"not_delivered"}
    details = sorted(letter.detail.partition(" attempts")[2] or letter.detail for letter in letters)
    assert details == [": HTTP 500"] * 4 + ["sink webhook: HTTP 400"] * 2
    assert {letter.position for letter in letters if "400" in letter.detail} == {
        f"{fleet.topics['pages']}/0/0",
        f"{fleet.topics['pages']}/0/2",
    }
    assert not any(b"sentence" in letter or b"answers are" in letter for letter in fleet.read("dead_letters"))


def test_a_page_is_resolved_with_the_key_that_opened_it_when_the_routes_have_changed(fleet: Fleet) -> None:
    trigger, resolve = story(1)
    with receiver(always(ACCEPTED)) as first, receiver(always(ACCEPTED)) as second:
        sinks = sink("pagerduty", first.url, "pagerduty_a") + sink("pagerduty", second.url, "pagerduty_b")
        fleet.environment = secrets("", "pagerduty_a", "pagerduty_b")
        fleet.notify = f'http_port = 0\n{sinks}\n[[notify.routes]]\nsink = "pagerduty_a"\n'
        fleet.write("pages", trigger)
        with fleet.running():
            eventually(lambda: first.requests, WAIT_S)
        fleet.notify = f'http_port = 0\n{sinks}\n[[notify.routes]]\nsink = "pagerduty_b"\n'
        fleet.write("pages", resolve)
        with fleet.running():
            eventually(lambda: committed(fleet).offset == 2, WAIT_S)
    assert events(first.bodies()) == {trigger.page_key: ["trigger", "resolve"]}
    assert events(second.bodies()) == {trigger.page_key: ["resolve"]}


def test_alertmanager_is_sent_the_alert_again_with_the_same_labels_after_a_restart(fleet: Fleet) -> None:
    page = full_page(alert={"severity": "warning"})
    worse = replace(page, status="update", alert=replace(page.alert, status="update", severity="critical"))
    with receiver() as server:
        fleet.notify = "http_port = 0\n" + sink("alertmanager", server.url)
        fleet.write("pages", page)
        with fleet.running():
            eventually(lambda: server.requests, WAIT_S)
        fleet.write("pages", worse)
        with fleet.running():
            eventually(lambda: len(server.requests) >= 2, WAIT_S)
    (before,), (after,) = server.bodies()[:2]
    assert before["labels"] == after["labels"]
    assert after["annotations"]["severity_now"] == "critical"


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_silence_is_paged_and_resolved_by_whoever_comes_next_and_operators_see_numbers(fleet: Fleet) -> None:
    with receiver(always(ACCEPTED)) as server:
        fleet.notify = "stalled_minutes = 0.03\n" + sink("pagerduty", server.url)
        fleet.environment = secrets("", "pagerduty")
        key = f"leeboard_stalled/{fleet.topics['pages']}"
        with fleet.running() as status:
            eventually(lambda: events(server.bodies()) == {key: ["trigger"]}, WAIT_S)
            assert server.bodies()[0]["payload"]["class"] == "leeboard_stalled"
            eventually(lambda: read_metadata(committed(fleet).metadata).open == ["stalled"], WAIT_S)
            assert get(status.port, "/livez") == (200, "ok\n")
            assert get(status.port, "/readyz")[0] == 200
            assert get(status.port, "/else")[0] == 404
            _, metrics = get(status.port, "/metrics")
            for line in (
                'leeboard_notify_deliveries_total{result="delivered",sink="pagerduty"} 1.0',
                'leeboard_notify_queue_depth{sink="pagerduty"} 0.0',
                'leeboard_notify_oldest_undelivered_seconds{sink="pagerduty"} 0.0',
                'leeboard_notify_delivery_seconds_count{sink="pagerduty"} 1.0',
                "leeboard_notify_stalled 1.0",
                "leeboard_notify_unreachable 0.0",
            ):
                assert line in metrics
        assert events(server.bodies()) == {key: ["trigger"]}
        with fleet.running() as status:
            eventually(lambda: get(status.port, "/readyz")[0] == 200, WAIT_S)
            fleet.write("summaries", Summary(scope="/a/b/c", time=1, sequence=1, calls=1))
            eventually(lambda: "resolve" in events(server.bodies())[key], WAIT_S)
    assert events(server.bodies())[key][:3] == ["trigger", "trigger", "resolve"], "what is open is sent again"


def test_a_broker_that_is_gone_is_paged_and_pages_go_on_when_it_is_back(
    new_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = new_broker()
    fleet = Fleet(
        broker, {name: broker.create_topic(name) for name in ("pages", "alerts", "summaries", "dead_letters")}, tmp_path
    )
    try:
        with receiver(always(ACCEPTED)) as server:
            fleet.notify = "http_port = 0\nstalled_minutes = 0.03\n" + sink("pagerduty", server.url)
            fleet.environment = secrets("", "pagerduty")
            fleet.write("pages", story(1)[0])
            fleet.start()
            eventually(lambda: committed(fleet) is not None and committed(fleet).offset == 1, WAIT_S)
            fleet.let_go()
            broker.kill()
            key = "leeboard_unreachable/pages"
            eventually(lambda: "trigger" in events(server.bodies()).get(key, []), 40.0)
            broker.start()
            fleet.write("pages", story(1)[1])
            eventually(lambda: events(server.bodies())[key][-1] == "resolve", 40.0)
            eventually(lambda: events(server.bodies())[story(1)[0].page_key][-1] == "resolve", 40.0)
    finally:
        fleet.end()
    assert "Traceback" not in fleet.said()


def test_of_two_one_sends_and_the_other_takes_over(fleet: Fleet) -> None:
    pages = story(4)
    with receiver() as server:
        fleet.notify = sink("webhook", server.url)
        fleet.environment = secrets("", "webhook")
        with fleet.running() as second_status:
            with fleet.running() as first_status:
                both = (first_status, second_status)
                one_idle = ["no partition is assigned\n", "ok\n"]
                eventually(lambda: group_of(fleet) == ("Stable", 2), WAIT_S)
                eventually(lambda: sorted(get(status.port, "/readyz")[1] for status in both) == one_idle, WAIT_S)
                fleet.write("pages", *pages[:4])
                eventually(lambda: committed(fleet) is not None and committed(fleet).offset == 4, WAIT_S)
            fleet.write("pages", *pages[4:])
            eventually(lambda: committed(fleet).offset == len(pages), WAIT_S)
            eventually(lambda: get(second_status.port, "/readyz")[0] == 200, WAIT_S)
    assert [body["alert"]["id"] for body in server.bodies()] == [page.alert.id for page in pages]
