"""Labels that never leave: `notify.withhold` takes their names, this takes them and their values out of a record."""

import re
from collections.abc import Collection
from urllib.parse import quote

from leeboard.schemas import Alert, Page, RolledUp, SignalShift, Verdict, scope_key, scope_parts
from msgspec import structs

from .message import Message

WITHHELD = "(withheld)"
#: labels that stand in other fields as well
MODEL, TENANT = "model_served", "tenant"


def withhold(message: Message, names: Collection[str]) -> Message:
    """The message without the labels `names`: their rows, their values in texts, the tenant in scopes and links."""
    if not names:
        return message
    record = message.record
    if isinstance(record, Page):
        return structs.replace(message, record=_page(record, names))
    return structs.replace(message, record=_alert(record, names))


def _page(page: Page, names: Collection[str]) -> Page:
    rolled_up = [
        RolledUp(dedup_key=member.dedup_key, scope=_scope(member.scope, names), opened_at=member.opened_at)
        for member in page.rolled_up
    ]
    return structs.replace(
        page,
        alert=_alert(page.alert, names),
        controls=[_scope(scope, names) for scope in page.controls],
        rolled_up=rolled_up,
    )


def _alert(alert: Alert, names: Collection[str]) -> Alert:
    values = _values(alert, names)
    tenant = _tenant(alert.scope) if TENANT in names else None
    scrub = _Scrubber(names, values)
    verdict = alert.verdict
    return structs.replace(
        alert,
        scope=_scope(alert.scope, names),
        labels=[shift for shift in alert.labels if shift.label not in names],
        served_model=None if MODEL in names else alert.served_model,
        signals=[_signal(signal, names) for signal in alert.signals],
        verdict=Verdict(
            kind=verdict.kind,
            confidence=verdict.confidence,
            sentence=scrub(verdict.sentence),
            shares=[structs.replace(share, explanation=scrub(share.explanation)) for share in verdict.shares],
            checked=[scrub(text) for text in verdict.checked],
        ),
        examples=[structs.replace(example, why=scrub(example.why)) for example in alert.examples],
        links={name: url for name, url in alert.links.items() if not _names_tenant(url, tenant)},
        runbook_url=None if alert.runbook_url and _names_tenant(alert.runbook_url, tenant) else alert.runbook_url,
    )


def _values(alert: Alert, names: Collection[str]) -> set[str]:
    """Everything that the withheld labels are known to be in this alert."""
    values = {shift.value for shift in alert.labels if shift.label in names}
    values |= {signal.category for signal in alert.signals if signal.name in names and signal.category}
    if MODEL in names and alert.served_model:
        values.add(alert.served_model)
    if TENANT in names and (tenant := _tenant(alert.scope)):
        values.add(tenant)
    return values - {""}


class _Scrubber:
    """Takes values out of texts: where they are known, and whatever stands behind the name of a withheld label."""

    def __init__(self, names: Collection[str], values: Collection[str]) -> None:
        longest_first = sorted(values, key=len, reverse=True)
        labels = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self._values = re.compile("|".join(_whole(value) for value in longest_first) or r"(?!)")
        self._after_label = re.compile(rf"(?<!\w)({labels})(\s*=\s*|\s+)(?!\(withheld\))[^\s.,;]+")

    def __call__(self, text: str) -> str:
        return self._after_label.sub(rf"\1\2{WITHHELD}", self._values.sub(WITHHELD, text))


def _whole(value: str) -> str:
    """The value as a whole word: `a` is not taken out of `latency`."""
    before = r"(?<!\w)" if re.match(r"\w", value) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", value) else ""
    return before + re.escape(value) + after


def _signal(signal: SignalShift, names: Collection[str]) -> SignalShift:
    return structs.replace(signal, category=None) if signal.name in names and signal.category else signal


def _tenant(scope: str) -> str | None:
    try:
        return scope_parts(scope)[0]
    except ValueError:
        return None


def _scope(scope: str, names: Collection[str]) -> str:
    if TENANT not in names:
        return scope
    try:
        _, app, env, route = scope_parts(scope)
    except ValueError:
        return WITHHELD
    return scope_key(None, app, env, route)


def _names_tenant(url: str, tenant: str | None) -> bool:
    """A URL may hold the tenant as it is, encoded, or encoded twice (as a part of the scope)."""
    if tenant is None:
        return False
    once = quote(tenant, safe="")
    return any(form in url for form in (tenant, once, quote(once, safe="")))
