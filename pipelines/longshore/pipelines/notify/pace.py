"""How long to wait between attempts: no chance in it, so that a test and a person can foretell it."""

from msgspec import Struct


class Pace(Struct, frozen=True):
    """Pauses of a sink after failures in a row: first_s, then doubling up to most_s; a message has retry_s in all."""

    retry_s: float
    first_s: float = 1.0
    #: a page waits at most so long after a receiver has come back
    most_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row, 1 or more."""
        return float(min(self.first_s * 2.0 ** min(failures - 1, 30), self.most_s))
