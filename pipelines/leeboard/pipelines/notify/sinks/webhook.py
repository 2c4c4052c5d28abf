"""A webhook of one's own: the record as JSON, signed as Standard Webhooks say."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from leeboard.pipelines.notify.messages.message import LastReport, Message
from leeboard.schemas import Page, encode
from msgspec import Struct

from .base import ATTEMPT_TIMEOUT_S, MessageSink, Outcome, SinkSecret, Url
from .http import post

#: an id that stands in a header, and in what is signed, as it is
PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class WebhookSettings(Struct, tag_field="type", tag="webhook", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[notify.sinks.NAME]` with `type = "webhook"`."""

    url: Url
    #: signing secret (base64, with or without `whsec_`): from the environment
    secret: str = ""
    secret_file: str | None = None

    needs: ClassVar[SinkSecret] = SinkSecret("secret")
    resolves_unreported: ClassVar[bool] = False
    takes_notices: ClassVar[bool] = True

    def wants(self, message: Message, last: LastReport | None, *, paged: bool) -> bool:  # noqa: ARG002
        """Everything: programs can choose."""
        return True


class Webhook(MessageSink):
    """See `base.Sink`."""

    def __init__(self, settings: WebhookSettings, secret: str | None, timeout_s: float = ATTEMPT_TIMEOUT_S) -> None:
        self._url = settings.url
        self._timeout_s = timeout_s
        self._signer = _signer(secret) if secret is not None else None

    def compose(self, message: Message) -> Any:
        """The record."""
        return msgspec.json.decode(encode(message.record))

    def deliver(self, message: Message) -> Outcome:
        """One request."""
        assert self._signer is not None
        body = encode(message.record)
        id_ = message_id(message)
        now = datetime.now(UTC)
        headers = {
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(id_, now, body.decode()),
        }
        return post(self._url, body, headers, self._timeout_s)


def message_id(message: Message) -> str:
    """The same for every attempt at a message, and for no other: the alert's id, of a page with what the gate did."""
    record = message.record
    id_ = message.alert.id
    if isinstance(record, Page):
        id_ = f"{id_}-{record.status}-{len(record.rolled_up)}"
    if PLAIN_ID.fullmatch(id_):
        return id_
    return hashlib.sha256(id_.encode("utf-8", "replace")).hexdigest()


def _signer(secret: str) -> Any:
    """Raises ValueError where the secret is none."""
    from standardwebhooks import Webhook as Signer

    return Signer(secret)
