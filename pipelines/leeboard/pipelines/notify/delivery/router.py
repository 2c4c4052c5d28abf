"""Which sinks a message goes to: a fold over the messages, so that reading them again gives the same answer.

An incident stays with the sinks that had its first message: its updates and its resolve go there whatever they match,
so that nothing that was opened stays open. Pages and notices are two streams; a notice never counts as a page.
"""

from fnmatch import fnmatchcase

from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import LastReport, Message, Stream
from leeboard.pipelines.notify.settings import NotifySettings, RouteSettings
from leeboard.schemas import Status, scope_parts

#: incidents whose sinks are remembered: 50,000 x about 500 bytes = 25 MB; those reported longest ago go first
MAX_INCIDENTS = 50_000


class Router:
    """Folds messages into names of sinks."""

    def __init__(self, settings: NotifySettings) -> None:
        self._sinks = settings.sinks
        self._routes = settings.routes or [RouteSettings(sink=name) for name in settings.sinks]
        #: incident -> sink -> what went there last
        self._reported: dict[tuple[Stream, str], dict[str, LastReport]] = {}

    def route(self, message: Message) -> list[str]:
        """Route the next message: the sinks that get it, in the order of the configuration."""
        incident = (message.stream, message.key)
        before = self._reported.get(incident, {})
        chosen: list[str] = []
        for name, sink in self._sinks.items():
            last = before.get(name)
            if last is not None and last.over:  # only a trigger opens it again; anything else about it is dropped
                if message.status != "trigger":
                    continue
                last = None
            if not (self._concerns(name, message, last) and self._permits(name, message.stream, message.status)):
                continue
            paged = name in self._reported.get(("pages", message.key), {})
            if not sink.wants(message, last, paged=paged):
                continue
            chosen.append(name)
        if chosen:
            self._remember(incident, message, chosen)
        return chosen

    def forget(self) -> None:
        """Forget what was reported."""
        self._reported.clear()

    def _concerns(self, name: str, message: Message, last: LastReport | None) -> bool:
        """Does the sink know this incident, does a route lead there, or must it get the resolve in any case?"""
        if last is not None:
            return True
        if message.status == "resolve" and message.stream == "pages" and self._sinks[name].resolves_unreported:
            return True
        return any(route.sink == name and _matches(route, message) for route in self._routes)

    def _permits(self, name: str, stream: Stream, status: Status) -> bool:
        """Do the routes of the sink let records of this status pass? A sink without routes still gets resolves."""
        own = [route for route in self._routes if route.sink == name]
        if not own:
            return True
        return any(stream in route.records and (not route.status or status in route.status) for route in own)

    def _remember(self, incident: tuple[Stream, str], message: Message, chosen: list[str]) -> None:
        entry = self._reported.pop(incident, {})
        for name in chosen:
            entry[name] = LastReport(
                time=message.time,
                severity=message.alert.severity,
                verdict=message.alert.verdict.kind,
                over=message.status == "resolve",
            )
        self._reported[incident] = entry
        if len(self._reported) > MAX_INCIDENTS:
            del self._reported[next(iter(self._reported))]


def _matches(route: RouteSettings, message: Message) -> bool:
    """Does the route want this message by itself? A notice is an alert of severity `info`."""
    alert = message.alert
    if message.stream not in route.records:
        return False
    if message.kind in ("stalled", "unreachable"):  # leeboard itself: of no app or env
        return message.status == "trigger"
    if message.stream == "notices" and (alert.severity != "info" or (alert.status == "update" and alert.resolved_at)):
        return False
    if route.status and message.status not in route.status:
        return False
    try:
        _, app, env, _ = scope_parts(alert.scope)
    except ValueError:
        app, env = alert.scope, ""
    return (
        (not route.severity or alert.severity in route.severity)
        and (not route.app or any(fnmatchcase(app, pattern) for pattern in route.app))
        and (not route.env or any(fnmatchcase(env, pattern) for pattern in route.env))
        and (not route.channel or bool(words.root_channels(alert) & {*route.channel}))
        and (not route.verdict or alert.verdict.kind in route.verdict)
    )
