"""What every sink has in common: one function, three outcomes."""

from typing import Annotated, Any, Literal, NamedTuple

from leeboard.pipelines.notify.messages.message import Message
from msgspec import Meta, Struct

#: an attempt that takes longer counts as no answer
ATTEMPT_TIMEOUT_S = 10.0
#: a receiver that says "too often" without saying for how long is left alone for so long
RATE_LIMIT_PAUSE_S = 60.0
#: no receiver may ask for a longer pause: four attempts an hour at least
MAX_PAUSE_S = 900.0
#: what a receiver answers to a message that it will never take; anything else may be a fault that somebody repairs
FINAL_STATUSES = (400, 413, 422)

#: http or https, a host, no login: a login would be a secret in the TOML
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
Url = Annotated[str, Meta(pattern=rf"^https?://{_HOST}(/[^\s@]*)?$", max_length=2000)]

DeliveryResult = Literal["delivered", "retry", "dropped"]


class SinkSecret(NamedTuple):
    """What a sink needs that is never in the TOML: from the environment, or from the file that `<field>_file` names."""

    field: str
    #: regular expression of a whole value, and what it says in words
    form: str = r"\S+"
    words: str = "one word"


class Outcome(Struct, frozen=True):
    """What became of one attempt. `reason` never holds text of the message, nor a secret."""

    result: DeliveryResult
    reason: str = ""
    #: do not try again before
    after_s: float = 0.0
    #: did the receiver answer at all?
    answered: bool = True


DELIVERED = Outcome("delivered")


class MessageSink:
    """A receiver of messages. One thread uses it."""

    #: seconds between two calls of `refresh`; None: never
    refresh_s: float | None = None

    def compose(self, message: Message) -> Any:
        """What would be sent, as JSON would hold it; no secret is in it. Empty where nothing would be."""
        raise NotImplementedError

    def deliver(self, message: Message) -> Outcome:
        """One attempt. Never raises for what a receiver or a network does."""
        raise NotImplementedError

    def recall(self, message: Message) -> None:
        """Take note of a message that was sent before this process began."""

    def forget(self) -> None:
        """Forget what was sent: it is not this process's concern any more."""

    def refresh(self) -> Outcome:
        """Send again what has to be repeated."""
        return DELIVERED

    def close(self) -> None:
        """Let go of connections."""


def outcome_of_status(status: int, retry_after: str | None) -> Outcome:
    """The outcome of an HTTP answer; `retry_after`: the header of that name."""
    if 200 <= status < 300:
        return DELIVERED
    reason = f"HTTP {status}"
    if status in FINAL_STATUSES:
        return Outcome("dropped", reason)
    pause = _seconds(retry_after)
    if pause is None:
        pause = RATE_LIMIT_PAUSE_S if status == 429 else 0.0
    return Outcome("retry", reason, min(pause, MAX_PAUSE_S))


def no_answer(error: BaseException) -> Outcome:
    """The outcome where nothing came back. The error's text may hold a URL: only its kind is used."""
    cause = getattr(error, "reason", None)
    if not isinstance(cause, BaseException):
        cause = error.__cause__ if error.__cause__ is not None else error
    return Outcome("retry", f"no answer: {type(cause).__name__}", answered=False)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds; a date, which nobody sends to us, counts as absent."""
    digits = (retry_after or "").strip()
    return float(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
