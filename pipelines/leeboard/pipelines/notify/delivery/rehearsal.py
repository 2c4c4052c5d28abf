"""What would be sent, without sending: the same fold over the same topics, with sinks that only compose."""

from typing import Any

from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.messages.withhold import withhold
from leeboard.pipelines.notify.settings import NotifySettings
from leeboard.pipelines.notify.sinks import MessageSink, make_sink
from msgspec import Struct

from .router import Router


class RehearsedMessage(Struct):
    """A message, and what each sink would be sent; without any sink the message stands for itself."""

    message: Message
    bodies: list[tuple[str, Any]]


class Rehearsal:
    """Folds messages as `notify` would."""

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._router = Router(settings)
        self._sinks: dict[str, MessageSink] = {name: make_sink(sink, None) for name, sink in settings.sinks.items()}

    def add(self, message: Message) -> RehearsedMessage:
        """The next message."""
        names = self._router.route(message)
        message = withhold(message, self._settings.withhold)
        bodies = []
        for name in names:
            bodies.append((name, self._sinks[name].compose(message)))
            self._sinks[name].recall(message)
        return RehearsedMessage(message, bodies)
