"""What comes out of the feed: instructions. An event with their answer follows where one is named."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, TypeAlias

from leeboard.pipelines.notify.messages.message import Message
from leeboard.schemas import Reject
from msgspec import Struct

from .events import FeedPartition

LogLevel: TypeAlias = Literal["info", "warning", "error"]


class SendMessage(Struct, frozen=True):
    """Queue a message at sinks; `ticket` comes back with its outcome. `due_s`: wall clock time at which it was due."""

    message: Message
    sinks: Sequence[str]
    ticket: Hashable
    due_s: float


class RecallMessage(Struct, frozen=True):
    """Let sinks take note of a message that was sent before."""

    message: Message
    sinks: Sequence[str]


class ClearQueues(Struct, frozen=True):
    """Forget what waits and what sinks remember. Attempts that are being made end first."""


class DrainQueues(Struct, frozen=True):
    """Let what waits go out, for at most so long."""

    timeout_s: float


class CommitOffsets(Struct, frozen=True):
    """Commit offsets with their metadata. `wait`: nothing else is done before the answer is there."""

    number: int
    offsets: Mapping[FeedPartition, tuple[int, str]]
    wait: bool


class WriteDeadLetter(Struct, frozen=True):
    """Write a dead letter and wait until it is acknowledged."""

    reject: Reject


class ReadHistory(Struct, frozen=True):
    """Read back what was sent before the committed offset, and go on from there."""

    partition: FeedPartition


class PausePartition(Struct, frozen=True):
    """Read nothing more from a partition for now."""

    partition: FeedPartition


class ResumePartition(Struct, frozen=True):
    """Read from it again."""

    partition: FeedPartition


class LogMessage(Struct, frozen=True):
    """Say something to the operator."""

    level: LogLevel
    text: str


Instruction: TypeAlias = (
    SendMessage
    | RecallMessage
    | ClearQueues
    | DrainQueues
    | CommitOffsets
    | WriteDeadLetter
    | ReadHistory
    | PausePartition
    | ResumePartition
    | LogMessage
)
