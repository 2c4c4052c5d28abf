"""Numbers, times and names as a person reads them. Whatever comes from records is cleaned here before it is shown."""

import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from leeboard.schemas import LabelShift, SignalShift, SignalSummary, TextMove, TextShift, scope_parts

from .signals import BY_NAME, UNITS_IN_SD
from .units import DAY_MS, MINUTE_MS

#: name of the detectors of texts in alerts
TEXT_DETECTOR = "text"
#: features that are logarithms: what they are the logarithm of, and what was added before
LOGARITHMS = {"log(1 + characters)": ("characters", 1.0), "log words": ("words", 0.0)}
#: signals, labels and entries of the style vocabulary that a sentence names
NAMED_SIGNALS, NAMED_LABELS, NAMED_STYLES = 3, 3, 3
#: features of texts that a sentence names
NAMED_FEATURES = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: kinds of verdicts
VERDICT_TITLES = {
    "served_model_changed": "Served model changed",
    "prompt_changed": "Prompt changed",
    "traffic_mix_shifted": "Traffic mix shifted",
    "behaviour_changed": "Behaviour changed on the same traffic",
    "segment": "Concentrated in one segment",
    "evaluator_changed": "Evaluator changed",
    "cannot_tell": "Cannot tell",
}
GUARANTEES = {
    "exact": "holds for any law of the values while nothing changes",
    "approximate": "exact but for dependence between calls, which was corrected for",
    "empirical": "the stream wanders: rests on how it moved before",
}


def printable(text: str) -> str:
    """`text` without control characters, characters that turn the direction of writing, and other invisible ones."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if unicodedata.category(c) == "Zs" else "\ufffd" for c in text)


def shorten(text: str, most: int) -> str:
    """At most so many characters, the middle left out."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"


def scope_path(key: str) -> str:
    """`app/env/route` of a scope key, after its tenant where it has one."""
    try:
        return "/".join(part for part in scope_parts(key) if part)
    except ValueError:
        return key


def scope_name(key: str) -> str:
    """`app / env / route` of a scope key, after its tenant where it has one."""
    try:
        return " / ".join(part for part in scope_parts(key) if part)
    except ValueError:
        return key


def moment(epoch_ms: int) -> datetime:
    """UTC."""
    return _EPOCH + timedelta(milliseconds=epoch_ms)


def when(epoch_ms: int | None) -> str:
    """UTC, to the minute."""
    return "" if epoch_ms is None else moment(epoch_ms).strftime("%Y-%m-%d %H:%M")


def duration(span_ms: float) -> str:
    """A span of time in its two largest units."""
    minutes = round(span_ms / MINUTE_MS)
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days >= 10:
        return f"{span_ms / DAY_MS:.0f} days"
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min" if minutes else "under a minute"


def counted(n: float, one: str, many: str | None = None) -> str:
    """`1 page`, `2 pages`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def exponent(log10_level: float) -> str:
    """The exponent of a level: one decimal while that says anything."""
    return f"{log10_level:.0f}" if log10_level >= 20 else f"{log10_level:.1f}"


def level_text(log10_level: float) -> str:
    """A level in plain text."""
    return f"1 in 10^{exponent(log10_level)} calls"


def log10(level: float) -> float:
    """Base-10 log of a level."""
    return math.log10(max(level, 1e-9))


def value_text(value: float, unit: str) -> str:
    """A value with its unit, three digits."""
    if unit == "share":
        return f"{value * 100:.3g} %"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


def feature_text(value: float, unit: str) -> str:
    """The mean of a feature of texts with its unit, three digits."""
    if unit in LOGARITHMS:
        what, less = LOGARITHMS[unit]
        return f"{math.exp(min(value, 30.0)) - less:.3g} {what}"
    return f"{value:.3g} {unit}"


def moved_by(effect: float) -> str:
    """A relative change in words: rose 48 %, fell 96 %, rose to 3.2 times."""
    if effect >= 2.0:
        return f"rose to {effect + 1:.3g} times"
    return f"{'rose' if effect >= 0 else 'fell'} {abs(effect) * 100:.3g} %"


def effect_text(effect: float, unit: str) -> str:
    """An effect in the measure of its signal."""
    if unit == "share":
        return f"{effect * 100:+.3g} points"
    if unit in UNITS_IN_SD:
        return f"{effect:+.2g} sd"
    return f"×{effect + 1:.3g}" if effect >= 2 else f"{effect * 100:+.3g} %"


def signal_effect(signal: SignalShift) -> str:
    """The effect of a signal; that of texts is in standard deviations, whatever its values are in."""
    return effect_text(signal.effect, _effect_unit(signal))


def _effect_unit(signal: SignalShift) -> str:
    return "sd" if signal.detector == TEXT_DETECTOR else signal.unit


def interval_text(signal: SignalShift) -> str:
    """The ends of an effect's interval, their unit once."""
    low, high = (effect_text(end, _effect_unit(signal)) for end in signal.effect_interval)
    return f"{low.removesuffix(' ' + high.partition(' ')[2])} to {high}"


def before_after(signal: SignalShift) -> tuple[str, str]:
    """The values before and after, with their unit; a ratio is relative to 1."""
    if signal.unit == "ratio":
        return f"×{signal.before:.3g}", f"×{signal.after:.3g}"
    if signal.detector == TEXT_DETECTOR:
        return feature_text(signal.before, signal.unit), feature_text(signal.after, signal.unit)
    return value_text(signal.before, signal.unit), value_text(signal.after, signal.unit)


def text_move(move: TextMove) -> str:
    """What moved in texts: a feature's mean, or the share of texts that use an entry of the style vocabulary."""
    if move.kind == "style":
        return f"in {move.before:.0%} of the texts → {move.after:.0%}"
    said = f"{feature_text(move.before, move.unit)} → {feature_text(move.after, move.unit)}"
    return said if move.sd is None else f"{said} ({move.sd:+.2g} sd)"


def visible_text(visible: float | None, unit: str) -> str:
    """The smallest shift that a signal can show."""
    if visible is None:
        return ""
    if unit in UNITS_IN_SD:
        return f"{visible:.2g} sd"
    if visible >= 2:
        return f"×{visible + 1:,.3g}"
    hundredths = f"{visible * 100:.0f}" if visible >= 0.1 else f"{visible * 100:.2g}"
    return f"{hundredths} points" if unit == "share" else f"{hundredths} %"


def lately(signal: SignalSummary) -> str:
    """Recent values of a signal: quantiles, a share, or the most frequent categories."""
    if signal.median is not None and signal.p90 is not None:
        if signal.unit == "ratio":
            return f"median ×{signal.median:.3g}, p90 ×{signal.p90:.3g}"
        return f"median {value_text(signal.median, signal.unit)}, p90 {value_text(signal.p90, signal.unit)}"
    if signal.share is not None:
        return f"{signal.share:.1%} yes"
    most = sorted(signal.shares.items(), key=lambda item: (-item[1], item[0]))[:3]
    said = ", ".join(f"{shorten(name, 40)} {share:.0%}" for name, share in most)
    return said + (f" and {len(signal.shares) - len(most)} more" if len(signal.shares) > len(most) else "")


def shift_text(signal: SignalShift) -> str:
    """One signal's move in words."""
    known = BY_NAME.get(signal.name)
    if known is not None and known.said:
        return f"{known.said} moved by {signal.effect:.2g} sd"
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


def texts_shift_text(texts: TextShift) -> str:
    """What moved in the texts of a side, in words; empty where nothing can be named."""
    features = [x for x in texts.moves if x.kind == "feature"][:NAMED_FEATURES]
    said = [f"{x.name} {feature_text(x.before, x.unit)} -> {feature_text(x.after, x.unit)}" for x in features]
    style = [x for x in texts.moves if x.kind == "style"][:NAMED_STYLES]
    said += [f'"{x.name}" in {x.before * 100:.0f} % -> {x.after * 100:.0f} % of texts' for x in style]
    if texts.new_share is not None:
        said.append(f"about {texts.new_share * 100:.0f} % are unlike those before")
    return f"{texts.side}s: {', '.join(said)}" if said else ""


def verdict_sentence(signals: Sequence[SignalShift], labels: Sequence[LabelShift], texts: Sequence[TextShift]) -> str:
    """What moved, in texts as well, and which labels moved with it: the sentence of a verdict that names no cause."""
    sentence = "; ".join(shift_text(signal) for signal in signals[:NAMED_SIGNALS])
    if len(signals) > NAMED_SIGNALS:
        sentence += f"; and {len(signals) - NAMED_SIGNALS} more"
    named_texts = [words for words in map(texts_shift_text, texts) if words]
    if named_texts:
        sentence += f". In the {'; '.join(named_texts)}"
    named = [label for label in labels if label.after > label.before][:NAMED_LABELS]
    if named:
        moves = ", ".join(f"{x.label} {x.value} {x.before * 100:.0f} % -> {x.after * 100:.0f} %" for x in named)
        sentence += f". Moved at the same time: {moves}. Whether that is the cause cannot be told from shares alone"
    else:
        sentence += ". No label moved with it; the cause cannot be told from the calls that were captured"
    return sentence + "."


def checked_labels(moved: int, before_calls: int, calls_since: int) -> str:
    """What was checked of the labels."""
    found = f"{moved} moved" if moved else "none moved"
    return f"labels of {before_calls} calls before the change against {calls_since} calls since: {found}"
