"""The answer to the incident question, as far as it can be given: which labels moved with the change.

Until the counterfactual comparison of inputs and behaviour is built, every verdict is `cannot_tell`; the sentence says
what moved, and names the labels whose shares are not what they were.
"""

import math
from collections.abc import Sequence

from leeboard.pipelines.signals import IDENTITY, IDENTITY_LABELS
from leeboard.pipelines.wording import checked_labels, verdict_sentence
from leeboard.schemas import LabelShift, SignalShift, TextShift, Verdict

#: labels that are named first
NAMED_FIRST = {*IDENTITY, *IDENTITY_LABELS}

#: a label's share moved when its difference is this many standard errors, and at least this large
MOVED_ERRORS = 4.0
MOVED_SHARE = 0.05
#: labels named in an alert
MAX_LABELS_NAMED = 8
#: below so many calls after the change a verdict is provisional
FIRM_CALLS = 200


def moved_labels(
    before: dict[str, dict[str, float]], before_calls: int, after: dict[str, dict[str, float]], after_calls: int
) -> list[LabelShift]:
    """Label values whose share moved, identity labels first, then by the size of the move."""
    found: list[tuple[bool, float, LabelShift]] = []
    if before_calls == 0 or after_calls == 0:
        return []
    for label in sorted({*before, *after}):
        for value in sorted({*before.get(label, {}), *after.get(label, {})}):
            p, q = before.get(label, {}).get(value, 0.0), after.get(label, {}).get(value, 0.0)
            pooled = (p * before_calls + q * after_calls + 1.0) / (before_calls + after_calls + 2.0)
            error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / before_calls + 1.0 / after_calls))
            if abs(q - p) >= MOVED_SHARE and abs(q - p) >= MOVED_ERRORS * error:
                shift = LabelShift(label=label, value=value, before=p, after=q, first_seen=p == 0.0)
                found.append((label not in NAMED_FIRST, -abs(q - p), shift))
    found.sort(key=lambda item: item[:2])
    return [shift for _, _, shift in found[:MAX_LABELS_NAMED]]


def verdict(
    signals: Sequence[SignalShift],
    labels: Sequence[LabelShift],
    texts: Sequence[TextShift],
    calls_since: int,
    before_calls: int,
) -> Verdict:
    """The verdict of an incident."""
    return Verdict(
        kind="cannot_tell",
        confidence="firm" if calls_since >= FIRM_CALLS else "provisional",
        sentence=verdict_sentence(signals, labels, texts),
        checked=[checked_labels(len(labels), before_calls, calls_since)],
    )
