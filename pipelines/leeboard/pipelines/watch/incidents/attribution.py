"""The answer to the incident question, as far as it can be given: which labels moved with the change.

Until the counterfactual comparison of inputs and behaviour is built, every verdict is `cannot_tell`; the sentence says
what moved, and names the labels whose shares are not what they were.
"""

import math
from collections.abc import Sequence

from leeboard.pipelines.signals import IDENTITY, UNITS_IN_SD
from leeboard.schemas import LabelShift, SignalShift, TextShift, Verdict

#: labels that are named first, though they are no signals
NAMED_FIRST = {*IDENTITY, "model_requested", "app_version", "sample_rate"}

#: a label's share moved when its difference is this many standard errors, and at least this large
MOVED_ERRORS = 4.0
MOVED_SHARE = 0.05
#: labels named in an alert
MAX_LABELS_TOLD = 8
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
    return [shift for _, _, shift in found[:MAX_LABELS_TOLD]]


def percent(effect: float) -> str:
    """A relative change: +48 %, -96 %, x 3.2."""
    return f"x {effect + 1:.3g}" if effect >= 2.0 else f"{effect * 100:+.3g} %"


def moved_by(effect: float) -> str:
    """A relative change in words: rose 48 %, fell 96 %, rose to 3.2 times."""
    if effect >= 2.0:
        return f"rose to {effect + 1:.3g} times"
    return f"{'rose' if effect >= 0 else 'fell'} {abs(effect) * 100:.3g} %"


def value_text(value: float, unit: str) -> str:
    """A value with its unit, three digits."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


#: how the detectors of texts are told in an alert
TEXT_DETECTOR = "text"
#: features that are logarithms: what they are the logarithm of
LOGARITHMS = {"log(1 + characters)": ("characters", 1.0), "log words": ("words", 0.0)}
#: what a learned direction says has moved
DIRECTION_WORDS = {
    "output_style": "the style of the outputs",
    "output_given_input": "outputs to like inputs",
    "input_content": "the content of the inputs",
}


def feature_text(value: float, unit: str) -> str:
    """The mean of a feature of texts with its unit, three digits."""
    if unit in LOGARITHMS:
        what, less = LOGARITHMS[unit]
        return f"{math.exp(min(value, 30.0)) - less:.3g} {what}"
    return f"{value:.3g} {unit}"


def describe(signal: SignalShift) -> str:
    """One signal's move in words."""
    if signal.name in DIRECTION_WORDS:
        return f"{DIRECTION_WORDS[signal.name]} moved by {signal.effect:.2g} sd"
    if signal.detector == TEXT_DETECTOR:
        before, after = feature_text(signal.before, signal.unit), feature_text(signal.after, signal.unit)
        return f"{signal.category} of the {signal.channel}s went from {before} to {after} ({signal.effect:+.2g} sd)"
    name = f"{signal.name} = {signal.category}" if signal.category else signal.name
    before, after = value_text(signal.before, signal.unit), value_text(signal.after, signal.unit)
    if signal.unit == "share":
        return f"{name} went from {before} to {after}"
    if signal.unit == "ratio":
        return f"{name} {moved_by(signal.effect)}"
    if signal.direction == "spread":
        return f"{name} spreads wider (typically {before} before, {after} after)"
    if signal.unit in UNITS_IN_SD:
        return f"{name} went from {before} to {after} ({signal.effect:+.2g} sd)"
    return f"{name} {moved_by(signal.effect)} ({before} to {after})"


def describe_texts(texts: TextShift) -> str:
    """What moved in the texts of a side, in words; empty where nothing can be named."""
    features = [x for x in texts.moves if x.kind == "feature"][:2]
    told = [f"{x.name} {feature_text(x.before, x.unit)} -> {feature_text(x.after, x.unit)}" for x in features]
    style = [x for x in texts.moves if x.kind == "style"][:3]
    told += [f'"{x.name}" in {x.before * 100:.0f} % -> {x.after * 100:.0f} % of texts' for x in style]
    if texts.new_share is not None:
        told.append(f"about {texts.new_share * 100:.0f} % are unlike those before")
    return f"{texts.side}s: {', '.join(told)}" if told else ""


def verdict(
    signals: Sequence[SignalShift],
    labels: Sequence[LabelShift],
    texts: Sequence[TextShift],
    calls_since: int,
    before_calls: int,
) -> Verdict:
    """The verdict of an incident."""
    sentence = "; ".join(describe(signal) for signal in signals[:3])
    if len(signals) > 3:
        sentence += f"; and {len(signals) - 3} more"
    named_texts = [words for words in map(describe_texts, texts) if words]
    if named_texts:
        sentence += f". In the {'; '.join(named_texts)}"
    checked = [
        f"labels of {before_calls} calls before the change against {calls_since} calls since: "
        + (f"{len(labels)} moved" if labels else "none moved")
    ]
    named = [label for label in labels if label.after > label.before][:3]
    if named:
        moves = ", ".join(f"{x.label} {x.value} {x.before * 100:.0f} % -> {x.after * 100:.0f} %" for x in named)
        sentence += f". Moved at the same time: {moves}. Whether that is the cause cannot be told from shares alone"
    else:
        sentence += ". No label moved with it; the cause cannot be told from the calls that were captured"
    return Verdict(
        kind="cannot_tell",
        confidence="firm" if calls_since >= FIRM_CALLS else "provisional",
        sentence=sentence + ".",
        checked=checked,
    )
