"""Keys, headers and markers of records: CloudEvents in binary mode, the position of the record that caused an alert."""

from datetime import UTC, datetime

from leeboard.pipelines.topics import RecordHeaders
from leeboard.schemas import Alert, Page
from msgspec import Struct

from .fold import POSITION_HEADER

JSON_TYPE = b"application/json"
#: keys of the markers in the state topic
DONE_KEY, BASE_KEY = b"#done", b"#base"
#: between scope and part in a key of the state topic; percent-encoded keys hold none
PART_SEPARATOR = "#"


class DoneMarker(Struct, array_like=True, frozen=True):
    """The marker `done`."""

    next: int


class BaseMarker(Struct, array_like=True, frozen=True):
    """The marker `base`."""

    next: int
    #: source -> offset and index of its newest record
    sources: dict[str, tuple[int, int]]
    #: offsets of records on which the engine failed
    failed: list[int]


def cloud_event(kind: str, id_: str, time_ms: int, source: str) -> list[tuple[str, bytes]]:
    """Headers of CloudEvents 1.0 in the binary mode of its Kafka protocol binding."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", id_.encode()),
        ("ce_type", f"leeboard.{kind}".encode()),
        ("ce_source", f"/leeboard/{source}".encode()),
        ("ce_time", time.encode()),
        ("content-type", JSON_TYPE),
    ]


def alert_headers(alert: Alert, partition: int, offset: int) -> RecordHeaders:
    """Headers of an alert that a record of `calls` caused."""
    event = cloud_event("alert", alert.id, alert.time, alert.scope.strip("/"))
    return [*event, (POSITION_HEADER, f"{partition}/{offset}".encode())]


def page_headers(page: Page) -> RecordHeaders:
    """Headers of a page."""
    return cloud_event("page", f"{page.page_key}-{page.status}-{page.alert.id}", page.time, "gate")


def scope_of_key(key: bytes | None) -> str:
    """The scope that a record's key names; empty if the key is not UTF-8."""
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return ""
