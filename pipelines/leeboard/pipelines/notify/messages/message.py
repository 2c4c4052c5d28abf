"""What is sent to a sink: a page, a notice, or a message about leeboard itself."""

from typing import Literal, TypeAlias

from leeboard.schemas import Alert, Page, Refused, Severity, Status, VerdictKind, decode_result
from msgspec import Struct

#: `stalled` and `unreachable` are about leeboard itself, `test` comes from `leeboard notify --test`
MessageKind: TypeAlias = Literal["page", "notice", "stalled", "unreachable", "test"]
#: the two streams: a notice never counts as a page
Stream: TypeAlias = Literal["pages", "notices"]
MessageRecord: TypeAlias = Page | Alert


class Message(Struct, frozen=True):
    """A record to be sent. A page's key is its dedup key at every sink, over all of its records."""

    kind: MessageKind
    record: MessageRecord

    @property
    def alert(self) -> Alert:
        """The alert, of a page the one that it is about."""
        return self.record.alert if isinstance(self.record, Page) else self.record

    @property
    def key(self) -> str:
        """The dedup key."""
        return self.record.page_key if isinstance(self.record, Page) else self.record.dedup_key

    @property
    def status(self) -> Status:
        """trigger, update or resolve."""
        return self.record.status

    @property
    def time(self) -> int:
        """Event time, epoch milliseconds."""
        return self.record.time

    @property
    def stream(self) -> Stream:
        """The stream that it belongs to."""
        return "notices" if self.kind == "notice" else "pages"


def message_of(record: MessageRecord) -> Message:
    """The message for a record of the topics `pages` and `alerts`."""
    return Message("page" if isinstance(record, Page) else "notice", record)


def read_message(value: bytes | None) -> Message:
    """The message of a record of those topics. Raises Refused if it is neither a page nor an alert."""
    found = decode_result(value or b"")
    if not isinstance(found, Page | Alert):
        raise Refused("unknown_schema", "neither a page nor an alert")
    return message_of(found)


class LastReport(Struct):
    """The last message of an incident that went to a sink: what a sink's `wants` compares the next one with."""

    #: event time, epoch milliseconds
    time: int
    severity: Severity
    verdict: VerdictKind
    #: it was the resolve
    over: bool = False
