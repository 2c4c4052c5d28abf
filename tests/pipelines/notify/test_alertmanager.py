"""Alertmanager: the same labels from the first word to the last, told again while open, ended once."""

from typing import Any

from leeboard.pipelines.notify.messages.own import own_message
from leeboard.pipelines.notify.sinks.alertmanager import ALERTS_PER_REQUEST, HOLD_S, MAX_OPEN_ALERTS, Alertmanager
from leeboard.schemas import Verdict

from .receivers import Answer, Receiver, in_turn, receiver
from .records import page
from .sinks import settings_of


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def alertmanager(server: Receiver, clock: Clock) -> Alertmanager:
    settings: Any = settings_of("alertmanager", server.url + "/")
    return Alertmanager(settings, timeout_s=2.0, clock=clock)


def test_labels_do_not_change_while_annotations_do() -> None:
    with receiver() as server:
        made = alertmanager(server, Clock())
        made.deliver(page(severity="warning"))
        worse = Verdict(kind="prompt_changed", confidence="firm", sentence="the prompt it is")
        made.deliver(page(status="update", severity="critical", verdict=worse))
        made.deliver(page(status="resolve", severity="critical", verdict=worse))
    (first,), (second,), (last,) = server.bodies()
    assert first["labels"] == second["labels"] == last["labels"]
    assert first["labels"]["severity"] == "warning"
    assert (second["annotations"]["severity_now"], second["annotations"]["description"]) == (
        "critical",
        "the prompt it is",
    )
    assert {request.path for request in server.requests} == {"/api/v2/alerts"}


def test_an_alert_ends_in_the_future_while_open_and_now_when_resolved() -> None:
    clock = Clock()
    with receiver() as server:
        made = alertmanager(server, clock)
        made.deliver(page(opened_at=1_700_000_000_000))
        made.deliver(page(status="resolve"))
        made.deliver(page("late", opened_at=9_000_000_000_000))
    (first,), (last,), (ahead,) = server.bodies()
    assert first["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert (first["endsAt"], last["endsAt"]) == ("2027-01-15T08:05:00.000Z", "2027-01-15T08:00:00.000Z")
    assert ahead["startsAt"] <= ahead["endsAt"], "a clock ahead of ours"


def test_open_alerts_are_told_again_until_they_end() -> None:
    clock = Clock()
    with receiver() as server:
        made = alertmanager(server, clock)
        for key in "abc":
            made.deliver(page(key, app=key))
        made.deliver(page("b", "resolve", app="b"))
        clock.now_s += 60.0
        assert made.refresh().result == "delivered"
        made.deliver(page("a", "resolve", app="a"))
        made.deliver(page("c", "resolve", app="c"))
        count = len(server.requests)
        assert made.refresh().result == "delivered"
        assert len(server.requests) == count, "nothing is open: nothing is sent"
    again = server.bodies()[4]
    assert [alert["labels"]["app"] for alert in again] == ["a", "c"]
    assert {alert["endsAt"] for alert in again} == {"2027-01-15T08:06:00.000Z"}
    assert HOLD_S == 300.0


def test_an_end_that_was_not_taken_is_not_undone_by_telling_again() -> None:
    with receiver(in_turn(Answer(), Answer(503), Answer())) as server:
        made = alertmanager(server, Clock())
        made.deliver(page())
        assert made.deliver(page(status="resolve")).result == "retry"
        made.refresh()
        assert len(server.requests) == 2
        assert made.deliver(page(status="resolve")).result == "delivered"
    assert server.bodies()[2][0]["labels"] == server.bodies()[0][0]["labels"]


def test_an_alert_that_is_refused_is_not_told_again() -> None:
    with receiver(in_turn(Answer(400), Answer())) as server:
        made = alertmanager(server, Clock())
        assert made.deliver(page()).result == "dropped"
        made.refresh()
    assert len(server.requests) == 1


def test_one_of_two_incidents_with_the_same_labels_does_not_end_the_other() -> None:
    with receiver() as server:
        made = alertmanager(server, Clock())
        made.deliver(page("a"))
        made.deliver(page("b"))
        assert made.deliver(page("a", "resolve")).result == "delivered"
        assert len(server.requests) == 2
        made.deliver(page("b", "resolve"))
    assert server.bodies()[-1][0]["endsAt"] == "2027-01-15T08:00:00.000Z"


def test_after_a_restart_the_labels_are_those_of_before() -> None:
    with receiver() as server:
        before = alertmanager(server, Clock())
        before.deliver(page(severity="warning"))
        after = alertmanager(server, Clock())
        for message in (page(severity="warning"), page("gone"), page("gone", "resolve")):
            after.recall(message)
        assert len(server.requests) == 1, "recalling tells nobody"
        after.refresh()
        after.deliver(page(status="resolve", severity="critical"))
        after.forget()
        after.refresh()
    (told,), (again,), (end,) = server.bodies()
    assert told["labels"] == again["labels"] == end["labels"]


def test_the_tenant_is_a_label_where_it_is_part_of_the_scope_and_names_are_few() -> None:
    with receiver() as server:
        made = alertmanager(server, Clock())
        made.deliver(page(scope="acme/shop/production/answer"))
        made.deliver(page("b"))
        made.deliver(own_message("stalled", "trigger", "leeboard", 0, 15.0))
    (one,), (two,), (three,) = server.bodies()
    assert one["labels"]["tenant"] == "acme"
    assert {*two["labels"]} == {"alertname", "app", "env", "route", "channel", "verdict", "severity"}
    assert three["labels"]["alertname"] == "leeboard_stalled"


def test_many_open_alerts_are_told_in_batches_and_are_bounded() -> None:
    with receiver() as server:
        made = alertmanager(server, Clock())
        for number in range(MAX_OPEN_ALERTS + 5):
            made.recall(page(str(number)))
        assert len(made._open) == MAX_OPEN_ALERTS
        made.forget()
        for number in range(2 * ALERTS_PER_REQUEST + 1):
            made.recall(page(str(number)))
        made.refresh()
    assert [len(body) for body in server.bodies()] == [ALERTS_PER_REQUEST, ALERTS_PER_REQUEST, 1]
