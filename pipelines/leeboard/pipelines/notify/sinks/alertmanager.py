"""Prometheus Alertmanager, API v2: open incidents are sent again and again, and end when they are no longer."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import LastReport, Message
from msgspec import Struct

from .base import ATTEMPT_TIMEOUT_S, DELIVERED, MessageSink, Outcome, SinkSecret, Url
from .http import post

#: open alerts are sent again so often; an alert that is not ends by itself after HOLD_S: four sendings may be lost
RESEND_S, HOLD_S = 60.0, 300.0
#: alerts in one request: 100 x at most 20 KB of annotations = 2 MB
ALERTS_PER_REQUEST = 100
#: open alerts remembered: 10,000 x about 10 KB = 100 MB; the oldest ends by itself beyond that
MAX_OPEN_ALERTS = 10_000
#: lines of a list, characters of an annotation
MAX_ANNOTATION_LINES, MAX_ANNOTATION = 12, 4000
NAMES = {
    "stalled": "leeboard_stalled",
    "unreachable": "leeboard_unreachable",
    "test": "leeboard_test",
    "page": "LeeboardDrift",
    "notice": "LeeboardDrift",
}


class AlertmanagerSettings(
    Struct, tag_field="type", tag="alertmanager", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """`[notify.sinks.NAME]` with `type = "alertmanager"`."""

    #: base of the server, without /api/v2
    url: Url

    needs: ClassVar[SinkSecret | None] = None
    resolves_unreported: ClassVar[bool] = False
    takes_notices: ClassVar[bool] = True

    def wants(self, message: Message, last: LastReport | None, *, paged: bool) -> bool:  # noqa: ARG002
        """Everything."""
        return True


class OpenAlert(Struct):
    """What is sent again. Labels are those of the first message, for an alert with other labels is another alert."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_s: float
    ending: bool = False


class Alertmanager(MessageSink):
    """See `base.Sink`."""

    refresh_s: float | None = RESEND_S

    def __init__(
        self,
        settings: AlertmanagerSettings,
        secret: str | None = None,  # noqa: ARG002
        timeout_s: float = ATTEMPT_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = settings.url.rstrip("/") + "/api/v2/alerts"
        self._timeout_s = timeout_s
        self._clock = clock
        self._open: dict[tuple[str, str], OpenAlert] = {}

    def compose(self, message: Message) -> list[dict[str, Any]]:
        """The alert, open or ended."""
        now = self._clock()
        known = self._open.get((message.stream, message.key))
        alert = known or OpenAlert(labels(message), {}, min(words.seconds(message.alert.opened_at), now))
        alert.annotations = annotations(message)
        alert.ending = message.status == "resolve"
        if not alert.ending:
            self._keep(message, alert)
            return [_body(alert, now + HOLD_S)]
        others = [o for o in self._open.values() if o is not alert and o.labels == alert.labels and not o.ending]
        return [] if others else [_body(alert, now)]

    def deliver(self, message: Message) -> Outcome:
        """One request."""
        body = self.compose(message)
        outcome = self._post(body) if body else DELIVERED
        if outcome.result == "dropped" or (outcome.result == "delivered" and message.status == "resolve"):
            self._open.pop((message.stream, message.key), None)
        return outcome

    def recall(self, message: Message) -> None:
        """Follow an incident without sending it."""
        self.compose(message)
        if message.status == "resolve":
            self._open.pop((message.stream, message.key), None)

    def forget(self) -> None:
        """Another process sends them from now on."""
        self._open.clear()

    def refresh(self) -> Outcome:
        """Send every open alert again."""
        ends = self._clock() + HOLD_S
        bodies = [_body(alert, ends) for alert in self._open.values() if not alert.ending]
        for at in range(0, len(bodies), ALERTS_PER_REQUEST):
            outcome = self._post(bodies[at : at + ALERTS_PER_REQUEST])
            if outcome.result != "delivered":
                return outcome
        return DELIVERED

    def _keep(self, message: Message, alert: OpenAlert) -> None:
        self._open[message.stream, message.key] = alert
        if len(self._open) > MAX_OPEN_ALERTS:
            del self._open[next(iter(self._open))]

    def _post(self, body: list[dict[str, Any]]) -> Outcome:
        return post(self._url, msgspec.json.encode(body), {}, self._timeout_s)


def labels(message: Message) -> dict[str, str]:
    """Identity of the alert: few values each. `tenant` only where it is part of the scope."""
    alert = message.alert
    tenant, app, env, route = words.parts(message)
    main = words.main_signal(alert)
    every = {
        "alertname": NAMES[message.kind],
        "tenant": tenant or "",
        "app": app,
        "env": env,
        "route": route,
        "channel": words.text(main.channel) if main is not None else "",
        "verdict": alert.verdict.kind,
        "severity": alert.severity,
    }
    return {name: value for name, value in every.items() if value}


def annotations(message: Message) -> dict[str, str]:
    """Everything that may change while the alert is open."""
    alert = message.alert
    every = {
        "summary": words.headline(message, MAX_ANNOTATION),
        "description": words.sentence(message, MAX_ANNOTATION),
        "severity_now": alert.severity,
        "verdict_now": f"{alert.verdict.kind} ({alert.verdict.confidence})",
        "moved": _lines([words.moved(signal) for signal in alert.signals]),
        "labels_moved": _lines([words.label(shift) for shift in alert.labels]),
        "changed": words.change(alert) if alert.signals else "",
        "examples": _lines(words.examples(alert)),
        "joined": _lines(words.rolled_up(message)),
        "not_affected": _lines(words.controls(message)),
        "dedup_key": words.text(message.key),
        **{f"link_{number}": f"{name}: {url}" for number, (name, url) in enumerate(words.links(alert), 1)},
    }
    return {name: value for name, value in every.items() if value}


def _body(alert: OpenAlert, ends_s: float) -> dict[str, Any]:
    starts_ms = int(min(max(alert.starts_s, 0.0), ends_s) * 1000)
    times = {"startsAt": words.iso(starts_ms), "endsAt": words.iso(int(ends_s * 1000))}
    return {"labels": alert.labels, "annotations": alert.annotations, **times}


def _lines(items: list[str]) -> str:
    return "\n".join(words.some(items, MAX_ANNOTATION_LINES))[:MAX_ANNOTATION]
