"""Every sink: what it sends, and what it makes of what comes back."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from leeboard.pipelines.notify.messages.message import Message, message_of
from leeboard.pipelines.notify.messages.own import own_message
from leeboard.pipelines.notify.sinks.alertmanager import Alertmanager
from leeboard.pipelines.notify.sinks.base import MAX_PAUSE_S, RATE_LIMIT_PAUSE_S, outcome_of_status
from leeboard.schemas import decode_result, encode
from standardwebhooks import Webhook as Verifier

from .receivers import ACCEPTED, Answer, always, in_turn, receiver
from .records import full_page, notice, page, real_notices, real_pages
from .sinks import ROUTING_KEY, SIGNING_KEY, TYPES, settings_of, sink

GOLDENS = Path(__file__).parent / "goldens"
NOW_S = 1_795_600_000.0
MESSAGES: dict[str, Callable[[], Message]] = {
    "page": lambda: message_of(full_page()),
    "resolve": lambda: message_of(full_page("resolve")),
    "notice": lambda: notice("n", severity="info"),
    "stalled": lambda: own_message("stalled", "trigger", "leeboard", 1_795_512_600_250, 15.0),
}


def accepted(kind: str) -> Answer:
    return ACCEPTED if kind == "pagerduty" else Answer(200, b"ok")


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("kind", TYPES)
def test_the_body_is_the_golden_one(kind: str, what: str) -> None:
    """`LEEBOARD_WRITE_GOLDENS=1` writes them; a person reads the difference."""
    made = sink(kind)
    if isinstance(made, Alertmanager):
        made._clock = lambda: NOW_S
    body = json.dumps(made.compose(MESSAGES[what]()), indent=1, ensure_ascii=False) + "\n"
    path = GOLDENS / f"{kind}-{what}.json"
    if os.environ.get("LEEBOARD_WRITE_GOLDENS"):
        path.write_text(body, encoding="utf-8")
    assert body == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", TYPES)
def test_a_message_that_is_taken_is_delivered(kind: str) -> None:
    with receiver(always(accepted(kind))) as server:
        made = sink(kind, server.url)
        for message in (*map(message_of, real_pages()), *map(message_of, real_notices())):
            assert made.deliver(message).result == "delivered", message
        assert len(server.requests) >= len(real_pages())
        made.close()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("status", "result"),
    [
        *((status, "dropped") for status in (400, 413, 422)),
        *((status, "retry") for status in (401, 403, 404, 408, 410, 429, 500, 502, 503, 599)),
    ],
)
def test_an_answer_is_final_or_is_not(kind: str, status: int, result: str) -> None:
    with receiver(always(Answer(status, b"no"))) as server:
        outcome = sink(kind, server.url).deliver(page())
    assert (outcome.result, outcome.reason, outcome.answered) == (result, f"HTTP {status}", True)
    assert outcome.after_s == (RATE_LIMIT_PAUSE_S if status == 429 else 0.0)
    assert len(server.requests) == 1, "retries are the dispatcher's"


@pytest.mark.parametrize("kind", TYPES)
def test_a_receiver_may_ask_for_a_pause(kind: str) -> None:
    with receiver(always(Answer(503, b"", {"Retry-After": "7"}))) as server:
        assert sink(kind, server.url).deliver(page()).after_s == 7.0
    assert outcome_of_status(503, "999999").after_s == MAX_PAUSE_S
    assert outcome_of_status(503, "Wed, 21 Oct 2026 07:28:00 GMT").after_s == 0.0
    assert outcome_of_status(429, "-1").after_s == RATE_LIMIT_PAUSE_S


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("answer", [Answer(0), Answer(200, b"ok", after_s=5.0)], ids=["cut", "stalled"])
def test_no_answer_is_tried_again(kind: str, answer: Answer) -> None:
    with receiver(always(answer)) as server:
        outcome = sink(kind, server.url, timeout_s=0.3).deliver(page())
    assert (outcome.result, outcome.answered) == ("retry", False)
    assert outcome.reason.startswith("no answer: ")


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://" + "x" * 300 + ".invalid", "http://a..b"])
def test_nobody_there_is_tried_again(kind: str, url: str) -> None:
    outcome = sink(kind, url, timeout_s=0.5).deliver(page())
    assert (outcome.result, outcome.answered) == ("retry", False)


@pytest.mark.parametrize("kind", TYPES)
def test_a_redirect_is_not_followed_with_the_message(kind: str) -> None:
    with receiver() as other, receiver(always(Answer(302, b"", {"Location": f"{other.url}/x"}))) as server:
        assert sink(kind, server.url).deliver(page()).result == "retry" or kind == "slack"
        assert not any(request.body for request in other.requests)


def test_slack_is_believed_only_when_it_says_ok() -> None:
    with receiver(always(Answer(200, b"<html>log in to the proxy</html>"))) as server:
        assert sink("slack", server.url).deliver(page()).result == "retry"
    with receiver(always(Answer(200, b"\xff\xfe", {"Content-Type": "text/plain; charset=no-such"}))) as server:
        assert sink("slack", server.url).deliver(page()).result == "retry"


def test_pagerduty_believes_the_status_whatever_the_body_says() -> None:
    for body in (b"", b"[]", b"\xff", b'{"status": "success"}'):
        with receiver(always(Answer(202, body))) as server:
            assert sink("pagerduty", server.url).deliver(page()).result == "delivered"


def test_pagerduty_is_sent_one_key_a_page_and_the_routing_key_in_the_body_alone() -> None:
    with receiver(always(ACCEPTED)) as server:
        made = sink("pagerduty", server.url)
        for record in real_pages():
            made.deliver(message_of(record))
        made.deliver(page("long" * 100))
        made.deliver(page("long" * 100, "resolve"))
    first = [body for body in server.bodies() if body["dedup_key"] == real_pages()[0].page_key]
    assert [body["event_action"] for body in first] == ["trigger", "trigger", "trigger", "resolve"]
    assert {body["routing_key"] for body in server.bodies()} == {ROUTING_KEY}
    assert {request.path for request in server.requests} == {"/v2/enqueue"}
    *_, long, over = server.bodies()
    assert long["dedup_key"] == over["dedup_key"]
    assert len(long["dedup_key"]) <= 255
    assert not any(ROUTING_KEY in str(request.headers) + request.path for request in server.requests)


def test_a_notice_about_identity_becomes_a_change_event_and_never_an_incident() -> None:
    identity = next(a for a in real_notices() if a.severity == "info" and a.signals[0].channel == "identity")
    settings: Any = settings_of("pagerduty", change_events=True)
    assert settings.wants(message_of(identity), None, paged=False)
    assert not settings.wants(notice(signals=[]), None, paged=False)
    assert not settings.wants(message_of(real_notices()[0]), None, paged=False), "not about identity"
    assert not settings_of("pagerduty").wants(message_of(identity), None, paged=False)
    with receiver(always(ACCEPTED)) as server:
        made = sink("pagerduty", server.url, change_events=True)
        assert made.deliver(message_of(identity)).result == "delivered"
    (request,) = server.requests
    assert request.path == "/v2/change/enqueue"
    assert request.json["routing_key"] == ROUTING_KEY
    assert "event_action" not in request.json


def test_a_webhook_carries_the_record_and_a_signature_of_standard_webhooks() -> None:
    with receiver(in_turn(Answer(500), Answer())) as server:
        made = sink("webhook", server.url)
        message = message_of(real_pages()[0])
        assert made.deliver(message).result == "retry"
        assert made.deliver(message).result == "delivered"
    for request in server.requests:
        Verifier(SIGNING_KEY).verify(request.body, request.headers)
        assert decode_result(request.body) == message.record
        assert request.body == encode(message.record)
    first, second = (request.headers["webhook-id"] for request in server.requests)
    assert first == second
    assert first.startswith(message.alert.id)


def test_no_two_messages_of_a_webhook_share_an_id() -> None:
    with receiver() as server:
        made = sink("webhook", server.url)
        joined = message_of(full_page("update"))
        everything = [*map(message_of, real_pages()), *map(message_of, real_notices()), joined, page("k\r\nx: 1")]
        for message in everything:
            assert made.deliver(message).result == "delivered"
    ids = [request.headers["webhook-id"] for request in server.requests]
    assert len({*ids}) == len(everything)


def test_a_page_that_ended_in_silence_says_so() -> None:
    ended = full_page("resolve", expired=True, alert={"resolution": None, "resolved_at": None})
    assert "Resolved (expired: no calls for a day)" in sink("slack").compose(message_of(ended))["text"]
    assert sink("webhook").compose(message_of(ended))["expired"] is True
    assert sink("pagerduty").compose(message_of(ended))["event_action"] == "resolve"


@pytest.mark.parametrize("kind", TYPES)
def test_no_reason_holds_a_secret_or_a_text(kind: str) -> None:
    texts = {"sentence": "the secret sentence"}
    message = page(verdict=page().alert.verdict.__class__(kind="cannot_tell", confidence="firm", **texts))
    for answer in (Answer(400, b"the secret sentence"), Answer(500, ROUTING_KEY.encode()), Answer(0)):
        with receiver(always(answer)) as server:
            reason = sink(kind, server.url, timeout_s=1.0).deliver(message).reason
        for secret in ("secret", ROUTING_KEY, "services", server.url):
            assert secret not in reason
