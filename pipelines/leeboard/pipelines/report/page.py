"""One HTML page from a result: everything it needs is inside, nothing is fetched."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from leeboard.pipelines import wording as words
from leeboard.schemas import Summary
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..config import Config
from ..numerics import numerics_tag
from ..replay import ReplayedIncident, ReplayResult
from ..watch.engine import ENGINE_VERSION
from .axes import Figure
from .cards import make_cards
from .markup import level_markup
from .overview import budget, timeline
from .recorder import MAX_CALLS, Recorder
from .states import ranked, spokesman, state_of

#: incidents shown with charts: 40 x at most 30 KB; further ones stand in a table, and beyond that are only counted
MAX_CARDS = 40
MAX_ROWS = 500
#: scopes whose signals are listed: 200 x 24 rows
MAX_SCOPES_LISTED = 200
#: tables of signals are folded when there are more scopes
OPEN_SCOPES = 1
#: dead letters listed for a reason
MAX_POSITIONS = 5
#: scopes listed whose calls were thinned out
MAX_THINNED = 20
#: why calls were read but not learned from
LEFT_OUT = {
    "late": "more than 7 days older than a call before them",
    "duplicate_id": "repeat the id of a recent call of their scope",
    "scores_left_out": "scores beyond those that are told apart in a scope",
}


class Figures:
    """The page's charts by number; their data are written once, at the end of the page."""

    def __init__(self) -> None:
        self.all: list[Markup] = []

    def add(self, figure: Figure) -> str:
        """The id of a chart."""
        self.all.append(script_json(figure))
        return f"chart-{len(self.all)}"


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no markup can end it or begin in it."""
    text = msgspec.json.encode(value).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 -- escaped just above


@cache
def environment() -> Environment:
    """Templates that escape; whatever text they are given is cleaned first."""
    made = Environment(
        loader=PackageLoader("leeboard.pipelines.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    for name in (
        "when",
        "duration",
        "counted",
        "scope_name",
        "shorten",
        "log10",
        "signal_effect",
        "before_after",
        "interval_text",
        "text_move",
    ):
        made.filters[name] = getattr(words, name)
    made.filters |= {"level": level_markup, "visible": words.visible_text}
    return made


def _clean(value: Any) -> Any:
    return words.printable(value) if type(value) is str else value


def digest(script: str) -> str:
    """What a content security policy calls a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class RefusalReason:
    """Why records were refused."""

    name: str
    count: int
    first: list[tuple[str, str]]


def write_report(result: ReplayResult, recorder: Recorder, config: Config) -> str:
    """The page. The same result, recorder and configuration give the same bytes."""
    incidents = ranked(result.incidents())
    carded, listed = incidents[:MAX_CARDS], incidents[MAX_CARDS : MAX_CARDS + MAX_ROWS]
    anchors = {incident.last.dedup_key: f"incident-{k}" for k, incident in enumerate([*carded, *listed], 1)}
    figures = Figures()
    draw = files(__package__).joinpath("templates/draw.js").read_text(encoding="utf-8")
    style = files(__package__).joinpath("templates/style.css").read_text(encoding="utf-8")
    plotly = get_plotlyjs()
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            result=result,
            config=config,
            engine=(ENGINE_VERSION, config.engine().fingerprint(), numerics_tag()),
            counts=incident_counts(incidents),
            headline=page_headline(result, incidents),
            timeline=timeline(result, recorder, anchors),
            budget=budget(result),
            cards=make_cards(result, recorder, carded, anchors),
            rows=[(anchors[i.last.dedup_key], state_of(i), i, spokesman(i)) for i in listed],
            incidents_left_out=len(incidents) - len(carded) - len(listed),
            summaries=scopes_in_order(result, incidents)[:MAX_SCOPES_LISTED],
            open_scopes=OPEN_SCOPES,
            reasons=refusal_reasons(result),
            left_out=[(name, count, LEFT_OUT.get(name, "")) for name, count in sorted(result.left_out.items())],
            thinned=list(recorder.thinned().items()),
            most_thinned=MAX_THINNED,
            most_calls=MAX_CALLS,
            calls_not_recorded=recorder.calls_left_out,
            figures=figures,
            words=words,
            style=Markup(style),  # noqa: S704 -- a file of ours
            plotly=Markup(plotly),  # noqa: S704 -- plotly's own
            draw=Markup(draw),  # noqa: S704 -- a file of ours
            scripts=[digest(plotly), digest(draw)],
        )
    )


def incident_counts(incidents: list[ReplayedIncident]) -> dict[str, int]:
    """Incidents by what became of them."""
    found = dict.fromkeys(("page", "joined", "waiting", "notice"), 0)
    for incident in incidents:
        found[state_of(incident)] += 1
    return found


def page_headline(result: ReplayResult, incidents: list[ReplayedIncident]) -> str:
    """The result in one line."""
    if not result.calls:
        return "No call could be read"
    if not incidents:
        return "Nothing moved"
    paged = sum(incident.paged_at is not None for incident in incidents)
    return f"{words.counted(len(incidents), 'incident')}, {paged or 'none'} would have paged"


def scopes_in_order(result: ReplayResult, incidents: list[ReplayedIncident]) -> list[Summary]:
    """Summaries: scopes with incidents first, as the incidents are ordered, then by calls."""
    troubled = list(dict.fromkeys(incident.last.scope for incident in incidents))
    rank = {scope: at for at, scope in enumerate(troubled)}
    return sorted(result.summaries.values(), key=lambda s: (rank.get(s.scope, len(rank)), -s.sequence, s.scope))


def refusal_reasons(result: ReplayResult) -> list[RefusalReason]:
    """Dead letters by reason, most frequent first."""
    found = []
    for name, count in sorted(result.refused.items(), key=lambda item: (-item[1], item[0])):
        first = [(r.position, r.detail) for r in result.rejects if r.reason == name]
        found.append(RefusalReason(name, count, first[:MAX_POSITIONS]))
    return found
