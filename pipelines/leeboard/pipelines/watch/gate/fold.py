"""The page gate: a fold over alerts that decides which incidents interrupt a person, under the fleet's budget.

A candidate is an open incident whose level is at least A_page e^h and whose effect passed its floor (or a severe one),
that is neither announced nor muted. The controller h rises by 1 with every counted page and falls by the budget's rate;
at H candidates wait and page later, if they are still open. Whatever the alerts say, counted pages in any span of time
are at most pages_per_week * span + H + 1. One app holds at most half of H. An incident that overlaps an open page on
the same served model joins it, uncounted.

Time is the running maximum of the alerts' event time: the same alerts in the same order always give the same pages.
"""

import math
from collections.abc import Iterator

import msgspec
from leeboard.detectors.core.budget import page_nats
from leeboard.pipelines.units import DAY_MS
from leeboard.pipelines.watch.rounding import rounded
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import Alert, Ledger, Page, RolledUp, Status, scope_parts
from msgspec import Struct, field
from msgspec.structs import replace

WEEK_MS = 7 * DAY_MS
#: the controller's ceiling: candidates wait from here on
H = 5.0
#: what one app's counted pages may hold of h
APP_SHARE = H / 2
#: incidents that wait, and scopes of one served model kept for controls; the oldest are forgotten beyond that
MAX_OPEN = 10_000
#: served models kept for controls
MAX_MODELS = 1000
#: open pages: a year of them at 20 a week, if none ever resolved; the oldest is forgotten beyond that
MAX_PAGES = 1000
#: incidents that may join one page; what comes later is a page of its own
MAX_ROLLED_UP = 1000
#: resolved pages that a person may still confirm, and counted pages whose part of h is known
MAX_RESOLVED = 1000
#: names of unaffected routes in a page
MAX_CONTROLS = 8


class OpenPage(Struct):
    """A page that was sent: its incident, and those that joined it."""

    alert: Alert
    counted: bool
    rolled_up: list[RolledUp] = field(default_factory=list)
    #: dedup keys of its incidents that are still open
    still_open: list[str] = field(default_factory=list)


class ResolvedPage(Struct, array_like=True):
    """What is kept of a page after its end."""

    app: str
    counted: bool


class GateState(Struct):
    """Everything that the gate remembers."""

    started: int | None = None
    time: int = 0
    #: the controller at `h_time`, when a page was last counted or confirmed; it falls from there
    h: float = 0.0
    h_time: int = 0
    #: app -> what its counted pages held of h at `h_time`
    held: dict[str, float] = field(default_factory=dict)
    #: page key and time of every page counted since h was `base_h` at `base_time`, oldest first
    made_of: list[tuple[str, int]] = field(default_factory=list)
    base_h: float = 0.0
    base_time: int = 0
    counted: int = 0
    confirmed: int = 0
    #: dedup key -> newest alert of incidents that wait
    waiting: dict[str, Alert] = field(default_factory=dict)
    #: page key -> page
    pages: dict[str, OpenPage] = field(default_factory=dict)
    #: dedup key -> page key, of incidents that paged or joined a page
    page_of: dict[str, str] = field(default_factory=dict)
    #: page key -> resolved page
    resolved: dict[str, ResolvedPage] = field(default_factory=dict)
    #: served model -> scope -> has it an open incident?
    routes: dict[str, dict[str, bool]] = field(default_factory=dict)


class Gate:
    """Folds alerts into pages."""

    def __init__(self, budget: BudgetSettings) -> None:
        self._rate = budget.pages_per_week
        self._page_nats = page_nats(budget.calls_per_week, budget.pages_per_week)
        self.state = GateState()

    def step(self, alert: Alert) -> list[Page]:
        """Take the next alert; the pages that it leads to, after those that waited for the time before it."""
        state = self.state
        if state.started is None:
            state.started = state.time = alert.time
        pages = list(self.advance(alert.time))
        over = alert.status != "resolve" and alert.resolved_at is not None  # about an incident that has ended
        if not over:
            self._note_route(alert)
        if alert.confirmed is not None:
            self._confirm(alert)
        if alert.status == "resolve":
            pages += self._resolve(alert)
        elif alert.dedup_key in state.page_of:
            pages += self._update(alert)
        elif not over and self.is_candidate(alert):
            state.waiting[alert.dedup_key] = alert
            if len(state.waiting) > MAX_OPEN:
                del state.waiting[next(iter(state.waiting))]
        else:
            state.waiting.pop(alert.dedup_key, None)
        return pages + self._release()

    def advance(self, time: int) -> Iterator[Page]:
        """Let time pass: h falls, and incidents that waited page at the moment at which they may.

        The moments do not depend on how often this is called.
        """
        state = self.state
        while state.started is not None and state.time < time:
            state.time = min(time, max(self._next_release(), state.time + 1))
            yield from self._release()

    def expire(self, key: str) -> Page:
        """End an open page whose scopes are silent; an incident of it that moves again opens a new page."""
        state = self.state
        page = state.pages.pop(key)
        for member in page.still_open:
            state.page_of.pop(member, None)
        self._keep_resolved(key, page)
        return replace(self._page("resolve", page, key), expired=True)

    def open_pages(self) -> dict[str, set[str]]:
        """Page key -> scopes of its incidents."""
        return {
            key: {page.alert.scope, *(member.scope for member in page.rolled_up)}
            for key, page in self.state.pages.items()
        }

    @property
    def h(self) -> float:
        """The controller now."""
        return self._fallen(self.state.h, self.state.h_time, self.state.time)

    def is_candidate(self, alert: Alert) -> bool:
        """May an open incident that says this interrupt a person, as far as the budget allows?"""
        if alert.announced or alert.muted:
            return False
        return alert.severity == "critical" or (alert.floor_passed and math.log(alert.level) >= self._page_nats)

    def ledger(self) -> Ledger:
        """The audit now."""
        state = self.state
        weeks = (state.time - state.started) / WEEK_MS if state.started is not None else 0.0
        return Ledger(
            pages_per_week=rounded(self._rate),
            allowance=rounded(self._rate * weeks),
            counted=state.counted,
            confirmed=state.confirmed,
            waiting=len(state.waiting),
            h=rounded(self.h),
        )

    def snapshot(self) -> bytes:
        """The whole state as MessagePack."""
        return msgspec.msgpack.encode(self.state)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot. Raises msgspec.DecodeError where `state` is not one."""
        self.state = msgspec.msgpack.decode(state, type=GateState)

    def _fallen(self, h: float, since: int, time: int) -> float:
        return max(0.0, h - self._rate * (time - since) / WEEK_MS)

    def _bring_forward(self) -> None:
        """Let h and the apps' parts of it stand for now; only before they change, so that no other moment matters."""
        state = self.state
        scale = self.h / state.h if state.h > 0.0 else 0.0
        state.held = {app: held * scale for app, held in state.held.items() if held * scale > 1e-9}
        state.h, state.h_time = self.h, state.time

    def _count(self, key: str, app: str) -> None:
        """A page counts from now on."""
        self._bring_forward()
        state = self.state
        state.counted += 1
        if state.h == 0.0:
            state.made_of, state.base_h, state.base_time = [], 0.0, state.time
        state.h += 1.0
        state.held[app] = state.held.get(app, 0.0) + 1.0
        state.made_of.append((key, state.time))
        if len(state.made_of) > MAX_RESOLVED:
            _, time = state.made_of.pop(0)
            state.base_h = self._fallen(state.base_h, state.base_time, time) + 1.0
            state.base_time = time

    def _take_back(self, key: str, app: str) -> None:
        """A page counts no longer: h becomes what it would be without it, which is nothing less for an old page."""
        self._bring_forward()
        state = self.state
        state.counted -= 1
        at = next((k for k, (known, _) in enumerate(state.made_of) if known == key), None)
        if at is None:
            return
        del state.made_of[at]
        h, since = state.base_h, state.base_time
        for _, time in state.made_of:
            h, since = self._fallen(h, since, time) + 1.0, time
        h = self._fallen(h, since, state.time)
        state.held[app] = max(0.0, state.held.get(app, 0.0) - (state.h - h))
        state.h = h
        total = sum(state.held.values())
        if total > h:
            state.held = {name: held * h / total for name, held in state.held.items()}

    def _next_release(self) -> int:
        """When the first waiting incident may page, if nothing else happens."""
        return min((self._release_time(alert) for alert in self.state.waiting.values()), default=2**62)

    def _release_time(self, alert: Alert) -> int:
        """When h, and what the app holds of it, will have fallen far enough."""
        state = self.state
        fall = max(state.h - self._highest_h(alert), 0.0)
        held = state.held.get(_app(alert), 0.0)
        if held + 1.0 > APP_SHARE:  # what apps hold falls in proportion to h
            fall = max(fall, state.h * (1.0 - (APP_SHARE - 1.0) / held))
        return state.h_time + math.ceil(fall * WEEK_MS / self._rate)

    def _highest_h(self, alert: Alert) -> float:
        """The h up to which an incident may page: below H, and its level at least A_page e^h unless it is severe."""
        below = math.nextafter(H, 0.0)
        if alert.severity == "critical":
            return below
        return min(below, math.log(alert.level) - self._page_nats)

    def _release(self) -> list[Page]:
        """Page, or join to a page, every waiting incident that may; oldest first."""
        state = self.state
        pages: list[Page] = []
        waiting = list(state.waiting.items())
        while waiting:
            key, alert = waiting.pop(0)
            joined = self._roll_up(alert)
            if joined is not None:
                del state.waiting[key]
                pages.append(joined)
            elif self._release_time(alert) <= state.time:
                del state.waiting[key]
                self._count(key, _app(alert))
                state.pages[key] = OpenPage(alert, counted=True, still_open=[key])
                state.page_of[key] = key
                if len(state.pages) > MAX_PAGES:
                    for member in state.pages.pop(next(iter(state.pages))).still_open:
                        del state.page_of[member]
                pages.append(self._page("trigger", state.pages[key], key))
                waiting = list(state.waiting.items())  # those before it may join this page
        return pages

    def _roll_up(self, alert: Alert) -> Page | None:
        """Join an incident to an open page with an overlapping change on the same served model."""
        own = self.state.pages.get(alert.dedup_key)
        if own is not None:  # its page is still open, for those that joined it
            own.alert = alert
            own.still_open.append(alert.dedup_key)
            self.state.page_of[alert.dedup_key] = alert.dedup_key
            return self._page("update", own, alert.dedup_key)
        if alert.served_model is None:
            return None
        for key, page in self.state.pages.items():
            first = page.alert
            if (
                first.served_model == alert.served_model
                and len(page.rolled_up) < MAX_ROLLED_UP
                and first.change.earliest <= alert.change.latest
                and alert.change.earliest <= first.change.latest
            ):
                member = RolledUp(dedup_key=alert.dedup_key, scope=alert.scope, opened_at=alert.opened_at)
                page.rolled_up.append(member)
                page.still_open.append(alert.dedup_key)
                self.state.page_of[alert.dedup_key] = key
                return self._page("update", page, key)
        return None

    def _update(self, alert: Alert) -> list[Page]:
        """A paged incident has news: its own page is sent again; what joined a page adds nothing."""
        key = self.state.page_of[alert.dedup_key]
        page = self.state.pages.get(key)
        if page is None or key != alert.dedup_key:
            return []
        news = page.alert.severity != alert.severity or page.alert.verdict.kind != alert.verdict.kind
        page.alert = alert
        return [self._page("update", page, key)] if news else []

    def _resolve(self, alert: Alert) -> list[Page]:
        """An incident ended; its page resolves with the last of its incidents."""
        state = self.state
        state.waiting.pop(alert.dedup_key, None)
        key = state.page_of.pop(alert.dedup_key, None)
        page = state.pages.get(key) if key is not None else None
        if key is None or page is None:
            return []
        page.still_open.remove(alert.dedup_key)
        if alert.dedup_key == key:
            page.alert = alert
        if page.still_open:
            return []
        del state.pages[key]
        self._keep_resolved(key, page)
        return [self._page("resolve", page, key)]

    def _keep_resolved(self, key: str, page: OpenPage) -> None:
        """A page that has ended can still be confirmed."""
        resolved = self.state.resolved
        resolved[key] = ResolvedPage(_app(page.alert), page.counted)
        if len(resolved) > MAX_RESOLVED:
            del resolved[next(iter(resolved))]

    def _confirm(self, alert: Alert) -> None:
        """A person said that a page was real: it stops counting; or that it was not, after all: it counts again."""
        state = self.state
        key = alert.dedup_key
        page = state.pages.get(key) or state.resolved.get(key)
        if page is None or page.counted != alert.confirmed:
            return
        page.counted = not page.counted
        app = _app(page.alert) if isinstance(page, OpenPage) else page.app
        if page.counted:
            state.confirmed -= 1
            self._count(key, app)
        else:
            state.confirmed += 1
            self._take_back(key, app)

    def _note_route(self, alert: Alert) -> None:
        """Remember whether a scope of a served model has an open incident."""
        if not alert.served_model:
            return
        models = self.state.routes
        routes = models.setdefault(alert.served_model, {})
        routes[alert.scope] = alert.status != "resolve"
        if len(routes) > MAX_OPEN:
            del routes[next(iter(routes))]
        if len(models) > MAX_MODELS:
            del models[next(iter(models))]

    def _page(self, status: Status, page: OpenPage, key: str) -> Page:
        alert = page.alert
        joined = {alert.scope, *(member.scope for member in page.rolled_up)}
        routes = self.state.routes.get(alert.served_model or "", {})
        controls = sorted(scope for scope, troubled in routes.items() if not troubled and scope not in joined)
        return Page(
            page_key=key,
            status=status,
            time=self.state.time,
            alert=alert,
            ledger=self.ledger(),
            controls=controls[:MAX_CONTROLS],
            rolled_up=list(page.rolled_up),
        )


def _app(alert: Alert) -> str:
    return scope_parts(alert.scope)[1]
