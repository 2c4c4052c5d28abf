"""What the feed has to know of the configuration."""

from leeboard.pipelines.notify.messages.message import Stream
from leeboard.pipelines.notify.settings import NotifySettings
from msgspec import Struct


class FeedSettings(Struct, frozen=True):
    """What the feed reads and how."""

    notify: NotifySettings
    app_id: str
    pages_topic: str
    #: read only if a route wants notices
    alerts_topic: str
    #: of the consumer group
    session_s: float
    #: do dead letters hold the bytes of an unreadable record?
    keep_payload: bool

    def streams(self) -> dict[str, Stream]:
        """Topic -> stream."""
        streams: dict[str, Stream] = {self.pages_topic: "pages"}
        if any("notices" in route.records for route in self.notify.routes):
            streams[self.alerts_topic] = "notices"
        return streams
