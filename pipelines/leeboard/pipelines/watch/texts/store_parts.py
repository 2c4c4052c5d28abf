"""The rings of a scope's texts as parts of bytes: what a checkpoint writes, and reads back.

A call touches one row of each ring, so a checkpoint that names the newest call of the one before writes a chunk or two
of eight, and the quantisers only where one was fitted since.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Record
from leeboard.detectors.vector.store import CHUNK_ROWS, CHUNKS

#: fields that change at every call, and are small
_COUNTS = (
    ("ring", "events"),
    ("ring", "written"),
    ("given", "events"),
    ("given", "written"),
    ("paired",),
    ("pairs_written",),
)
#: fields that change when a quantiser is fitted
_QUANTISERS = (("quantiser",), ("given_quantiser",))
#: fields with one entry a row
_ROWS = (
    ("ring", "codes"),
    ("ring", "calls"),
    ("ring", "partners"),
    ("given", "codes"),
    ("given", "calls"),
    ("given", "partners"),
    ("pairs",),
)


def stored_parts(space: Record, after_call: int = 0) -> dict[str, bytes]:
    """Parts of a space that changed after call number `after_call` (0: all of them), not compressed.

    `counts`: always; `quantisers`: some 20 KB; `rows.<k>`: up to 29 KB for a chunk of 148 rows.
    """
    parts = {"counts": _join(_field(space, path) for path in _COUNTS)}
    if (
        after_call == 0
        or max(int(space[quantiser]["fitted"]) for quantiser in ("quantiser", "given_quantiser")) > after_call
    ):
        parts["coders"] = _join(_field(space, path) for path in _QUANTISERS)
    for k in range(CHUNKS):
        if _written(space, k) > after_call:
            parts[f"rows.{k}"] = _join(_chunk(space, path, k) for path in _ROWS)
    return parts


def put_store(space: Record, parts: Mapping[str, bytes]) -> None:
    """Write all parts of a space into an empty one. Raises ValueError where a part is missing or has the wrong size.

    Rows that were never written are not looked at: what there is may be left of another space of that name.
    """
    for name, fields in (("counts", _COUNTS), ("coders", _QUANTISERS)):
        if name not in parts:
            raise ValueError(f"no part {name}")
        _write(name, parts[name], [_field(space, path) for path in fields])
    for k in range(CHUNKS):
        name = f"rows.{k}"
        if _written(space, k) == 0:
            continue
        if name not in parts:
            raise ValueError(f"no part {name}")
        _write(name, parts[name], [_chunk(space, path, k) for path in _ROWS])


def warm_up_written(chunk: Record) -> int:
    """Number of the newest call in a chunk of YOUNG, 0 where it is empty."""
    return max(int(chunk["calls"].max()), int(chunk["input_calls"].max()))


def _written(space: Record, k: int) -> int:
    """Number of the newest call that was written to chunk k of any ring."""
    return max(int(space["ring"]["written"][k]), int(space["given"]["written"][k]), int(space["pairs_written"][k]))


def _field(space: Record, path: tuple[str, ...]) -> npt.NDArray[Any]:
    """A field as a view, one axis at least."""
    whole = np.asarray(space).reshape(1)
    for name in path:
        whole = whole[name]
    return whole


def _chunk(space: Record, path: tuple[str, ...], k: int) -> npt.NDArray[Any]:
    """The rows of chunk k of a field, as a view."""
    return _field(space, path)[:, k * CHUNK_ROWS : (k + 1) * CHUNK_ROWS]


def _join(fields: Iterator[npt.NDArray[Any]]) -> bytes:
    return b"".join(field.tobytes() for field in fields)


def _write(name: str, part: bytes, fields: list[npt.NDArray[Any]]) -> None:
    """Write a part into the fields that it was made of."""
    if len(part) != sum(field.nbytes for field in fields):
        raise ValueError(f"part {name} has {len(part)} bytes")
    at = 0
    for field in fields:
        piece = np.frombuffer(part[at : at + field.nbytes], field.dtype).reshape(field.shape)
        field[...] = piece
        at += field.nbytes
