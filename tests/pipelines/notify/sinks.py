"""One sink of each type, pointed at a server of the test."""

from typing import Any

from leeboard.pipelines.notify.sinks import MessageSink, SinkSettings
from leeboard.pipelines.notify.sinks.alertmanager import Alertmanager, AlertmanagerSettings
from leeboard.pipelines.notify.sinks.pagerduty import PagerDuty, PagerDutySettings
from leeboard.pipelines.notify.sinks.slack import Slack, SlackSettings
from leeboard.pipelines.notify.sinks.webhook import Webhook, WebhookSettings

ROUTING_KEY = "R" + "0" * 31
SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_made: list[MessageSink] = []
TYPES = ("pagerduty", "slack", "alertmanager", "webhook")


def settings_of(kind: str, url: str = "http://127.0.0.1:1", **changes: Any) -> SinkSettings:
    made: dict[str, Any] = {
        "pagerduty": lambda: PagerDutySettings(url=url, **changes),
        "slack": lambda: SlackSettings(**changes),
        "alertmanager": lambda: AlertmanagerSettings(url=url, **changes),
        "webhook": lambda: WebhookSettings(url=url, **changes),
    }
    settings: SinkSettings = made[kind]()
    return settings


def sink(kind: str, url: str = "http://127.0.0.1:1", timeout_s: float = 5.0, **changes: Any) -> MessageSink:
    settings: Any = settings_of(kind, url, **changes)
    made: dict[str, Any] = {
        "pagerduty": lambda: PagerDuty(settings, ROUTING_KEY, timeout_s),
        "slack": lambda: Slack(settings, f"{url}/services/T0/B0/x", timeout_s),
        "alertmanager": lambda: Alertmanager(settings, "", timeout_s),
        "webhook": lambda: Webhook(settings, SIGNING_KEY, timeout_s),
    }
    built: MessageSink = made[kind]()
    _made.append(built)
    return built


def close_all() -> None:
    while _made:
        _made.pop().close()
