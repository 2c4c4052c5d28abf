"""PagerDuty, Events API v2: a page triggers and resolves an incident; a notice can only be a change event."""

import hashlib
import json
import logging
from typing import Any, ClassVar

from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import LastReport, Message
from leeboard.schemas import Page
from msgspec import Struct

from .base import ATTEMPT_TIMEOUT_S, DELIVERED, MessageSink, Outcome, SinkSecret, Url, no_answer, outcome_of_status

#: limits of PagerDuty
MAX_SUMMARY, MAX_KEY, MAX_BODY_BYTES = 1024, 255, 512 * 1024
#: kept free for the routing key and what the client adds
SPARE_BYTES = 1024
#: a page must interrupt: PagerDuty's `warning` and `info` are of low urgency
PAGERDUTY_SEVERITIES = {"critical": "critical", "warning": "error", "info": "info"}
#: what is halved first when a body is too large, until there is nothing of it left
TRIMMED = ("rolled_up", "labels", "controls", "examples", "checked", "explained_by", "moved", "links")

# what became of an attempt is said by us, without what it was about
logging.getLogger("pagerduty.api_client").setLevel(logging.CRITICAL + 1)


class PagerDutySettings(
    Struct, tag_field="type", tag="pagerduty", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """`[notify.sinks.NAME]` with `type = "pagerduty"`."""

    #: service region: https://events.eu.pagerduty.com in Europe
    url: Url = "https://events.pagerduty.com"
    #: notices about the served model and the prompt that are routed here become change events
    change_events: bool = False
    #: from the environment
    routing_key: str = ""
    routing_key_file: str | None = None

    needs: ClassVar[SinkSecret] = SinkSecret("routing_key", r"[A-Za-z0-9]{32}", "32 letters and digits")
    #: a resolve is nothing to a service that does not know its key, so every service gets it
    resolves_unreported: ClassVar[bool] = True

    @property
    def takes_notices(self) -> bool:
        """Notices never page: they can only be change events."""
        return self.change_events

    def wants(self, message: Message, last: LastReport | None, *, paged: bool) -> bool:  # noqa: ARG002
        """Every page; of notices the first message about identity."""
        if message.stream == "pages":
            return True
        return self.change_events and message.status == "trigger" and "identity" in words.root_channels(message.alert)


class PagerDuty(MessageSink):
    """See `base.Sink`."""

    def __init__(self, settings: PagerDutySettings, secret: str | None, timeout_s: float = ATTEMPT_TIMEOUT_S) -> None:
        self._client = _client(secret, settings.url, timeout_s) if secret is not None else None

    def compose(self, message: Message) -> dict[str, Any]:
        """The event, without the routing key."""
        if message.kind == "notice":
            return change_event(message)
        key = dedup_key(message.key)
        if message.status == "resolve":
            return {"event_action": "resolve", "dedup_key": key}
        return trigger(message, key)

    def deliver(self, message: Message) -> Outcome:
        """One request; retries are the dispatcher's."""
        import pagerduty

        assert self._client is not None
        event = self.compose(message)
        try:
            if message.kind == "notice":
                self._client.send_change_event(event["payload"], links=event.get("links"))
            else:
                action = event.pop("event_action")
                self._client.send_event(action, **event)
        except pagerduty.HttpError as error:
            # also of a 2xx whose body the client could not read: it says nothing that matters here
            response: Any = error.response
            return outcome_of_status(response.status_code, response.headers.get("Retry-After"))
        except (pagerduty.Error, UnicodeError) as error:  # the last one: a host that is no host name
            return no_answer(error)
        return DELIVERED

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()


def _client(routing_key: str, url: str, timeout_s: float) -> Any:
    """The official client, with its own retries switched off: they sleep, and those of a 429 never end."""
    import pagerduty

    class Once(pagerduty.EventsApiV2Client):
        def postprocess(self, response: Any) -> None:
            if not response.is_success:
                raise pagerduty.HttpError(f"HTTP {response.status_code}", response)

        def normalize_url(self, path: str) -> str:
            return url.rstrip("/") + path  # the client itself allows no http, which relays inside a cluster speak

    client = Once(routing_key)
    client.max_network_attempts = 0
    client.timeout = timeout_s  # type: ignore[assignment]
    return client


def dedup_key(key: str) -> str:
    """Our key, as PagerDuty takes it: a key that is too long or not printable is hashed."""
    if 0 < len(key) <= MAX_KEY and key.isprintable():
        return key
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def trigger(message: Message, key: str) -> dict[str, Any]:
    """The event that opens an incident, or repeats it."""
    alert = message.alert
    _, app, _, route = words.parts(message)
    main = words.main_signal(alert)
    event = {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "leeboard",
        "payload": {
            "summary": words.headline(message, MAX_SUMMARY),
            "source": words.scope_of_message(message) or "leeboard",
            "severity": PAGERDUTY_SEVERITIES[alert.severity],
            "timestamp": words.iso(message.time),
            "component": route,
            "group": app,
            "class": words.text(f"{main.channel}/{main.name}") if main is not None else f"leeboard_{message.kind}",
            "custom_details": details(message),
        },
        "links": _links(message),
    }
    return fitting(event)


def change_event(message: Message) -> dict[str, Any]:
    """A notice as context on the timeline of the service."""
    payload = {
        "summary": words.headline(message, MAX_SUMMARY),
        "source": words.scope_of_message(message) or "leeboard",
        "timestamp": words.iso(message.time),
        "custom_details": details(message),
    }
    return fitting({"payload": payload, "links": _links(message)})


def details(message: Message) -> dict[str, Any]:
    """`custom_details`: what a person on call asks first stands first."""
    alert = message.alert
    verdict = alert.verdict
    every: dict[str, Any] = {
        "verdict": verdict.kind,
        "confidence": verdict.confidence,
        "sentence": words.sentence(message),
        "changed": words.change(alert),
        "moved": [words.moved(signal) for signal in alert.signals],
        "labels": [words.label(shift) for shift in alert.labels],
        "explained_by": [
            f"{words.text(share.explanation)}: {share.share:.0%} ({share.low:.0%} to {share.high:.0%})"
            for share in verdict.shares
        ],
        "checked": [words.text(item) for item in verdict.checked],
        "served_model": words.text(alert.served_model or ""),
        "examples": words.examples(alert),
        "controls": words.controls(message),
        "rolled_up": words.rolled_up(message),
    }
    if isinstance(message.record, Page) and message.kind == "page":
        every["ledger"] = words.ledger(message.record.ledger)
    every["links"] = dict(words.links(alert))
    return {name: value for name, value in every.items() if value}


def fitting(event: dict[str, Any]) -> dict[str, Any]:
    """The event within the size that PagerDuty takes; `left_out` counts what had to go."""
    details_ = event["payload"]["custom_details"]
    for name in TRIMMED:
        while _size(event) > MAX_BODY_BYTES - SPARE_BYTES and details_.get(name):
            kept = list(details_[name])
            half = kept[: len(kept) // 2]
            left_out = details_.setdefault("left_out", {})
            left_out[name] = left_out.get(name, 0) + len(kept) - len(half)
            details_[name] = {key: details_[name][key] for key in half} if isinstance(details_[name], dict) else half
    return event


def _size(event: dict[str, Any]) -> int:
    """Bytes of the body, at most: with everything beyond ASCII escaped."""
    return len(json.dumps(event))


def _links(message: Message) -> list[dict[str, str]]:
    return [{"href": url, "text": name} for name, url in words.links(message.alert)]
