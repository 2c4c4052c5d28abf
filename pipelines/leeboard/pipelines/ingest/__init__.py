"""Bytes and files to `ModelCall`, control record, or `Reject` with its reason."""

from .files import STANDARD_INPUT, UnreadableFile, read_records, total_bytes
from .formats import position_of, records_of

__all__ = ["STANDARD_INPUT", "UnreadableFile", "position_of", "read_records", "records_of", "total_bytes"]
