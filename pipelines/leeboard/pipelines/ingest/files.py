"""Files of one record a line: JSONL, gzipped JSONL (recognised by content, not by name), standard input."""

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import TypeAlias, cast

from leeboard.schemas import PRIVILEGED, Reason, Record, Refused, Reject, reject
from leeboard.schemas.wire import MAX_RECORD_BYTES

from .formats import position_of, records_in
from .gzipped import GZIP_MAGIC, GzipError, inflate

#: the path that means standard input
STANDARD_INPUT = "-"
#: bytes read from a file at a time. Memory holds them and one line (MAX_RECORD_BYTES, 8 MB), and as much again while a
#: whole line is decoded
CHUNK_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"

StrPath: TypeAlias = str | os.PathLike[str]


class UnreadableFile(ValueError):
    """A path that cannot be read; the message names it and says why."""


def total_bytes(paths: Iterable[StrPath]) -> int | None:
    """Bytes of all files on disk, or None if one is standard input or a pipe. Raises UnreadableFile."""
    total = 0
    for path in paths:
        status = _checked(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


def read_records(
    paths: Iterable[StrPath],
    *,
    arrival_ms: int | None,
    allow_controls: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Record | Reject]:
    """Every record of the files in their order, and a Reject for every line that is none; blank lines are skipped.

    Positions are "<file name>:<line number>", lines counted from 1; the name of standard input is "-". `arrival_ms`:
    see `records_in`. `allow_controls`: the sender may deploy, accept, confirm and mute; otherwise those records are
    refused as `not_allowed`. Scores are always allowed. `progress` gets the number of bytes of every chunk read,
    compressed ones of a compressed file. A line longer than MAX_RECORD_BYTES is one Reject and never held in memory. A
    damaged gzip file yields every whole line before the damage, then one Reject.
    Raises UnreadableFile: at once for any path that is missing, a directory or forbidden; later if reading fails.
    """
    checked = list(paths)
    for path in checked:
        _checked(path)
    return chain.from_iterable(_file_records(path, arrival_ms, allow_controls, progress) for path in checked)


def _checked(path: StrPath) -> os.stat_result | None:
    """Status of a path that can be read, None for standard input. Raises UnreadableFile."""
    if path == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.closed:
            raise UnreadableFile("-: standard input is closed")
        return None
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise UnreadableFile(f"{os.fspath(path)!r}: {error}") from None
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(f"{os.fspath(path)}: is a directory")
    if stat.S_ISREG(status.st_mode):
        # only opening shows whether reading is allowed; a pipe is not opened, since its writer would notice
        with _open(path):
            pass
    return status


def _unreadable(path: StrPath, error: OSError) -> UnreadableFile:
    return UnreadableFile(f"{os.fspath(path)}: {(error.strerror or str(error)).lower()}")


def _file_records(
    path: StrPath, arrival_ms: int | None, allow_controls: bool, progress: Callable[[int], None] | None
) -> Iterator[Record | Reject]:
    name = Path(path).name
    for line in _lines(_pieces(path, progress)):
        position = f"{name}:{line.number}"
        if line.damage is not None:
            yield line.reject("damaged", line.damage, position)
        elif line.size > MAX_RECORD_BYTES:
            yield line.reject("too_large", f"{line.size} bytes, at most {MAX_RECORD_BYTES}", position)
        elif data := line.data():
            found = records_in(data, arrival_ms=arrival_ms)
            for index, record in enumerate(found):
                if not allow_controls and isinstance(record, PRIVILEGED):
                    record = _not_allowed(record)
                if isinstance(record, Refused):
                    yield reject(data, record, position_of(position, index, len(found)))
                else:
                    yield record


def _not_allowed(record: Record) -> Refused:
    return Refused("not_allowed", f"`{type(record).__name__.lower()}` is not taken from telemetry")


def _pieces(path: StrPath, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    """Yield the bytes of a file, decompressed. Raises GzipError after the last that can be read, UnreadableFile."""
    chunks = _chunks(path, progress)
    head = b""
    # a pipe may deliver one byte at a time
    while len(head) < len(GZIP_MAGIC) and (chunk := next(chunks, b"")):
        head += chunk
    whole = chain((head,), chunks)
    return inflate(whole) if head.startswith(GZIP_MAGIC) else whole


def _chunks(path: StrPath, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    with _open(path) as stream:
        while chunk := _read(stream, path):
            if progress is not None:
                progress(len(chunk))
            yield chunk


def _open(path: StrPath) -> AbstractContextManager[BufferedReader]:
    if path == STANDARD_INPUT:
        return nullcontext(cast("BufferedReader", sys.stdin.buffer))
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None


def _read(stream: BufferedReader, path: StrPath) -> bytes:
    try:
        return stream.read1(CHUNK_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None


def _lines(pieces: Iterator[bytes]) -> Iterator["_Line"]:
    """Every line, also a last one without newline; the line that ends at damage carries it."""
    line = _Line(1)
    try:
        for piece in pieces:
            *ends, rest = piece.split(b"\n")
            for end in ends:
                line.add(end)
                yield line
                line = _Line(line.number + 1)
            line.add(rest)
    except GzipError as error:
        line.damage = str(error)
    yield line


class _Line:
    """A line while it is read: its bytes, or beyond MAX_RECORD_BYTES only their number and hash."""

    __slots__ = ("_digest", "_held", "damage", "number", "size")

    def __init__(self, number: int) -> None:
        self.number = number
        #: bytes without the newline
        self.size = 0
        self.damage: str | None = None
        self._held = bytearray()
        self._digest: hashlib._Hash | None = None

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= MAX_RECORD_BYTES:
            self._held += piece
            return
        if self._digest is None:
            self._digest = hashlib.sha256(self._held)
            self._held = bytearray()
        self._digest.update(piece)

    def data(self) -> bytes:
        """The bytes of a line that is held, without byte order mark; none for a blank line."""
        data = bytes(self._held)
        if self.number == 1:
            data = data.removeprefix(_BOM)
        return b"" if data.isspace() else data

    def reject(self, reason: Reason, detail: str, position: str) -> Reject:
        digest = self._digest or hashlib.sha256(self._held)
        return Reject(position=position, reason=reason, detail=detail, sha256=digest.hexdigest(), size=self.size)
