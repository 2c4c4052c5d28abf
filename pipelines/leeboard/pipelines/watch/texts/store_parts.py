"""The vector store of a scope's texts as parts of bytes, which a checkpoint writes and reads back.

A call changes one row of each ring. A checkpoint that names the newest call of the previous one therefore writes one or
two chunks of eight, and the quantisers only if one of them was fitted since.
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
    ("conditioning", "events"),
    ("conditioning", "written"),
    ("paired",),
    ("pairs_written",),
)
#: fields that change when a quantiser is fitted
_QUANTISERS = (("quantiser",), ("conditioning_quantiser",))
#: fields with one entry a row
_ROWS = (
    ("ring", "codes"),
    ("ring", "indices"),
    ("ring", "partners"),
    ("conditioning", "codes"),
    ("conditioning", "indices"),
    ("conditioning", "partners"),
    ("pairs",),
)


def stored_parts(store: Record, after_call: int = 0) -> dict[str, bytes]:
    """Parts of a store that have changed after call number `after_call` (0: all parts), not compressed.

    `counts`: always; `coders`: the quantisers, some 20 KB; `rows.<k>`: chunk k, up to 29 KB for its 148 rows.
    """
    parts = {"counts": _join(_field(store, path) for path in _COUNTS)}
    if (
        after_call == 0
        or max(int(store[quantiser]["fitted"]) for quantiser in ("quantiser", "conditioning_quantiser")) > after_call
    ):
        parts["coders"] = _join(_field(store, path) for path in _QUANTISERS)
    for k in range(CHUNKS):
        if _written(store, k) > after_call:
            parts[f"rows.{k}"] = _join(_chunk(store, path, k) for path in _ROWS)
    return parts


def put_store(store: Record, parts: Mapping[str, bytes]) -> None:
    """Write all parts into an empty store. Raises ValueError where a part is missing or has the wrong size.

    Chunks that were never written are ignored: they may be left from an earlier store of the same name.
    """
    for name, fields in (("counts", _COUNTS), ("coders", _QUANTISERS)):
        if name not in parts:
            raise ValueError(f"no part {name}")
        _write(name, parts[name], [_field(store, path) for path in fields])
    for k in range(CHUNKS):
        name = f"rows.{k}"
        if _written(store, k) == 0:
            continue
        if name not in parts:
            raise ValueError(f"no part {name}")
        _write(name, parts[name], [_chunk(store, path, k) for path in _ROWS])


def warm_up_written(chunk: Record) -> int:
    """Number of the newest call in a warm-up chunk, 0 where it is empty."""
    return max(int(chunk["calls"].max()), int(chunk["input_calls"].max()))


def _written(store: Record, k: int) -> int:
    """Number of the newest call written to chunk k of either ring or of the pairs, 0 for none."""
    return max(
        int(store["ring"]["written"][k]), int(store["conditioning"]["written"][k]), int(store["pairs_written"][k])
    )


def _field(store: Record, path: tuple[str, ...]) -> npt.NDArray[Any]:
    """A field as a view, with at least one axis."""
    whole = np.asarray(store).reshape(1)
    for name in path:
        whole = whole[name]
    return whole


def _chunk(store: Record, path: tuple[str, ...], k: int) -> npt.NDArray[Any]:
    """The rows of chunk k of a field, as a view."""
    return _field(store, path)[:, k * CHUNK_ROWS : (k + 1) * CHUNK_ROWS]


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
