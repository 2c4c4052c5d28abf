"""Labels that never leave: nothing of them is in what any sink sends."""

import json
from typing import Any

import pytest
from leeboard.pipelines.notify.messages.message import Message, message_of
from leeboard.pipelines.notify.messages.withhold import withhold
from leeboard.schemas import LabelShift, RolledUp, Verdict, encode
from leeboard.schemas.alert import Share
from msgspec.structs import replace

from .records import full_page, real_notices, real_pages
from .sinks import TYPES, sink

TENANT = "Müller & Söhne"
SCOPE = "M%C3%BCller%20%26%20S%C3%B6hne/shop/production/answer"


def telling() -> Message:
    """A page that names its tenant and a customer wherever it can."""
    sentence = f"within tenant {TENANT} and customer = northwind: answers are longer. customer southwind is quiet"
    page = full_page(
        controls=[SCOPE.replace("answer", "search")],
        rolled_up=[RolledUp(dedup_key="x", scope=SCOPE.replace("answer", "summary"), opened_at=0)],
        alert={
            "scope": SCOPE,
            "labels": [
                LabelShift(label="tenant", value=TENANT, before=0.1, after=0.9),
                LabelShift(label="customer", value="northwind", before=0.1, after=0.9),
                LabelShift(label="region", value="north", before=0.1, after=0.9),
            ],
            "verdict": Verdict(
                kind="segment",
                confidence="firm",
                sentence=sentence,
                shares=[Share(explanation=f"tenant {TENANT}", share=1.0, low=0.9, high=1.1)],
                checked=["without customer northwind: inside its noise"],
            ),
            "links": {
                "plain": "https://x.example/north",
                "tenant": f"https://x.example/{SCOPE.partition('/')[0]}",
                "scope": f"https://x.example/{SCOPE.replace('%', '%25').replace('/', '%2F')}",
            },
            "runbook_url": f"https://x.example/?t={SCOPE.partition('/')[0]}",
        },
    )
    return message_of(page)


@pytest.mark.parametrize("kind", TYPES)
def test_a_withheld_label_is_in_nothing_that_is_sent(kind: str) -> None:
    message = telling()
    before = json.dumps(sink(kind).compose(message), ensure_ascii=False)
    after = json.dumps(sink(kind).compose(withhold(message, ["tenant", "customer"])), ensure_ascii=False)
    assert "Müller" in before
    for secret in ("Müller", "M%C3", "M%25C3", "northwind", "southwind"):
        assert secret not in after, secret
    assert "north" in after, "other labels and links stay"
    assert "answers are longer" in after


def test_what_is_not_withheld_is_sent_as_it_is() -> None:
    message = telling()
    assert withhold(message, []) == message
    other = withhold(message, ["region"])
    assert [shift.label for shift in other.alert.labels] == ["tenant", "customer"]
    assert other.alert.scope == SCOPE
    assert "northwind" in other.alert.verdict.sentence
    for record in (*real_pages(), *real_notices()):
        assert withhold(message_of(record), ["customer"]).record == record


def test_the_served_model_can_be_withheld() -> None:
    for record in (*real_pages(), *real_notices()):
        held = encode(withhold(message_of(record), ["model_served"]).record)
        assert b"m-2" not in held
        assert b"m-1" not in held
    assert any(b"m-2" in encode(record) for record in real_pages())


def test_a_value_is_taken_out_as_a_whole_word_only() -> None:
    labels = [
        LabelShift(label="lane", value="a", before=0.0, after=1.0),
        LabelShift(label="x", value="[z]", before=0.0, after=1.0),
    ]
    said: Any = replace(full_page().alert.verdict, sentence="latency of lane a rose a lot, see[z]")
    message = withhold(message_of(full_page(alert={"labels": labels, "verdict": said})), ["lane", "x"])
    assert message.alert.verdict.sentence == "latency of lane (withheld) rose (withheld) lot, see(withheld)"


def test_what_leads_to_an_incident_stays_the_same() -> None:
    message = telling()
    held = withhold(message, ["tenant"])
    assert (held.key, held.status, held.time, held.alert.id) == (
        message.key,
        message.status,
        message.time,
        message.alert.id,
    )
    assert held.alert.signals == message.alert.signals
