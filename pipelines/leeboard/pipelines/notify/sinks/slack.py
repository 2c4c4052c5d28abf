"""Slack, and what takes its incoming webhooks: one message an incident, another when it ends, few between."""

import http.client
import logging
from typing import Any, ClassVar

from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import LastReport, Message
from leeboard.pipelines.units import HOUR_MS
from leeboard.schemas import Page
from msgspec import Struct

from .base import ATTEMPT_TIMEOUT_S, DELIVERED, MessageSink, Outcome, SinkSecret, no_answer, outcome_of_status

#: limit of Slack for the text of a block
MAX_BLOCK = 3000
#: lines of one list
MAX_LIST_LINES = 8
#: between two updates of an incident, in event time; a higher severity does not wait
CHAT_UPDATE_MS = HOUR_MS
SEVERITY_RANK = {"info": 0, "warning": 1, "critical": 2}
#: a webhook answers so; a page of a proxy, or of a redirect's end, does not
TAKEN = "ok"

#: the client logs URLs, which are secrets here, and bodies
_silent = logging.getLogger("leeboard.notify.slack_client")
_silent.setLevel(logging.CRITICAL + 1)


class SlackSettings(Struct, tag_field="type", tag="slack", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[notify.sinks.NAME]` with `type = "slack"`."""

    #: of the incoming webhook: a secret, from the environment
    webhook_url: str = ""
    webhook_url_file: str | None = None

    needs: ClassVar[SinkSecret] = SinkSecret("webhook_url", r"https?://\S+", "a URL")
    resolves_unreported: ClassVar[bool] = False
    takes_notices: ClassVar[bool] = True

    def wants(self, message: Message, last: LastReport | None, *, paged: bool) -> bool:
        """The first message and the last; between them a higher severity, or once an hour another verdict or scope.

        A notice that has become a page is reported by the page alone.
        """
        if message.stream == "notices" and paged:
            return False
        if last is None or message.status != "update":
            return True
        if message.stream == "pages" and SEVERITY_RANK[message.alert.severity] > SEVERITY_RANK[last.severity]:
            return True
        joined = isinstance(message.record, Page) and message.record.rolled_up
        news = message.alert.verdict.kind != last.verdict or bool(joined)
        return news and message.time - last.time >= CHAT_UPDATE_MS


class Slack(MessageSink):
    """See `base.Sink`."""

    def __init__(self, settings: SlackSettings, secret: str | None, timeout_s: float = ATTEMPT_TIMEOUT_S) -> None:  # noqa: ARG002
        self._client = _client(secret, timeout_s) if secret is not None else None

    def compose(self, message: Message) -> dict[str, Any]:
        """Text for notifications, blocks for the channel."""
        title = _title(message)
        return {
            "text": escape(f"{title}: {words.sentence(message)}", MAX_BLOCK),
            "blocks": [_section(f"*{escape(title, MAX_BLOCK - 2)}*"), *_sections(message)],
        }

    def deliver(self, message: Message) -> Outcome:
        """One request."""
        assert self._client is not None
        body = self.compose(message)
        try:
            answer = self._client.send(text=body["text"], blocks=body["blocks"], unfurl_links=False)
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            LookupError,
        ) as error:  # the last two: no text came back
            return no_answer(error)
        if answer.status_code == 200:
            return DELIVERED if answer.body.strip() == TAKEN else Outcome("retry", "the answer is not Slack's")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return outcome_of_status(answer.status_code, headers.get("retry-after"))


def _client(webhook_url: str, timeout_s: float) -> Any:
    from slack_sdk.webhook import WebhookClient

    # whole seconds are the client's type; its retries are switched off, the dispatcher has its own
    return WebhookClient(webhook_url, timeout=timeout_s, logger=_silent, retry_handlers=[])  # type: ignore[arg-type]


def escape(text: str, most: int) -> str:
    """Text that stays text in Slack's mrkdwn: no mention, no link, at most `most` characters."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    whole = kept.rfind("&")
    if whole >= 0 and ";" not in kept[whole:]:  # do not cut an entity
        kept = kept[:whole]
    return kept + "…"


def _title(message: Message) -> str:
    """State and place."""
    alert = message.alert
    names = {"page": f"PAGE {alert.severity}", "notice": "Notice", "test": "TEST"}
    state = names.get(message.kind, "leeboard itself")
    if message.status == "resolve":
        state = f"Resolved ({words.how_it_ended(message)})"
    elif message.status == "update":
        state += ", update"
    return f"{state}: {words.scope_of_message(message)}"


def _sections(message: Message) -> list[dict[str, Any]]:
    """What moved, with what, since when."""
    alert = message.alert
    sections = [_section(escape(words.sentence(message), MAX_BLOCK))]
    if message.status == "resolve":
        return sections
    labels = [words.label(shift) for shift in alert.labels]
    joined = words.rolled_up(message)
    for title, lines in (
        ("Moved", [words.moved(signal) for signal in alert.signals]),
        ("Labels that moved with it", labels),
        ("Joined this page", joined),
        ("Not affected, on the same model", words.controls(message)),
        ("Calls to look at", words.examples(alert)),
    ):
        if lines:
            sections.append(_section(f"*{title}*\n" + _bullets(lines)))
    links = " · ".join(f"<{_url(url)}|{escape(name, 100)}>" for name, url in words.links(alert)[:MAX_LIST_LINES])
    footer = [escape(f"Changed: {words.change(alert)}", MAX_BLOCK)] if alert.signals else []
    if isinstance(message.record, Page) and message.kind == "page":
        footer.append(escape(words.ledger(message.record.ledger), MAX_BLOCK))
    if links and len(links) <= MAX_BLOCK:
        footer.append(links)
    if footer:
        sections.append({"type": "context", "elements": [{"type": "mrkdwn", "text": text} for text in footer]})
    return sections


def _bullets(lines: list[str]) -> str:
    """A list within one block: 9 lines of at most 320 characters."""
    return "\n".join(f"• {escape(line, 320)}" for line in words.some(lines, MAX_LIST_LINES))


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _url(url: str) -> str:
    """A URL that cannot end the link that it stands in."""
    return url.replace("&", "&amp;").replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")
