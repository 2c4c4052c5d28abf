"""One self-contained HTML page of a replay."""

from .page import write_report
from .recorder import Recorder

__all__ = ["Recorder", "write_report"]
