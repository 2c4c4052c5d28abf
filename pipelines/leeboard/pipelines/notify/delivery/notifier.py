"""Router, sinks and queues as one thing: what every runtime gives its pages and notices to. Knows no Kafka."""

import queue
from collections.abc import Callable, Collection, Hashable, Mapping

from leeboard.pipelines.notify.messages.message import Message, Stream
from leeboard.pipelines.notify.messages.router import Router
from leeboard.pipelines.notify.messages.withhold import withhold
from leeboard.pipelines.notify.settings import NotifySettings
from leeboard.pipelines.notify.sinks import Outcome, Sink

from .dispatcher import Dispatcher
from .worker import Item, Observer, Pace

Settled = tuple[Item, str, Outcome]


class Notifier:
    """Takes messages in their order; `settled` says, later, what became of each at each sink.

    Nothing is sent while `may_send` says no.
    """

    def __init__(
        self,
        settings: NotifySettings,
        sinks: Mapping[str, Sink],
        observer: Observer,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._withheld = settings.withhold
        self._router = Router(settings)
        #: bounded by the queues of the sinks
        self._settled: queue.SimpleQueue[Settled] = queue.SimpleQueue()
        pace = Pace(settings.retry_hours * 3600.0)
        self.dispatcher = Dispatcher(sinks, pace, lambda *what: self._settled.put(what), observer, may_send)

    def route(self, message: Message) -> list[str]:
        """The sinks for the next message. Every message must come by here once, in order."""
        return self._router.route(message)

    def tell(self, message: Message, names: Collection[str], ticket: Hashable, since_s: float | None = None) -> None:
        """Hand a routed message to sinks; `ticket` comes back in `settled`."""
        self.dispatcher.submit(withhold(message, self._withheld), names, ticket, since_s)

    def recall(self, message: Message, names: Collection[str]) -> None:
        """These sinks were told this before."""
        if names:
            self.dispatcher.recall(withhold(message, self._withheld), names)

    def settled(self) -> list[Settled]:
        """What became of messages since the last question: delivered, or dropped with its reason."""
        found = []
        while not self._settled.empty():
            found.append(self._settled.get())
        return found

    def is_full(self, stream: Stream, spare: int) -> bool:
        """Has some sink room for fewer than `spare` further messages?"""
        return self.dispatcher.room(stream) < spare

    def forget(self) -> None:
        """Begin anew: nothing waits, nothing was told. Attempts that are being made end before, and can be settled."""
        self.dispatcher.forget()
        self._router.forget()
