"""Control records: what people and evaluators say about a scope, in the same ordered stream as its calls."""

from typing import Literal

from msgspec import Struct

from .call import Instant, Name


class Control(Struct, tag_field="schema", kw_only=True, omit_defaults=True, frozen=True):
    """What every control says. `route` and `tenant` may be `*`: every such scope."""

    time: Instant
    app: Name
    env: str = "default"
    route: str = "default"
    tenant: str | None = None
    #: the authenticated principal
    by: str | None = None


class Score(Control, tag="score/1", kw_only=True, frozen=True):
    """A judge's, a person's or a program's opinion of one call."""

    call_id: Name
    name: Name
    value: float | str
    evaluator: Name
    evaluator_version: str | None = None
    source: Literal["judge", "human", "code"] = "judge"


class Deploy(Control, tag="deploy/1", kw_only=True, frozen=True):
    """Something was released on purpose: the shift that follows is announced."""

    what: Name
    version: str | None = None


class Accept(Control, tag="accept/1", kw_only=True, frozen=True):
    """The new level is normal: the open incident resolves and its level becomes the baseline."""

    reason: str | None = None


class Confirm(Control, tag="confirm/1", kw_only=True, frozen=True):
    """A page was real (or was not): a real one does not count against the budget."""

    dedup_key: Name
    real: bool = True


class Mute(Control, tag="mute/1", kw_only=True, frozen=True):
    """No pages from this scope until the given time."""

    until: Instant


#: controls that are taken only from the control topic or from an authenticated person, never from telemetry
PRIVILEGED = (Deploy, Accept, Confirm, Mute)
