"""What an alert says of texts that moved: features, entries of the style vocabulary, new inputs; calls that show it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from leeboard.detectors.core.jit import Record
from leeboard.detectors.vector.effect import typical_indices
from leeboard.detectors.vector.novelty import novel
from leeboard.detectors.vector.store import CONDITIONING, first_from
from leeboard.pipelines.watch.rounding import rounded
from leeboard.pipelines.watch.state.scope import Incident, RecentId, Scope
from leeboard.pipelines.watch.texts.bank import OUTPUTS, TextBank
from leeboard.pipelines.watch.texts.counts import shifted_features, shifted_tokens, texts_before, texts_since
from leeboard.pipelines.watch.texts.signals import CONTENT, DIRECTIONS, KINDS, SIGNALS
from leeboard.schemas import FEATURES, STYLE, TextMove, TextShift

#: features and style entries reported of a side; examples of a signal
MOST_FEATURES, MOST_TOKENS, MOST_EXAMPLES = 5, 8, 2
#: new inputs that are searched for one that can be named
MOST_NEW = 200
WHY = {
    "output_style": "its style is as far along the change as that of hardly any recent call",
    "output_given_input": "its output is as far from what its input lets expect as that of hardly any recent call",
    "input_content": "its input is as far along the change as that of hardly any recent call",
}
WHY_NEW = "its input is unlike those before the change"


class Shown(NamedTuple):
    """A call that shows a change, by its number."""

    call: int
    why: str


def text_shifts(bank: TextBank, scope: Scope, incident: Incident) -> list[TextShift]:
    """One for each side of the open text signals of an incident, outputs first."""
    columns = open_columns(bank, scope, incident)
    found = []
    for side, own in (("output", OUTPUTS), ("input", tuple(c for c in range(len(SIGNALS)) if c not in OUTPUTS))):
        moved = [column for column in columns if column in own]
        if moved:
            share = _new_share(bank, scope.slot) if CONTENT in moved else None
            found.append(_shift("output" if side == "output" else "input", bank.side(scope.slot, moved[0]), share))
    return found


def shown_calls(bank: TextBank, scope: Scope, incident: Incident, recent: Sequence[RecentId]) -> list[Shown]:
    """Recent calls, of those that can be named, that show what moved; no call twice."""
    if not recent:
        return []
    named = {item.sequence for item in recent}
    shown: dict[int, str] = {}
    for column in open_columns(bank, scope, incident):
        if column not in DIRECTIONS:
            continue
        store, kind = bank.store(scope.slot), int(KINDS[DIRECTIONS.index(column)])
        old = _frozen(bank, scope.slot, column)
        if column == CONTENT:
            new = novel(store, kind, int(old["since"]), len(FEATURES), MOST_NEW)
            for call in [call for call in (new.indices if new is not None else ()) if call in named][:MOST_EXAMPLES]:
                shown.setdefault(call, WHY_NEW)
        calls = np.zeros(MOST_EXAMPLES, np.int64)
        first = max(int(old["since"]), int(first_from(store, kind, min(named))))
        for call in calls[: typical_indices(old, store, kind, first, calls)].tolist():
            if call in named:
                shown.setdefault(call, WHY[SIGNALS[column]])
    return [Shown(call, why) for call, why in shown.items()]


def open_columns(bank: TextBank, scope: Scope, incident: Incident) -> list[int]:
    """Columns of the text signals of an incident whose change is open."""
    columns = {shift.key.column for shift in incident.shifts if shift.key.kind == "text"}
    return [column for column in sorted(columns) if bank.is_open(scope.slot, column)]


def _frozen(bank: TextBank, slot: int, column: int) -> Record:
    """The frozen reference of the open change of a direction."""
    record = bank.directions.record(bank.row(slot, column))
    return bank.directions.frozen.array[record["frozen"]]


def _new_share(bank: TextBank, slot: int) -> float | None:
    old = _frozen(bank, slot, CONTENT)
    new = novel(bank.store(slot), CONDITIONING, int(old["since"]), len(FEATURES))
    return rounded(new.share) if new is not None else None


def _shift(name: Literal["input", "output"], side: Record, new_share: float | None) -> TextShift:
    moves = [
        TextMove(
            kind="feature",
            name=FEATURES[moved.feature].name,
            before=rounded(moved.before),
            after=rounded(moved.after),
            unit=FEATURES[moved.feature].unit,
            sd=rounded(moved.sd),
        )
        for moved in shifted_features(side)[:MOST_FEATURES]
    ]
    for token in shifted_tokens(side)[:MOST_TOKENS]:
        before, after = rounded(token.before), rounded(token.after)
        moves.append(TextMove(kind="style", name=STYLE[token.token], before=before, after=after, unit="share of texts"))
    return TextShift(
        side=name,
        n_before=round(texts_before(side)),
        n_after=round(texts_since(side)),
        moves=moves,
        new_share=new_share,
    )
