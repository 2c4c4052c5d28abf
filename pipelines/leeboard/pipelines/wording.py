"""Numbers, times and names as a person reads them. Whatever comes from records is cleaned here before it is shown."""

import html
import math
import textwrap
import unicodedata
from datetime import UTC, datetime, timedelta

from leeboard.schemas import SignalShift, SignalSummary, TextMove, scope_parts
from markupsafe import Markup

from .signals import UNITS_IN_SD
from .watch.incidents.attribution import TEXT_DETECTOR, feature_text, value_text

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
#: longest name in a chart, and longest line of a hover text
MAX_LABEL, HOVER_LINE = 44, 72
#: most lines of a hover text
MAX_LINES = 7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {
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
    """`text` without control characters, marks that turn the direction of writing, and other invisible ones."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if unicodedata.category(c) == "Zs" else "\ufffd" for c in text)


def shorten(text: str, most: int) -> str:
    """At most so many characters, the middle left out."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"


def plotly_text(text: str, most: int = MAX_LABEL) -> str:
    """A name for a chart, where `<` and `&` would be read as markup."""
    return html.escape(shorten(printable(text), most), quote=False)


def hover_text(*paragraphs: str) -> str:
    """Lines for a chart's hover box."""
    lines = [line for text in paragraphs for line in textwrap.wrap(printable(text), HOVER_LINE)]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], "…"]
    return "<br>".join(html.escape(line, quote=False) for line in lines)


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


def level_markup(log10_level: float) -> Markup:
    """A level in HTML."""
    return Markup("1 in 10<sup>{}</sup> calls").format(exponent(log10_level))


def log10(level: float) -> float:
    """Base-10 log of a level."""
    return math.log10(max(level, 1e-9))


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
    """The values before and after, with their unit; a ratio is told against 1."""
    if signal.unit == "ratio":
        return f"×{signal.before:.3g}", f"×{signal.after:.3g}"
    if signal.detector == TEXT_DETECTOR:
        return feature_text(signal.before, signal.unit), feature_text(signal.after, signal.unit)
    return value_text(signal.before, signal.unit), value_text(signal.after, signal.unit)


def text_move(move: TextMove) -> str:
    """What moved in texts: a feature's mean, or the share of texts that use an entry of the style vocabulary."""
    if move.kind == "style":
        return f"in {move.before:.0%} of the texts → {move.after:.0%}"
    told = f"{feature_text(move.before, move.unit)} → {feature_text(move.after, move.unit)}"
    return told if move.sd is None else f"{told} ({move.sd:+.2g} sd)"


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
    told = ", ".join(f"{shorten(name, 40)} {share:.0%}" for name, share in most)
    return told + (f" and {len(signal.shares) - len(most)} more" if len(signal.shares) > len(most) else "")
