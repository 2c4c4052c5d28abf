"""What the engine keeps of one scope besides its detectors."""

from leeboard.detectors import Evidence
from leeboard.schemas import Alert, scope_parts
from leeboard.schemas.alert import Resolution, Severity
from msgspec import Struct, field

from .keys import DetectorKey
from .labels import Labels

#: deploy announcements kept
MAX_DEPLOYS = 8
#: resolved incidents that a person may still confirm
MAX_CLOSED = 3
#: change intervals this many calls apart still overlap: change times of weak shifts are known no better
SLACK_CALLS = 32


class RecentId(Struct, array_like=True, frozen=True, gc=False):
    """A call that can be named."""

    sequence: int
    call_id: str
    trace_id: str | None
    span_id: str | None


class TextsSeen(Struct, array_like=True):
    """What is known of the texts of a scope; ahead of the detectors inside a batch."""

    #: calls with an output, with an input
    outputs: int = 0
    inputs: int = 0
    #: how the texts were counted that the baselines hold, and what made their vectors
    version: str | None = None
    embedder: str | None = None
    #: another one of these, and how many calls in a row had it
    other_version: str | None = None
    other_version_calls: int = 0
    other_embedder: str | None = None
    other_embedder_calls: int = 0


class Announced(Struct, array_like=True, frozen=True):
    """A `deploy/1` that was seen."""

    time: int
    sequence: int
    what: str
    version: str | None


class Interval(Struct, array_like=True, frozen=True):
    """A change time in call numbers of the scope (1 is its first call)."""

    estimate: int
    earliest: int
    latest: int

    def overlaps(self, other: "Interval") -> bool:
        """Do two changes overlap, as far as change times are known?"""
        return self.earliest - SLACK_CALLS <= other.latest and other.earliest - SLACK_CALLS <= self.latest


class Shift(Struct):
    """One signal inside an incident."""

    key: DetectorKey
    name: str
    category: str | None
    change: Interval
    #: natural log of the level in calls of the scope, its highest so far
    level_nats: float
    #: the same in calls of the signal
    signal_nats: float
    #: effect when it was last told
    reported_effect: float
    detector: str
    #: taken over from the incident that this one superseded, where its level was this
    carried_nats: float | None = None
    #: what a River detector found; None for our own
    evidence: Evidence | None = None

    def overlaps(self, others: "list[Shift]") -> bool:
        """Does its change overlap that of another?"""
        return any(self.change.overlaps(other.change) for other in others)


class Incident(Struct):
    """An open incident."""

    dedup_key: str
    opened_sequence: int
    opened_call: str
    opened_time: int
    change: Interval
    #: the same in epoch ms: the ring forgets when its calls were
    change_time: Interval
    shifts: list[Shift]
    #: alerts sent so far
    alerts: int = 0
    severity: Severity = "info"
    announced: bool = False
    confirmed: bool | None = None
    last_alert_time: int = 0
    #: highest milestone told: whole nats above the page level, -1 below it
    milestone: int = -1
    #: number of calls after the change at which the next look is due
    next_check_call: int = 0
    #: some effect has been beyond its floor
    passed_floor: bool = False
    #: only what gives context moved so far (see signals.CONTEXT)
    context_only: bool = False
    #: what the calls before the change were labelled with: shares of label -> value, and how many calls that were
    before: dict[str, dict[str, float]] = {}
    before_calls: int = 0
    baseline_start: int = 0
    baseline_end: int = 0
    #: the newest alert; a resolve repeats what it said
    last: Alert | None = None
    #: how it ends when no lasting shift is left
    ends_as: Resolution = "recovered"


class Scope(Struct, array_like=True):
    """One scope: all that is kept of it but arrays; a snapshot holds it as it is.

    `encoded` (calls) and `time` are ahead of the detectors inside a batch.
    """

    key: str
    #: where its detectors lie; 0 in a snapshot
    slot: int
    first_call: str
    encoded: int = 0
    time: int = 0
    labels: Labels = field(default_factory=Labels)
    #: columns of the scope's score signals
    scores: dict[str, int] = {}
    categorical_scores: dict[str, int] = {}
    counts: dict[str, int] = {}
    #: names of the categories that have a detector
    names: dict[DetectorKey, str] = {}
    #: scope time since which a detector keeps the frozen reference of a change that was too small to matter
    retained: dict[DetectorKey, int] = {}
    incident: Incident | None = None
    closed: list[Incident] = []
    deploys: list[Announced] = []
    muted_until: int = 0
    #: scope time from which the next summary is due
    summary_time: int = 0
    summary_calls: int = 0
    first_seen: dict[str, list[str]] = {}
    #: None while no call had a text
    texts: TextsSeen | None = None
    #: position of the last record that went into this state
    applied: int = -1

    def count(self, what: str, by: int = 1) -> None:
        """Add to one of the scope's counters."""
        self.counts[what] = self.counts.get(what, 0) + by

    @property
    def parts(self) -> tuple[str | None, str, str, str]:
        """(tenant or None, app, env, route)."""
        return scope_parts(self.key)
