"""A message in words that every sink can use: no control characters, bounded lengths, times in UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime

from leeboard.pipelines.wording import (
    interval_text,
    level_text,
    printable,
    scope_path,
    shift_text,
    signal_effect,
    when,
)
from leeboard.schemas import Alert, LabelShift, Ledger, Page, SignalShift, scope_parts
from leeboard.schemas.wire import MAX_TIME_MS

from .message import Message

#: longest text of a record inside a message: three lines of a small screen; sentences have a limit of their own
MAX_TEXT = 300
#: longest sentence of a verdict
MAX_SENTENCE = 2000
#: most links of a message
MAX_LINKS = 20
#: longest link
MAX_URL = 2000
#: what stands before the sentence where it is not about calls
PREFIXES = {"test": "TEST, please ignore: "}


def text(value: str, most: int = MAX_TEXT) -> str:
    """A text of a record without control characters, at most so many characters long."""
    cleaned = printable(value[: 2 * most])
    return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"


def scope_of_message(message: Message) -> str:
    """`support/production/chat-answer`, after its tenant where it has one."""
    return scope_label(message.alert.scope)


def scope_label(scope: str) -> str:
    """A scope key for a person."""
    return text(scope_path(scope))


def parts(message: Message) -> tuple[str | None, str, str, str]:
    """(tenant or None, app, env, route) for a person; a scope that is no scope key counts as the app."""
    try:
        tenant, app, env, route = scope_parts(message.alert.scope)
    except ValueError:
        return None, text(message.alert.scope), "", ""
    return text(tenant) if tenant else None, text(app), text(env), text(route)


def sentence(message: Message, most: int = MAX_SENTENCE) -> str:
    """The answer in one sentence."""
    return text(PREFIXES.get(message.kind, "") + message.alert.verdict.sentence, most) or "no sentence"


def headline(message: Message, most: int) -> str:
    """Where and what, in at most `most` characters."""
    where = scope_of_message(message)
    before = f"{where}: " if where else ""
    return (before + sentence(message, max(most - len(before), 1)))[:most]


def moved(signal: SignalShift) -> str:
    """One signal: before and after, effect with its interval, and how sure."""
    described = f"{shift_text(signal)}; effect {signal_effect(signal)} ({interval_text(signal)})"
    sure = f", {level_text(signal.log10_level)}" if signal.log10_level > 0 else ""
    return text(f"{described}{sure}; {signal.n_before:,} calls before, {signal.n_after:,} since")


def label(shift: LabelShift) -> str:
    """A label whose share moved."""
    new = ", never seen before" if shift.first_seen else ""
    return text(f"{shift.label} {shift.value[:MAX_TEXT]}: {shift.before:.0%} -> {shift.after:.0%}{new}")


def change(alert: Alert) -> str:
    """When it changed."""
    earliest, estimate, latest = (utc(t) for t in (alert.change.earliest, alert.change.estimate, alert.change.latest))
    since = f"{alert.change.calls_since:,} calls since"
    if earliest == latest:
        return f"{estimate} UTC, {since}"
    return f"{estimate} UTC (between {earliest} and {latest}), {since}"


def utc(epoch_ms: int) -> str:
    """A time, to the minute; times that no calendar has are written as numbers."""
    return when(epoch_ms) if 0 <= epoch_ms <= MAX_TIME_MS else str(epoch_ms)


def iso(epoch_ms: int) -> str:
    """RFC 3339, UTC; times that no calendar has become its ends."""
    return datetime.fromtimestamp(seconds(epoch_ms), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(epoch_ms: int) -> float:
    """Epoch seconds, within what a calendar has."""
    return min(max(epoch_ms, 0), MAX_TIME_MS) / 1000


def ledger(state: Ledger) -> str:
    """The budget of pages."""
    return (
        f"{state.pages_per_week:g} false pages a week; allowed so far {state.allowance:g}, counted {state.counted}, "
        f"confirmed {state.confirmed}, waiting {state.waiting}, h {state.h:g}"
    )


def how_it_ended(message: Message) -> str:
    """What resolved it."""
    if isinstance(message.record, Page) and message.record.expired:
        return "expired: no calls for a day"
    return message.alert.resolution or "ended"


def main_signal(alert: Alert) -> SignalShift | None:
    """The first root signal, surest first; None where a message is not about calls."""
    roots = (signal for signal in alert.signals if signal.root is True)
    return next(roots, alert.signals[0] if alert.signals else None)


def root_channels(alert: Alert) -> set[str]:
    """Channels of the root signals."""
    return {signal.channel for signal in alert.signals if signal.root is True}


def links(alert: Alert) -> list[tuple[str, str]]:
    """(name, URL) of the links and the runbook; http and https only."""
    every = [*sorted(alert.links.items()), *([("runbook", alert.runbook_url)] if alert.runbook_url else [])]
    usable = [(text(name), url) for name, url in every if url.startswith(("http://", "https://"))]
    return [(name, url) for name, url in usable if len(url) <= MAX_URL and url.isprintable() and " " not in url][
        :MAX_LINKS
    ]


def examples(alert: Alert) -> list[str]:
    """Calls that show the change."""
    lines = []
    for example in alert.examples:
        trace = f", trace {example.trace_id[:MAX_TEXT]}" if example.trace_id else ""
        lines.append(text(f"{example.call_id[:MAX_TEXT]}{trace}: {example.why[:MAX_TEXT]}"))
    return lines


def rolled_up(message: Message) -> list[str]:
    """Scopes of the incidents that joined the page."""
    return (
        [scope_label(member.scope) for member in message.record.rolled_up] if isinstance(message.record, Page) else []
    )


def controls(message: Message) -> list[str]:
    """Unaffected routes on the same served model."""
    return [scope_label(scope) for scope in message.record.controls] if isinstance(message.record, Page) else []


def some(items: Sequence[str], most: int) -> list[str]:
    """The first ones, and how many more there are."""
    return [*items[:most], *([f"and {len(items) - most:,} more"] if len(items) > most else [])]
