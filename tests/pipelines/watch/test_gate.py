"""The page budget holds, whatever the alerts say."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leeboard.pipelines.watch.gate import fold as module
from leeboard.pipelines.watch.gate.fold import APP_SHARE, WEEK_MS, Gate, H
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import (
    Alert,
    AlertEvidence,
    Baseline,
    Change,
    Page,
    Position,
    Positions,
    Verdict,
    encode,
    scope_key,
)
from msgspec.structs import replace

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: rounding of h over any history here
SLACK = 1e-6
CALL = Position(sequence=1, call_id="c")
EVIDENCE = AlertEvidence(
    engine_version="1",
    numerics="",
    config_fingerprint="",
    baseline=Baseline(start=0, end=0, calls=0),
    positions=Positions(first=CALL, opening=CALL, this=CALL),
)


def alert(key: str, time: int, *, app: str = "app", route: str = "", **changes: Any) -> Alert:
    """A candidate: its level is far beyond the page level, its floor passed."""
    at = changes.pop("change", (time, time, time))
    fields: dict[str, Any] = {
        "status": "trigger",
        "severity": "warning",
        "level": 1e12,
        "floor_passed": True,
        "resolved_at": time if changes.get("status") == "resolve" else None,
        **changes,
    }
    return Alert(
        id=f"{key}/{time}",
        dedup_key=key,
        scope=scope_key(None, app, "default", route or key),
        time=time,
        opened_at=time,
        change=Change(estimate=at[0], earliest=at[1], latest=at[2], calls_since=1),
        verdict=Verdict(kind="cannot_tell", confidence="firm", sentence="."),
        signals=[],
        evidence=EVIDENCE,
        **fields,
    )


def fold(alerts: Iterable[Alert], budget: BudgetSettings | None = None) -> tuple[Gate, list[Page]]:
    gate = Gate(budget or BudgetSettings())
    return gate, [page for a in alerts for page in gate.step(a)]


def triggers(pages: Iterable[Page]) -> list[str]:
    return [page.page_key for page in pages if page.status == "trigger"]


@st.composite
def histories(draw: st.DrawFn) -> list[Alert]:
    """Alerts of at most 12 incidents of 4 applications, with gaps from nothing to weeks, in any order."""
    time = 0
    alerts = []
    for _ in range(draw(st.integers(1, 60))):
        time += draw(st.sampled_from([0, 0, 1, HOUR_MS, DAY_MS, 3 * DAY_MS, WEEK_MS, 9 * WEEK_MS, -DAY_MS]))
        number = draw(st.integers(0, 11))
        status = draw(st.sampled_from(["trigger", "update", "update", "resolve"]))
        around = draw(st.sampled_from([0, HOUR_MS, WEEK_MS]))
        alerts.append(
            alert(
                f"i{number}",
                max(time, 0),
                app=f"app-{number % 4}",
                status=status,
                level=draw(st.sampled_from([1e3, 1e6, 2.8e6, 1e7, 1e9, 1e300])),
                severity=draw(st.sampled_from(["info", "warning", "critical"])),
                floor_passed=draw(st.sampled_from([True, True, False])),
                announced=draw(st.sampled_from([False] * 7 + [True])),
                muted=draw(st.sampled_from([False] * 7 + [True])),
                confirmed=draw(st.sampled_from([None, None, True])),
                served_model=draw(st.sampled_from([None, "m-1", "m-2"])),
                change=(time, time - around, time + around),
            )
        )
    return alerts


budgets = st.sampled_from([0.1, 1.0, 3.0, 50.0]).map(
    lambda rate: BudgetSettings(pages_per_week=rate, calls_per_week=rate * 1e6)
)


def in_order(alerts: list[Alert]) -> list[Alert]:
    """Alerts of one history as an engine sends them: an incident that has ended says nothing but what was confirmed."""
    ended: set[str] = set()
    kept = []
    for a in alerts:
        over = a.dedup_key in ended
        if a.status == "resolve":
            ended.add(a.dedup_key)
        if not over:
            kept.append(a)
        elif a.confirmed:
            kept.append(replace(a, status="update", resolved_at=a.time, resolution="recovered"))
    return kept


def counted_at_last(pages: Sequence[Page], confirmed: set[str]) -> list[int]:
    """When the pages were sent that nobody confirmed."""
    return [page.time for page in pages if page.status == "trigger" and page.page_key not in confirmed]


@given(alerts=histories(), budget=budgets)
def test_counted_pages_never_exceed_the_budget_in_any_window(alerts: list[Alert], budget: BudgetSettings) -> None:
    gate, pages = fold(alerts, budget)
    pages += gate.advance(max(gate.state.time, 0) + 20 * WEEK_MS)
    uncounted = {a.dedup_key for a in alerts if a.confirmed}
    for times in (counted_at_last(pages, set()) if not uncounted else [], counted_at_last(pages, uncounted)):
        assert times == sorted(times)
        for i, first in enumerate(times):
            for j in range(i, len(times)):
                allowed = budget.pages_per_week * (times[j] - first) / WEEK_MS + H + 1 + SLACK
                assert j - i + 1 <= allowed


@given(alerts=histories(), budget=budgets)
def test_the_controller_stays_below_its_ceiling_and_no_app_holds_more_than_half(
    alerts: list[Alert], budget: BudgetSettings
) -> None:
    gate = Gate(budget)
    for a in alerts:
        for page in gate.step(a):
            assert 0.0 <= page.ledger.h <= H + 1 + SLACK
        assert max(gate.state.held.values(), default=0.0) <= APP_SHARE + SLACK
        assert sum(gate.state.held.values()) <= gate.state.h + SLACK
        assert 0.0 <= gate.h <= gate.state.h


@given(alerts=histories(), budget=budgets)
def test_the_ledger_adds_up(alerts: list[Alert], budget: BudgetSettings) -> None:
    gate = Gate(budget)
    sent = 0
    for a in in_order(alerts):
        for page in gate.step(a):
            sent += page.status == "trigger"
            assert page.ledger.pages_per_week == budget.pages_per_week
        ledger = gate.ledger()
        assert ledger.counted + ledger.confirmed == sent
        assert ledger.waiting == len(gate.state.waiting)
    weeks = (gate.state.time - alerts[0].time) / WEEK_MS
    assert gate.ledger().allowance == pytest.approx(budget.pages_per_week * weeks, rel=1e-5)


@given(alerts=histories(), budget=budgets)
def test_only_candidates_page_and_an_incident_pages_once(alerts: list[Alert], budget: BudgetSettings) -> None:
    _, pages = fold(in_order(alerts), budget)
    paged = triggers(pages)
    joined = {member.dedup_key for page in pages for member in page.rolled_up}
    assert len(set(paged)) == len(paged) and not joined & set(paged)
    for page in pages:
        if page.status == "trigger":
            a = page.alert
            assert not a.muted and not a.announced and a.resolved_at is None
            enough = a.floor_passed and a.level >= budget.calls_per_week / budget.pages_per_week
            assert enough or a.severity == "critical"


@given(alerts=histories(), budget=budgets, moments=st.lists(st.integers(0, 12 * WEEK_MS), max_size=20))
def test_pages_do_not_depend_on_how_often_time_is_told(
    alerts: list[Alert], budget: BudgetSettings, moments: list[int]
) -> None:
    end = max(a.time for a in alerts) + 30 * WEEK_MS
    gate, once = fold(alerts, budget)
    once += gate.advance(end)
    often: list[Page] = []
    gate = Gate(budget)
    asked = sorted([*moments, *(page.time - 1 for page in once), *(page.time for page in once)])
    latest = alerts[0].time
    for a in alerts:
        for moment in asked:
            if latest <= moment < a.time:
                often += gate.advance(moment)
        often += gate.step(a)
        latest = max(latest, a.time)
    for moment in asked:
        often += gate.advance(moment)
    often += gate.advance(end)
    assert [encode(page) for page in often] == [encode(page) for page in once]


@given(alerts=histories(), budget=budgets, cut=st.integers(0, 60))
def test_a_restored_gate_sends_the_same_pages(alerts: list[Alert], budget: BudgetSettings, cut: int) -> None:
    _, whole = fold(alerts, budget)
    gate, pages = fold(alerts[:cut], budget)
    other = Gate(budget)
    other.restore(gate.snapshot())
    pages += [page for a in alerts[cut:] for page in other.step(a)]
    assert [encode(page) for page in pages] == [encode(page) for page in whole]


def burst(n: int, time: int = 0, prefix: str = "b", **changes: Any) -> list[Alert]:
    """Candidates of as many applications."""
    return [alert(f"{prefix}{k}", time, app=f"{prefix}{k}", **changes) for k in range(n)]


def test_candidates_beyond_the_ceiling_wait_and_page_when_they_may() -> None:
    gate, pages = fold(burst(9))
    assert triggers(pages) == ["b0", "b1", "b2", "b3", "b4"]
    assert [page.ledger.waiting for page in pages] == [0] * 5 and gate.ledger().waiting == 4
    later = list(gate.advance(4 * WEEK_MS))
    assert triggers(later) == ["b5", "b6", "b7", "b8"]
    weeks = [page.time / WEEK_MS for page in later]
    assert weeks == pytest.approx([0, 1, 2, 3], abs=1e-6) and weeks[0] > 0
    assert gate.ledger().waiting == 0


def test_higher_evidence_is_asked_for_while_the_controller_is_high() -> None:
    """A_page e^h: three counted pages ask for 20 times the page level."""
    gate, _ = fold(burst(3))
    assert triggers(gate.step(alert("weak", 0, level=1e7))) == []
    assert triggers(gate.step(alert("strong", 0, level=1e6 * math.exp(3) * 1.001))) == ["strong"]
    assert triggers(gate.step(alert("severe", 0, level=1e4, severity="critical", app="x"))) == ["severe"]


def test_a_severe_incident_waits_below_nothing_but_the_ceiling() -> None:
    gate, pages = fold(burst(7, severity="critical", level=1e4))
    assert len(triggers(pages)) == 5 and gate.ledger().waiting == 2


def test_an_incident_that_resolves_while_it_waits_never_pages() -> None:
    gate, _ = fold(burst(7))
    assert triggers(gate.advance(1)) == ["b5"], "h is below its ceiling after a millisecond"
    assert list(gate.state.waiting) == ["b6"]
    pages = gate.step(alert("b6", HOUR_MS, app="b6", status="resolve"))
    assert [*pages, *gate.advance(50 * WEEK_MS)] == []


@pytest.mark.parametrize("change", [{"muted": True}, {"floor_passed": False}, {"level": 1e3}, {"announced": True}])
def test_an_incident_that_is_no_candidate_any_more_waits_no_longer(change: dict[str, Any]) -> None:
    gate, _ = fold(burst(7))
    gate.step(alert("b6", HOUR_MS, app="b6", status="update", **change))
    assert gate.ledger().waiting == 0 and list(gate.advance(50 * WEEK_MS)) == []
    again = gate.step(alert("b6", 50 * WEEK_MS, app="b6", status="update"))
    assert triggers(again) == ["b6"]


@pytest.mark.parametrize(
    "change",
    [
        {"muted": True},
        {"announced": True},
        {"floor_passed": False},
        {"level": 9.9e5},
        {"level": 1e3, "severity": "info"},
    ],
)
def test_no_candidate_never_pages(change: dict[str, Any]) -> None:
    gate, pages = fold([alert("a", 0, **change), alert("a", DAY_MS, status="update", **change)])
    assert pages == [] and list(gate.advance(WEEK_MS)) == []


def test_one_app_holds_at_most_half_and_its_own_pages_wait() -> None:
    gate, pages = fold([alert(f"a{k}", 0) for k in range(5)])
    assert triggers(pages) == ["a0", "a1"]
    assert triggers(gate.step(alert("other", 0, app="other"))) == ["other"], "others do not wait for it"
    later = list(gate.advance(30 * WEEK_MS))
    assert triggers(later) == ["a2", "a3", "a4"]
    assert later[0].time > 0


def on_model(key: str, time: int, **changes: Any) -> Alert:
    return alert(key, time, **{"served_model": "m-1", "app": key, "change": (0, -HOUR_MS, HOUR_MS), **changes})


def test_incidents_of_one_change_of_a_served_model_are_one_page() -> None:
    gate, pages = fold([on_model("a", 0), on_model("b", 1), on_model("c", 2)])
    assert [(page.status, page.page_key) for page in pages] == [("trigger", "a"), ("update", "a"), ("update", "a")]
    assert [member.dedup_key for member in pages[-1].rolled_up] == ["b", "c"]
    assert gate.ledger().counted == 1
    ends = [gate.step(on_model(key, DAY_MS, status="resolve")) for key in "acb"]
    assert [[page.status for page in pages] for pages in ends] == [[], [], ["resolve"]]
    assert ends[-1][0].alert.status == "resolve" and ends[-1][0].alert.dedup_key == "a"


@pytest.mark.parametrize(
    "other", [{"served_model": "m-2"}, {"served_model": None}, {"change": (DAY_MS, DAY_MS, DAY_MS)}]
)
def test_another_model_or_another_time_is_a_page_of_its_own(other: dict[str, Any]) -> None:
    _, pages = fold([on_model("a", 0), on_model("b", 1, **other)])
    assert triggers(pages) == ["a", "b"]


def test_an_incident_that_comes_back_to_its_open_page_is_part_of_it_again() -> None:
    gate, pages = fold([on_model("a", 0), on_model("b", 1), on_model("a", 2, status="resolve"), on_model("a", 3)])
    assert [(page.status, page.page_key) for page in pages] == [("trigger", "a"), ("update", "a"), ("update", "a")]
    assert gate.step(on_model("b", 4, status="resolve")) == []
    assert [page.status for page in gate.step(on_model("a", 5, status="resolve"))] == ["resolve"]
    assert gate.ledger().counted == 1


def test_a_resolved_page_is_joined_by_nothing() -> None:
    _, pages = fold([on_model("a", 0), on_model("a", 1, status="resolve"), on_model("b", 2)])
    assert triggers(pages) == ["a", "b"]


def test_an_incident_that_waits_joins_a_page_that_opens() -> None:
    """Its evidence does not suffice for a page of its own while h is high; the page next to it is its page too."""
    gate, _ = fold(burst(2))
    assert gate.step(on_model("weak", 0, level=1.1e6)) == []
    pages = gate.step(on_model("strong", 0))
    assert [(page.status, page.page_key) for page in pages] == [("trigger", "strong"), ("update", "strong")]
    assert [member.dedup_key for member in pages[-1].rolled_up] == ["weak"]
    assert list(gate.advance(WEEK_MS)) == []


def test_a_paged_incident_is_sent_again_only_with_news() -> None:
    gate, _ = fold([alert("a", 0)])
    assert gate.step(alert("a", 1, status="update", level=1e15)) == []
    [page] = gate.step(alert("a", 2, status="update", severity="critical"))
    assert (page.status, page.alert.severity, page.ledger.counted) == ("update", "critical", 1)


def test_a_page_names_the_routes_of_its_model_that_are_not_affected() -> None:
    quiet = [on_model(f"q{k}", 0, level=1e3, change=(-DAY_MS,) * 3) for k in range(12)]
    ended = [on_model(f"q{k}", 1, level=1e3, status="resolve") for k in range(12) if k != 3]
    _, pages = fold([*quiet, *ended, alert("z", 1, served_model="m-2"), on_model("a", 2)])
    [page] = [page for page in pages if page.page_key == "a"]
    scopes = [f"/q{k}/default/q{k}" for k in (0, 1, 10, 11, 2, 4, 5, 6)]
    assert page.controls == scopes


def test_a_confirmed_page_counts_no_longer_and_an_unconfirmed_one_counts_again() -> None:
    gate, _ = fold(burst(5))
    gate.step(alert("b1", 0, app="b1", status="update", confirmed=True))
    assert (gate.h, gate.ledger().counted, gate.ledger().confirmed) == (4.0, 4, 1)
    gate.step(alert("b1", 0, app="b1", status="update", confirmed=True))
    assert (gate.h, gate.ledger().counted, gate.ledger().confirmed) == (4.0, 4, 1), "said twice, true once"
    gate.step(alert("b1", 0, app="b1", status="update", confirmed=False))
    assert (gate.h, gate.ledger().counted, gate.ledger().confirmed) == (5.0, 5, 0)


def test_a_page_can_be_confirmed_after_its_end_and_is_not_sent_again() -> None:
    gate, _ = fold([*burst(5), alert("b0", 0, app="b0", status="resolve")])
    after = {"app": "b0", "status": "update", "resolved_at": 0, "resolution": "recovered"}
    for confirmed, h, counted in ((True, 4.0, 4), (True, 4.0, 4), (False, 5.0, 5), (True, 4.0, 4)):
        assert gate.step(alert("b0", 0, **after, confirmed=confirmed)) == []
        assert (gate.h, gate.ledger().counted) == (h, counted)
    assert gate.ledger().confirmed == 1


def test_a_confirmation_lets_the_next_candidate_page_at_once() -> None:
    gate, _ = fold(burst(7))
    assert triggers(gate.advance(HOUR_MS)) == ["b5"]
    pages = gate.step(alert("b0", HOUR_MS, app="b0", status="update", confirmed=True))
    assert [(page.page_key, page.time) for page in pages] == [("b6", HOUR_MS)]


def test_confirming_old_pages_makes_no_room_for_more_than_the_ceiling() -> None:
    """What an old page added to h has fallen away long ago and cannot be taken off once more."""
    old = burst(5)
    gate, _ = fold(old)
    now = 60 * WEEK_MS
    pages = [page for a in burst(5, now, "p") for page in gate.step(a)]
    for a in old:
        gate.step(replace(a, status="update", time=now, confirmed=True))
    assert gate.h == pytest.approx(5.0) and gate.ledger().confirmed == 5
    pages += [page for a in burst(5, now, "q") for page in gate.step(a)]
    assert len(triggers(pages)) == 5


def test_a_confirmation_takes_off_what_the_page_still_adds() -> None:
    """A page of .9 weeks ago and a new one: h is 1.1; without the old one it would be 1, without the new one .1."""
    for confirmed, h in (("old", 1.0), ("new", 0.1)):
        gate, _ = fold([alert("old", 0, app="old"), alert("new", round(0.9 * WEEK_MS), app="new")])
        assert gate.h == pytest.approx(1.1)
        gate.step(alert(confirmed, gate.state.time, app=confirmed, status="update", confirmed=True))
        assert gate.h == pytest.approx(h)


def test_what_joined_a_page_cannot_be_confirmed_for_it() -> None:
    gate, _ = fold([on_model("a", 0), on_model("b", 0), on_model("b", 1, status="update", confirmed=True)])
    assert (gate.ledger().counted, gate.ledger().confirmed) == (1, 0)


def test_alerts_from_the_past_are_taken_at_the_time_that_was_reached() -> None:
    gate, pages = fold([alert("a", WEEK_MS), alert("b", 0, app="b"), alert("c", WEEK_MS // 2, app="c")])
    assert [(page.page_key, page.time) for page in pages] == [(key, WEEK_MS) for key in "abc"]
    assert gate.h == 3.0
    assert list(gate.advance(0)) == [] and gate.h == 3.0


def test_what_the_gate_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MAX_OPEN": 30, "MAX_MODELS": 7, "MAX_PAGES": 20, "MAX_ROLLED_UP": 5, "MAX_RESOLVED": 10}
    for name, limit in limits.items():
        assert getattr(module, name) >= limit
        monkeypatch.setattr(module, name, limit)
    gate = Gate(BudgetSettings(pages_per_week=1e6, calls_per_week=1e6))
    seen: dict[str, int] = defaultdict(int)
    for k in range(600):
        kind = k % 3
        model = f"m-{k % 40}" if kind else "m-shared"
        a = alert(f"i{k}", k * HOUR_MS, app=f"x{k}", served_model=model, muted=kind == 2, change=(0, 0, 9**9))
        gate.step(a if kind < 2 else replace(a, muted=False, level=1e300, severity="info", floor_passed=k % 2 == 0))
        if k % 5 == 0:
            gate.step(alert(f"i{k}", k * HOUR_MS, app=f"x{k}", served_model=model, status="resolve"))
        state = gate.state
        sizes = {
            "waiting": len(state.waiting),
            "pages": len(state.pages),
            "page_of": len(state.page_of),
            "members": max((len(page.rolled_up) for page in state.pages.values()), default=0),
            "resolved": len(state.resolved),
            "made_of": len(state.made_of),
            "models": len(state.routes),
            "routes": max(map(len, state.routes.values())),
        }
        for name, size in sizes.items():
            seen[name] = max(seen[name], size)
    assert seen["pages"] == 20 and seen["models"] == 7 and seen["members"] == 5 and seen["resolved"] == 10
    assert seen["page_of"] <= 20 * 6 and seen["made_of"] <= 10 and seen["routes"] <= 30


def test_incidents_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 30)
    gate, _ = fold(burst(100))
    assert list(gate.state.waiting) == [f"b{k}" for k in range(70, 100)], "the oldest are forgotten"


def test_pages_beyond_the_h_that_is_known_one_by_one_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Confirming one whose part is not known takes nothing off: on the safe side."""
    monkeypatch.setattr(module, "MAX_RESOLVED", 2)
    gate, _ = fold(burst(5))
    assert len(gate.state.made_of) == 2
    gate.step(alert("b0", 0, app="b0", status="update", confirmed=True))
    assert (gate.h, gate.ledger().counted) == (5.0, 4)
    gate.step(alert("b4", 0, app="b4", status="update", confirmed=True))
    assert (gate.h, gate.ledger().counted) == (4.0, 3)


@settings(max_examples=50)
@given(alerts=histories())
def test_snapshots_are_stable(alerts: list[Alert]) -> None:
    gate, _ = fold(alerts)
    other = Gate(BudgetSettings())
    other.restore(gate.snapshot())
    assert other.snapshot() == gate.snapshot() and other.ledger() == gate.ledger()
