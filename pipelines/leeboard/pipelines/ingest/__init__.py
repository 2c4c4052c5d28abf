"""Bytes and files to `ModelCall`, control record, or `Reject` with its reason."""

from .files import STANDARD_INPUT, UnreadableFile, read_records, total_bytes
from .native import decode_line

__all__ = ["STANDARD_INPUT", "UnreadableFile", "decode_line", "read_records", "total_bytes"]
