"""Bytes and files to `ModelCall`, control record, or `Reject` with its reason."""

from .files import STANDARD_INPUT, UnreadableFile, read_records, total_bytes
from .formats import position_of, records_in

__all__ = ["STANDARD_INPUT", "UnreadableFile", "position_of", "read_records", "records_in", "total_bytes"]
