"""Pages and notices for tests: what the engine and the gate make of simulated calls, and one with every field set."""

from functools import cache
from pathlib import Path
from typing import Any

from leeboard.pipelines.notify.messages.message import Message, message_of
from leeboard.schemas import Alert, Page, decode_result, scope_key
from msgspec.structs import replace

from ..watch.streams import Outcome, Traffic, run

FULL = Path(__file__).parents[2] / "schemas" / "goldens" / "page-1.full.json"


@cache
def outcome() -> Outcome:
    """Latency rises fourfold after 800 calls and recovers; then the served model changes, and answers grow longer."""
    traffic = Traffic()
    calls = traffic.take(800) + traffic.take(60, latency=4.0) + traffic.take(900)
    return run(calls + traffic.take(300, answer=1.6, model_served="m-2"))


def real_pages() -> list[Page]:
    """What the gate made of it: a page that resolves, among others."""
    return outcome().pages()


def real_notices() -> list[Alert]:
    """The alerts of it."""
    return outcome().alerts


def full_page(status: str = "trigger", **changes: Any) -> Page:
    """Every field is set."""
    page = decode_result(FULL.read_bytes())
    assert isinstance(page, Page)
    alert = replace(page.alert, status=status, announced=False, muted=False)
    if status != "resolve":
        alert = replace(alert, resolved_at=None, resolution=None)
    return replace(page, status=status, alert=replace(alert, **changes.pop("alert", {})), **changes)


def page(key: str = "k", status: str = "trigger", *, app: str = "shop", time: int = 0, **alert: Any) -> Message:
    """A small page."""
    scope = scope_key(None, app, "production", "answer")
    alert = {"dedup_key": key, "id": f"{key}-{status}-{time}", "scope": scope, "time": time, **alert}
    return message_of(full_page(status, page_key=key, time=time, rolled_up=[], alert=alert))


def notice(key: str = "k", status: str = "trigger", *, time: int = 0, **alert: Any) -> Message:
    """A small notice: an alert of severity `info`."""
    return message_of(replace(page(key, status, time=time, **{"severity": "info", **alert}).alert))
