"""Who is told what: routes, incidents that stay with their sinks, and how few words a chat gets."""

from typing import Any

import pytest
from leeboard.pipelines.notify.delivery import router as module
from leeboard.pipelines.notify.delivery.router import Router
from leeboard.pipelines.notify.messages.message import message_of
from leeboard.pipelines.notify.messages.own import own_message
from leeboard.pipelines.notify.settings import NotifySettings, RouteSettings
from leeboard.schemas import RolledUp, Verdict
from msgspec.structs import replace

from .records import full_page, notice, page, real_notices, real_pages
from .sinks import settings_of

HOUR_MS = 3_600_000
SINKS = {
    "pager": settings_of("pagerduty"),
    "other": settings_of("pagerduty"),
    "chat": settings_of("slack"),
    "hook": settings_of("webhook"),
}


def router(*routes: RouteSettings, sinks: dict[str, Any] | None = None) -> Router:
    return Router(NotifySettings(sinks=SINKS if sinks is None else sinks, routes=list(routes)))


def route(sink: str, *records: Any, **matches: Any) -> RouteSettings:
    return RouteSettings(sink=sink, records=list(records) or ["pages"], **matches)


def verdict(kind: Any) -> Verdict:
    return Verdict(kind=kind, confidence="firm", sentence="s")


def test_without_routes_every_sink_gets_every_page_and_no_notice() -> None:
    folded = router()
    assert folded.route(page()) == [*SINKS]
    assert folded.route(notice("n")) == []


def test_with_routes_a_sink_without_one_gets_nothing_but_ends() -> None:
    folded = router(route("chat"))
    assert folded.route(page()) == ["chat"]
    assert folded.route(page(status="resolve")) == ["pager", "other", "chat"]


@pytest.mark.parametrize(
    ("matches", "message", "matched"),
    [
        ({"severity": ["critical"]}, page(severity="critical"), True),
        ({"severity": ["critical"]}, page(severity="warning"), False),
        ({"app": ["shop", "x"]}, page(app="shop"), True),
        ({"app": ["support-*"]}, page(app="support-eu"), True),
        ({"app": ["support-*"]}, page(app="shop"), False),
        ({"app": ["Shop"]}, page(app="shop"), False),
        ({"app": ["a/b"]}, page(app="a/b"), True),
        ({"env": ["prod*"]}, page(), True),
        ({"env": ["staging"]}, page(), False),
        ({"channel": ["output", "cost"]}, page(), True),
        ({"channel": ["cost"]}, page(), False),
        ({"verdict": ["prompt_changed"]}, page(verdict=verdict("prompt_changed")), True),
        ({"verdict": ["prompt_changed"]}, page(verdict=verdict("cannot_tell")), False),
        ({"status": ["resolve"]}, page(), False),
        ({"status": ["trigger"]}, page(), True),
        ({"severity": ["critical"], "app": ["other"]}, page(severity="critical"), False),
        ({"app": ["*"]}, page(scope="no scope key"), True),
    ],
)
def test_a_route_matches_what_it_names(matches: dict[str, Any], message: Any, matched: bool) -> None:
    assert router(route("chat", **matches)).route(message) == (["chat"] if matched else [])


def test_only_root_signals_count_for_the_channel() -> None:
    signals = [replace(signal, root="input_tokens") for signal in page().alert.signals]
    assert router(route("chat", channel=["output"])).route(page(signals=signals)) == []


def test_every_route_that_matches_counts_and_a_sink_is_told_once() -> None:
    assert router(route("chat"), route("hook"), route("chat", app=["shop"])).route(page()) == ["chat", "hook"]


def test_an_incident_stays_with_its_sink_when_it_matches_no_longer() -> None:
    folded = router(route("hook", severity=["critical"]))
    assert folded.route(page(severity="warning")) == []
    assert folded.route(page(status="update", severity="critical")) == ["hook"]
    assert folded.route(page(status="update", severity="warning")) == ["hook"]
    assert folded.route(page(status="resolve", severity="warning")) == ["pager", "other", "hook"]
    assert folded.route(page(status="resolve", severity="critical")) == [], "it is over"
    assert folded.route(page(status="trigger", severity="critical")) == ["hook"], "it opens again"


def test_a_page_is_resolved_at_every_pager_also_when_the_routes_have_changed() -> None:
    changed = router(route("other"))
    assert changed.route(page(status="resolve")) == ["pager", "other"]
    assert router(route("chat")).route(page(status="resolve", severity="warning"))[:2] == ["pager", "other"]


def test_a_pager_that_wants_no_ends_gets_none() -> None:
    folded = router(route("pager", status=["trigger", "update"]), sinks={"pager": SINKS["pager"]})
    assert [folded.route(page(status=status)) for status in ("trigger", "update", "resolve")] == [
        ["pager"],
        ["pager"],
        [],
    ]


def test_a_notice_is_an_alert_of_severity_info() -> None:
    folded = router(route("hook", "notices"), route("chat", "pages", "notices"))
    assert folded.route(notice("a")) == ["chat", "hook"]
    assert folded.route(notice("b", severity="warning")) == []
    assert folded.route(notice("a", "update", severity="warning")) == ["hook"], "what began as a notice goes on"
    assert folded.route(notice("a", "resolve", severity="warning")) == ["chat", "hook"]


def test_a_word_about_a_notice_that_has_ended_is_none() -> None:
    folded = router(route("hook", "notices"))
    folded.route(notice("a"))
    folded.route(notice("a", "resolve"))
    confirmed = notice("a", "update", resolved_at=1, confirmed=True)
    assert folded.route(confirmed) == []
    assert router(route("hook", "notices")).route(confirmed) == []


def test_a_chat_is_told_the_first_word_and_the_last_and_little_between() -> None:
    folded = router(route("chat"))
    kinds = ("cannot_tell", "segment", "prompt_changed")
    hours = [
        folded.route(
            page(status="update" if hour else "trigger", time=hour * HOUR_MS // 2, verdict=verdict(kinds[hour % 3]))
        )
        for hour in range(5)
    ]
    assert hours == [["chat"], [], ["chat"], [], ["chat"]]
    assert folded.route(page(status="update", time=3 * HOUR_MS, verdict=verdict("prompt_changed"))) == ["chat"]
    assert folded.route(page(status="update", time=9 * HOUR_MS, verdict=verdict("prompt_changed"))) == [], "no news"


def test_a_chat_is_told_at_once_when_a_page_gets_worse_and_within_the_hour_who_joined() -> None:
    folded = router(route("chat"))
    folded.route(page(severity="warning"))
    assert folded.route(page(status="update", time=1, severity="critical")) == ["chat"]
    joined = full_page("update", page_key="k", time=2, alert={"severity": "critical"})
    joined = replace(joined, rolled_up=[RolledUp(dedup_key="x", scope="/a/b/c", opened_at=0)])
    assert folded.route(message_of(joined)) == []
    assert folded.route(message_of(replace(joined, time=1 + HOUR_MS))) == ["chat"]


def test_a_notice_that_has_become_a_page_is_told_by_the_page_alone() -> None:
    folded = router(route("chat", "pages", "notices"))
    assert folded.route(notice("a")) == ["chat"]
    assert folded.route(page("a", severity="warning")) == ["chat"]
    assert folded.route(notice("a", "resolve", severity="warning")) == []
    assert folded.route(page("a", "resolve", severity="warning")) == ["pager", "other", "chat"]
    assert folded.route(page("b")) == ["chat"]


def test_the_same_messages_give_the_same_sinks_so_history_can_be_read_back() -> None:
    routes = (route("chat", "pages", "notices"), route("hook", "notices"), route("pager", severity=["critical"]))
    messages = [message_of(record) for record in (*real_notices(), *real_pages())]
    live, again = router(*routes), router(*routes)
    half = len(messages) // 2
    told = [live.route(message) for message in messages]
    for message in messages[:half]:
        again.route(message)
    assert [again.route(message) for message in messages[half:]] == told[half:]
    assert any(told)


def test_trouble_of_leeboard_goes_to_every_sink_that_gets_pages_and_ends_where_it_was_told() -> None:
    routes = route("other", app=["shop"]), route("chat", "notices"), route("hook", "pages", "notices")
    began, ended = (own_message("stalled", status, "leeboard", 0) for status in ("trigger", "resolve"))
    assert router(*routes).route(ended) == ["pager", "other"], "where it says nothing if nothing is open"
    folded = router(*routes)
    assert folded.route(began) == ["other", "hook"]
    assert folded.route(began) == ["other", "hook"], "told again"
    assert folded.route(ended) == ["pager", "other", "hook"]
    assert router().route(began) == [*SINKS]


def test_what_is_remembered_is_bounded_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INCIDENTS", 100)
    folded = router(route("hook", severity=["critical"]), sinks={"hook": SINKS["hook"]})
    for number in range(110):
        folded.route(page(str(number), severity="critical"))
    assert len(folded._reported) == 100
    assert folded.route(page("9", "resolve", severity="warning")) == []
    assert folded.route(page("10", "resolve", severity="warning")) == ["hook"]
