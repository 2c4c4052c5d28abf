"""The sinks, and how one is made from its settings."""

from collections.abc import Callable
from typing import Any, TypeAlias

from .alertmanager import Alertmanager, AlertmanagerSettings
from .base import DELIVERED, MessageSink, Outcome, SinkSecret
from .pagerduty import PagerDuty, PagerDutySettings
from .slack import Slack, SlackSettings
from .webhook import Webhook, WebhookSettings

#: settings of every sink; their tags are the types of `[notify.sinks.NAME]`
SinkSettings: TypeAlias = PagerDutySettings | SlackSettings | AlertmanagerSettings | WebhookSettings

_MAKERS: dict[type[Any], Callable[[Any, str | None], MessageSink]] = {
    PagerDutySettings: PagerDuty,
    SlackSettings: Slack,
    AlertmanagerSettings: Alertmanager,
    WebhookSettings: Webhook,
}


def make_sink(settings: SinkSettings, secret: str | None) -> MessageSink:
    """A sink. Without its secret it can compose, not deliver. Raises ValueError where the secret has a wrong form."""
    return _MAKERS[type(settings)](settings, secret)


__all__ = ["DELIVERED", "MessageSink", "Outcome", "PagerDutySettings", "SinkSecret", "SinkSettings", "make_sink"]
