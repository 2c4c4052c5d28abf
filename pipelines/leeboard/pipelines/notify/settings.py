"""`[notify]`: sinks, and the routes that lead to them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, get_args

from leeboard.schemas import Severity, Status, VerdictKind
from msgspec import Meta, Struct, field

from ..signals import ChannelName
from ..units import Positive
from .messages.message import Stream
from .sinks import PagerDutySettings, SinkSecret, SinkSettings

#: name of a sink: part of an environment variable, so lower case, and no two underscores together
SinkName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=32)]
#: sinks and routes: positions of 32 sinks are 1.6 KB in the metadata of a committed offset, which hold 4 KB
MAX_SINKS, MAX_ROUTES = 32, 256
#: names of the secrets of all sinks
SINK_SECRETS = tuple(sorted({kind.needs.field for kind in get_args(SinkSettings) if kind.needs is not None}))


class SecretError(Exception):
    """A sink without its secret, or with one that cannot be right; the message names the field, never the value."""


class RouteSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[notify.routes]]`: what goes to a sink. What is left out matches all; every route that matches counts."""

    sink: str
    #: pages, and where a person reads along also notices
    records: Annotated[list[Stream], Meta(min_length=1)] = field(default_factory=lambda: ["pages"])
    severity: list[Severity] = field(default_factory=list)
    #: shell patterns: `support-*`
    app: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    #: channels of the root signals
    channel: list[ChannelName] = field(default_factory=list)
    verdict: list[VerdictKind] = field(default_factory=list)
    status: list[Status] = field(default_factory=list)


class NotifySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[notify]`."""

    #: names of labels that never leave
    withhold: list[str] = field(default_factory=list)
    sinks: Annotated[dict[SinkName, SinkSettings], Meta(max_length=MAX_SINKS)] = field(default_factory=dict)
    #: none: every sink gets every page
    routes: Annotated[list[RouteSettings], Meta(max_length=MAX_ROUTES)] = field(default_factory=list)
    #: a message that no sink takes is tried for so long, then it is a dead letter
    retry_hours: Positive = 6.0
    #: minutes without any summary, or without a broker, until that is reported
    stalled_minutes: Positive = 15.0
    #: where metrics, /livez and /readyz are served
    http_host: str = "127.0.0.1"
    #: 0: nowhere
    http_port: Annotated[int, Meta(ge=0, le=65_535)] = 9474


def wrong_field(settings: NotifySettings) -> str | None:
    """What the types cannot say: the path of a wrong field and why; None where all is well."""
    for number, route in enumerate(settings.routes):
        path = f"notify.routes[{number}]"
        sink = settings.sinks.get(route.sink)
        if sink is None:
            known = ", ".join(sorted(settings.sinks)) or "none"
            return f"{path}.sink: there is no sink {route.sink!r}; known: {known}"
        if "notices" in route.records and not sink.takes_notices:
            return (
                f"{path}.records: notices never page, and {route.sink} is a pager; with "
                f"notify.sinks.{route.sink}.change_events = true those about identity become change events"
            )
    for name, sink in settings.sinks.items():
        noticed = any(route.sink == name and "notices" in route.records for route in settings.routes)
        if isinstance(sink, PagerDutySettings) and sink.change_events and not noticed:
            return f'notify.sinks.{name}.change_events: no route with records = ["notices"] leads to {name}'
    return None


def secret_of(name: str, sink: SinkSettings) -> str:
    """The secret of a sink, from the environment (as the configuration holds it) or its file; empty where it has none.

    Raises SecretError.
    """
    secret: SinkSecret | None = sink.needs
    if secret is None:
        return ""
    path = f"notify.sinks.{name}.{secret.field}"
    file = getattr(sink, f"{secret.field}_file")
    value: str = getattr(sink, secret.field)
    if file is not None:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(f"{path}_file: {error}") from None
    if not value:
        variable = f"LEEBOARD__NOTIFY__SINKS__{name}__{secret.field}".upper()
        raise SecretError(f"{path}: set {variable}, or {path}_file to a file that holds it")
    if not re.fullmatch(secret.form, value):
        raise SecretError(f"{path}: not {secret.words}")
    return value


def secrets_of(sinks: Mapping[str, SinkSettings]) -> dict[str, str]:
    """The secrets of all sinks. Raises SecretError."""
    return {name: secret_of(name, sink) for name, sink in sinks.items()}
