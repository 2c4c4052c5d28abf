"""Whatever stands in a record, every sink can tell it; nothing of it becomes markup, a mention or a control code."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import Message, message_of
from leeboard.pipelines.notify.messages.withhold import withhold
from leeboard.pipelines.notify.sinks import MessageSink
from leeboard.pipelines.notify.sinks.pagerduty import MAX_BODY_BYTES, MAX_KEY, MAX_SUMMARY
from leeboard.pipelines.notify.sinks.slack import MAX_BLOCK, escape
from leeboard.schemas import Alert, LabelShift, Page, RolledUp, decode_result, encode
from leeboard.schemas.alert import Example, Share
from msgspec.structs import replace

from .receivers import ACCEPTED, Answer, Receiver, receiver
from .records import full_page
from .sinks import TYPES, sink
from .structs import struct

NASTY = "<!channel> <@U0123> <http://evil|x> & *b* \x00\x1b[31m\r\n\u2028\u202e|]"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
MENTION = re.compile(r"<[!@#]|<(?!https?://)")


def nasty(value: Any) -> Any:
    """The record with every free text made nasty; texts of a closed set stay."""
    if isinstance(value, dict):
        return {key: nasty(item) if key not in CLOSED else item for key, item in value.items()}
    if isinstance(value, list):
        return [nasty(item) for item in value]
    return NASTY if isinstance(value, str) else value


CLOSED = {"schema", "status", "severity", "resolution", "kind", "confidence", "direction", "guarantee", "scope"}


def hostile_page() -> Page:
    tree = nasty(json.loads(encode(full_page())))
    tree["alert"]["scope"] = "/%3C!channel%3E/%0A%26/" + "x" * 900
    tree["alert"]["links"] = {NASTY: "https://x/|a>b&c", "js": "javascript:alert(1)", "nl": "https://x/\n<!here>"}
    found = decode_result(json.dumps(tree).encode())
    assert isinstance(found, Page)
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text of a JSON value, keys too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(
    "message", [message_of(hostile_page()), message_of(hostile_page().alert)], ids=["page", "notice"]
)
def test_nothing_of_a_record_becomes_a_mention_a_link_or_a_control_code(message: Message) -> None:
    for kind in ("pagerduty", "slack", "alertmanager"):
        for text in texts(sink(kind).compose(message)):
            assert not CONTROL.search(text), (kind, text)
    for text in texts(sink("slack").compose(message)):
        assert not MENTION.search(text), text
    assert "javascript" not in json.dumps([sink(kind).compose(message) for kind in ("pagerduty", "slack")])


def test_slack_links_cannot_be_ended_from_inside() -> None:
    footer = json.dumps(sink("slack").compose(message_of(hostile_page()))["blocks"][-1])
    assert "<https://x/%7Ca%3Eb&amp;c|" in footer
    assert footer.count("<https://") == 1


def test_an_escaped_text_is_cut_between_entities() -> None:
    for most in range(1, 60):
        cut = escape("a<b>&c" * 20, most)
        assert len(cut) <= most
        assert re.fullmatch(r"([^&<>]|&(amp|lt|gt);)*", cut)


def test_an_alert_with_ten_thousand_labels_is_trimmed_in_order() -> None:
    labels = [LabelShift(label=f"label-{k}", value="v" * 100, before=0.0, after=1.0) for k in range(10_000)]
    page = full_page(alert={"labels": labels, "examples": [Example(call_id="c", why="w")]})
    event = sink("pagerduty").compose(message_of(page))
    details = event["payload"]["custom_details"]
    assert len(json.dumps(event)) < MAX_BODY_BYTES
    assert 0 < len(details["labels"]) < 10_000
    assert len(details["labels"]) + details["left_out"]["labels"] == 10_000
    for kept in ("sentence", "moved", "examples", "ledger"):
        assert kept in details, "what a person needs first stays"
    slack = sink("slack").compose(message_of(page))
    assert "and 9,992 more" in json.dumps(slack)
    (alert,) = sink("alertmanager").compose(message_of(page))
    assert all(len(value) <= 4000 for value in alert["annotations"].values())


@pytest.mark.parametrize("kind", TYPES)
def test_a_page_of_any_size_fits_and_is_taken(kind: str) -> None:
    big = "é\x1b" * 3000
    page = full_page(
        rolled_up=[RolledUp(dedup_key="k", scope=f"/a/e/{'r' * 500}", opened_at=1)] * 5000,
        controls=[f"/a/e/{'r' * 500}"] * 5000,
        alert={
            "labels": [LabelShift(label=big, value=big, before=0.0, after=1.0)] * 5,
            "verdict": replace(
                full_page().alert.verdict,
                sentence=big,
                checked=["c" * 500] * 5000,
                shares=[Share(explanation=big, share=1e300, low=0.0, high=1.0)] * 50,
            ),
            "signals": full_page().alert.signals * 5000,
            "examples": [Example(call_id=big, why=big, trace_id=big)] * 100,
            "links": {f"{k}": "https://x/" + "y" * 1900 for k in range(500)},
        },
    )
    with receiver(lambda _: ACCEPTED if kind == "pagerduty" else Answer()) as server:
        assert sink(kind, server.url).deliver(message_of(page)).result == "delivered"
    (request,) = server.requests
    if kind == "pagerduty":
        assert len(request.body) <= MAX_BODY_BYTES
        assert len(request.json["payload"]["summary"]) <= MAX_SUMMARY
    if kind == "slack":
        check_slack(request.json)


def check_slack(body: Any) -> None:
    """The limits of Slack."""
    assert 0 < len(body["text"]) <= MAX_BLOCK
    assert len(body["blocks"]) <= 50
    for block in body["blocks"]:
        elements = block.get("elements") or [block["text"]]
        assert len(elements) <= 10
        assert all(0 < len(element["text"]) <= MAX_BLOCK for element in elements)


@pytest.fixture(scope="module")
def anything() -> Iterator[Receiver]:
    with receiver(lambda request: ACCEPTED if "/v2/" in request.path else Answer()) as server:
        yield server


@pytest.fixture(scope="module")
def every_sink(anything: Receiver) -> dict[str, MessageSink]:
    return {kind: sink(kind, anything.url) for kind in TYPES}


@settings(max_examples=60)
@given(record=struct(Page) | struct(Alert))
def test_any_record_can_be_told_by_every_sink(every_sink: dict[str, MessageSink], record: Page | Alert) -> None:
    message = message_of(record)
    for kind, made in every_sink.items():
        for told in (message, withhold(message, ["tenant", "model_served"])):
            json.dumps(body := made.compose(told), allow_nan=False)
            if kind == "slack":
                check_slack(body)
            if kind == "pagerduty" and "dedup_key" in body:
                assert 0 <= len(body["dedup_key"]) <= MAX_KEY
                assert len(body.get("payload", {}).get("summary", "")) <= MAX_SUMMARY
        made.recall(message)
        assert made.deliver(message).result == "delivered"


@given(record=struct(Page))
def test_a_record_that_is_drawn_is_one_that_a_topic_can_hold(record: Page) -> None:
    assert decode_result(encode(record)) == record


def test_texts_are_bounded_before_they_are_read_through() -> None:
    assert len(words.text("x" * 10_000_000)) == words.MAX_TEXT
    assert msgspec.json.encode(words.text("\ud7ff\uffff")) != b""
