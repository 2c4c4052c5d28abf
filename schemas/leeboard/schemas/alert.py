"""`alert/1`: what an incident says of itself; `page/1`: what the page gate made of it."""

from typing import Literal

from msgspec import Struct, field

Status = Literal["trigger", "update", "resolve"]
Severity = Literal["info", "warning", "critical"]
Resolution = Literal["recovered", "accepted", "superseded"]
Guarantee = Literal["exact", "approximate", "empirical"]
VerdictKind = Literal[
    "served_model_changed",
    "prompt_changed",
    "traffic_mix_shifted",
    "behaviour_changed",
    "segment",
    "evaluator_changed",
    "cannot_tell",
]


class Change(Struct, kw_only=True, frozen=True):
    """When it changed: epoch milliseconds of the first changed call."""

    estimate: int
    earliest: int
    latest: int
    calls_since: int


class Share(Struct, kw_only=True, frozen=True):
    """One explanation's part of the shift, 1 = all of it, with its interval."""

    explanation: str
    share: float
    low: float
    high: float


class Verdict(Struct, kw_only=True, frozen=True):
    """The answer to the incident question."""

    kind: VerdictKind
    confidence: Literal["provisional", "firm"]
    sentence: str
    shares: list[Share] = field(default_factory=list)
    #: what was looked at, and what it showed
    checked: list[str] = field(default_factory=list)


class SignalShift(Struct, kw_only=True, frozen=True):
    """One signal that moved."""

    name: str
    channel: str
    direction: Literal["up", "down", "spread"]
    before: float
    after: float
    unit: str
    #: relative change of a logarithmic signal (0.2 = 20 % more), difference of shares or values otherwise
    effect: float
    effect_interval: tuple[float, float]
    log10_level: float
    guarantee: Guarantee
    #: true, or the name of the signal that explains this one
    root: bool | str
    detector: str
    n_before: int
    n_after: int
    #: the category whose share moved, for categorical signals; the feature that led, for features of texts
    category: str | None = None


class TextMove(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A feature of texts that moved (see FEATURES), or an entry of the style vocabulary (see STYLE)."""

    kind: Literal["feature", "style"]
    name: str
    #: a feature's mean in its unit; the share of texts that use the entry
    before: float
    after: float
    unit: str
    #: a feature's move in standard deviations of before
    sd: float | None = None


class TextShift(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What moved in the texts of one side, told without a word of them."""

    side: Literal["input", "output"]
    #: texts counted before the change and since
    n_before: int
    n_after: int
    #: features first, each kind with the clearest first
    moves: list[TextMove] = field(default_factory=list)
    #: share of recent inputs that lie where hardly any lay before the change
    new_share: float | None = None


class LabelShift(Struct, kw_only=True, frozen=True):
    """A label whose shares are not what they were before the change."""

    label: str
    value: str
    before: float
    after: float
    first_seen: bool = False


class Example(Struct, kw_only=True, frozen=True):
    """A call to look at, and why."""

    call_id: str
    why: str
    trace_id: str | None = None
    span_id: str | None = None


class Baseline(Struct, kw_only=True, frozen=True):
    """The calls that "before" refers to: epoch milliseconds and their number."""

    start: int
    end: int
    calls: int


class Position(Struct, kw_only=True, frozen=True):
    """A place in the ordered stream of the scope."""

    sequence: int
    call_id: str


class Positions(Struct, kw_only=True, frozen=True):
    """First call of the scope's state, the call that opened the incident, the call of this alert."""

    first: Position
    opening: Position
    this: Position


class AlertEvidence(Struct, kw_only=True, frozen=True):
    """What is needed to make this alert again."""

    engine_version: str
    numerics: str
    config_fingerprint: str
    baseline: Baseline
    positions: Positions


class Alert(Struct, tag_field="schema", tag="alert/1", kw_only=True, omit_defaults=True, frozen=True):
    """A record about an incident. Times are epoch milliseconds of event time."""

    id: str
    dedup_key: str
    status: Status
    severity: Severity
    scope: str
    time: int
    opened_at: int
    resolved_at: int | None = None
    resolution: Resolution | None = None
    #: the largest A, in calls of the scope, at which the incident would fire now
    level: float
    floor_passed: bool
    #: a `deploy/1` announced the change
    announced: bool = False
    muted: bool = False
    #: a person said that its page was real, or was not
    confirmed: bool | None = None
    #: the scope has seen fewer calls than the level claims
    young: bool = False
    change: Change
    verdict: Verdict
    signals: list[SignalShift]
    labels: list[LabelShift] = field(default_factory=list)
    #: what the calls after the change were served by; the gate joins incidents of the same model
    served_model: str | None = None
    examples: list[Example] = field(default_factory=list)
    #: what moved in the texts, where a text signal has moved
    texts: list[TextShift] = field(default_factory=list)
    evidence: AlertEvidence
    links: dict[str, str] = field(default_factory=dict)
    runbook_url: str | None = None


class Ledger(Struct, kw_only=True, frozen=True):
    """The audit of the page budget at one moment."""

    pages_per_week: float
    #: pages that the budget has allowed so far
    allowance: float
    #: pages so far that nobody marked real
    counted: int
    confirmed: int
    waiting: int
    #: the controller: every counted page adds 1, time takes it away; at 5 candidates wait
    h: float


class RolledUp(Struct, kw_only=True, frozen=True):
    """An incident that joined a page of the same served model, uncounted."""

    dedup_key: str
    scope: str
    opened_at: int


class Page(Struct, tag_field="schema", tag="page/1", kw_only=True, omit_defaults=True, frozen=True):
    """A decision of the page gate."""

    page_key: str
    status: Status
    time: int
    alert: Alert
    ledger: Ledger
    #: it ends because its scopes have been silent for a day, not because its incidents ended
    expired: bool = False
    #: other routes on the same served model without an open incident
    controls: list[str] = field(default_factory=list)
    rolled_up: list[RolledUp] = field(default_factory=list)
