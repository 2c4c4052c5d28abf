"""What is remembered of a message that a sink was told: enough to decide about the next one."""

from longshore.schemas import Severity, VerdictKind
from msgspec import Struct


class Told(Struct):
    """The last message of an incident that a sink was told."""

    #: event time, epoch milliseconds
    time: int
    severity: Severity
    verdict: VerdictKind
    over: bool = False
