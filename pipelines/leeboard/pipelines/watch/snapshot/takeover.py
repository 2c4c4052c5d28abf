"""Taking a scope over from its stored state, also from that of a build with other signals.

The state of every signal that both know, with the same fingerprint, goes to the column that the signal has here. What
only the state knows is dropped, with its part in an open incident; what only this build knows begins to learn. Where
nothing differs everything is taken as it was written, to the bit.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.arenas import record_of
from leeboard.detectors.core.changes import Dump
from leeboard.pipelines.signals import CHANNELS, Kind
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.state.channels import join_channel
from leeboard.pipelines.watch.state.layout import NOT_MEASURED, ring_row
from leeboard.pipelines.watch.state.scope import Incident, Scope
from leeboard.pipelines.watch.texts.signals import CONTENT, STYLE_COLUMN
from msgspec.structs import replace

from .catalogue import Catalogue, StoredColumns
from .codec import COMPRESSION_LEVEL, FIELDS, DetectorPart, StateError, StoredParts, read, rings, unpacked
from .text_codec import put_texts

#: channel budgets that differ by less are those of the same signals, added up in another order
SAME_NATS = 1e-9


@dataclass(frozen=True, slots=True)
class Restored:
    """A scope that was taken over."""

    scope: Scope
    #: signals whose state was dropped: unknown here, switched off, or kept differently
    dropped: int = 0
    #: signals that the state knew nothing of
    new: int = 0
    #: shifts of the open incident went with dropped signals
    lost_shifts: bool = False
    #: the stored parts are those of this build: what changes may be written beside them
    same: bool = True


def restore(bank: Bank, parts: dict[str, bytes], here: Catalogue) -> Restored:
    """Take a scope over from all its parts. Raises StateError where they are no state of this engine."""
    stored = read(parts)
    for name, was, now in (
        ("scope.tenant", stored.catalogue.tenant, here.tenant),
        ("watch.ring_calls", stored.catalogue.ring_calls, here.ring_calls),
    ):
        if was != now:
            raise StateError(f"state of another configuration: {name} was {was}, this is {now}")
    scope = stored.scope.scope
    slot = scope.slot = bank.add_scope()
    try:
        if stored.catalogue == here and not _has_scores_off(bank, scope):
            _put(bank, stored)
            return Restored(scope)
        return _take_over(bank, stored, here)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, zlib.error) as error:
        bank.drop_scope(slot)
        raise StateError(f"{scope.key}: a part is missing or has the wrong size: {error}") from None


def _has_scores_off(bank: Bank, scope: Scope) -> bool:
    """Is a score of the scope switched off? The catalogue knows scores by their kind only."""
    scores = [(name, False) for name in scope.scores] + [(name, True) for name in scope.categorical_scores]
    return any(bank.signals.score(name, categorical=categorical).weight == 0.0 for name, categorical in scores)


def _put(bank: Bank, stored: StoredParts) -> None:
    """Make the arrays of a scope what they were."""
    part, slot = stored.scope, stored.scope.scope.slot
    record = bank.scopes.array[slot]
    if part.record.keys() != set(FIELDS):
        raise ValueError("a record of other fields")
    for name, value in part.record.items():
        record[name] = value
    for channel, (measured, nats) in part.channels.items():
        if channel in CHANNELS:
            record["measured"][CHANNELS.index(channel)] = measured
            record["channel_nats"][CHANNELS.index(channel)] = nats
    events, first = zip(*part.binary, strict=True)
    bank.binary.events[slot] = _exactly(events, bank.binary.events[slot])
    bank.binary.first[slot] = _exactly(first, bank.binary.first[slot])
    bank.categorical.events[slot] = _exactly(part.categorical, bank.categorical.events[slot])
    bank.river.load(slot, part.river)
    bank.history.add_recent(slot, part.recent)
    if part.scope.texts is not None:
        put_texts(bank.text.bank, slot, part.scope.texts, stored.parts)
    for detector in stored.detectors:
        _put_detector(bank, slot, detector)
    bank.history.reserve(slot, int(record["calls"]))
    for name, rows, chunks, _ in rings(bank):
        for k in np.flatnonzero(chunks[slot] >= 0).tolist():
            row = rows.array[chunks[slot, k]]
            chunk = stored.parts[f"{name}.{k}"]
            row[...] = np.frombuffer(unpacked(name, chunk, row.nbytes), rows.array.dtype)


def _exactly(values: Any, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as an array that fits; one of another length must not be spread over a table. Raises ValueError."""
    array = np.array(values, table.dtype)
    if array.shape != table.shape:
        raise ValueError(f"{len(array)} columns are not {len(table)}")
    return array


def _put_detector(bank: Bank, slot: int, part: DetectorPart) -> None:
    """Make a detector again; what it points to gets other row numbers."""
    family = bank.of(part.key)
    family.add(slot, part.key)
    if part.regression is not None:
        regression = family.regression(slot, part.key)
        if regression is None:
            raise ValueError("a regression that the signal does not have")
        rows, r = regression
        rows[r] = record_of(part.regression, rows.dtype)
    family.changes(part.key.column).load(family.row(slot, part.key), Dump(part.row, part.watcher, part.frozen))


def _take_over(bank: Bank, stored: StoredParts, here: Catalogue) -> Restored:
    """Put the state of a scope where this build has its signals."""
    scope, slot = stored.scope.scope, stored.scope.scope.slot
    scores: dict[Kind, dict[str, int]] = {"numeric": scope.scores, "categorical": scope.categorical_scores}
    columns = StoredColumns(stored.catalogue, here, scores, bank.signals)
    moved, dropped = _moved(bank, stored, columns)
    lost = _move_keys(scope, columns)
    scope.scores, scope.categorical_scores = columns.scores["numeric"], columns.scores["categorical"]
    scope.labels.move(columns.of["categorical"])
    if not columns.keeps_texts:
        scope.texts = None
    _put(bank, moved)
    if scope.texts is not None:
        for column in (STYLE_COLUMN, CONTENT):  # what was counted apart since a change whose detector is gone
            bank.text.bank.end_change(slot, column, accepted=True)
        bank.text.start_missing(slot, scope.texts.outputs, scope.texts.inputs)
    _divide_budget(bank, slot)
    return Restored(scope, dropped, columns.new, lost_shifts=lost, same=False)


def _moved(bank: Bank, stored: StoredParts, columns: StoredColumns) -> tuple[StoredParts, int]:
    """The arrays of a state with the columns of this build, and how many signals have lost theirs."""
    part = stored.scope
    binary = [(0, -1)] * bank.binary.events.shape[1]
    categorical = [0] * bank.categorical.events.shape[1]
    lost = {(kind, column) for kind, column, *_ in (d.key for d in stored.detectors) if columns.of[kind][column] < 0}
    for old, new in enumerate(columns.of["binary"]):
        if new >= 0:
            binary[new] = part.binary[old]
        elif part.binary[old][0] > 0:
            lost.add(("binary", old))
    for old, new in enumerate(columns.of["categorical"]):
        if new >= 0:
            categorical[new] = part.categorical[old]
        elif part.categorical[old] > 0:
            lost.add(("categorical", old))
    river = {name: state for name, state in part.river.items() if name in columns.kept}
    detectors = [
        replace(detector, key=key) for detector in stored.detectors if (key := columns.key(detector.key)) is not None
    ]
    parts = {
        name: _moved_ring(data, columns) if name.startswith("ring.") else data for name, data in stored.parts.items()
    }
    moved = StoredParts(
        stored.catalogue, replace(part, binary=binary, categorical=categorical, river=river), detectors, parts
    )
    return moved, len(lost) + len(part.river) - len(river)


def _moved_ring(chunk: bytes, columns: StoredColumns) -> bytes:
    """A chunk of the ring of recent calls with the numeric signals of this build."""
    old, new = columns.fixed["numeric"]
    rows = np.frombuffer(zlib.decompress(chunk), ring_row(old))
    moved = np.zeros(len(rows), ring_row(new))
    for name in ("time", "flags", "labels", "texts"):
        moved[name] = rows[name]
    moved["scores"] = NOT_MEASURED
    for was, now in enumerate(columns.of["numeric"][:old]):
        if now >= 0:
            moved["scores"][:, now] = rows["scores"][:, was]
    return zlib.compress(moved.tobytes(), COMPRESSION_LEVEL)


def _move_keys(scope: Scope, columns: StoredColumns) -> bool:
    """Give detectors their keys of here, and forget those that are dropped; did the open incident lose a shift?"""
    scope.names = {key: name for old, name in scope.names.items() if (key := columns.key(old)) is not None}
    scope.retained = {key: since for old, since in scope.retained.items() if (key := columns.key(old)) is not None}
    for incident in scope.closed:
        _move_shifts(incident, columns)
    return scope.incident is not None and _move_shifts(scope.incident, columns)


def _move_shifts(incident: Incident, columns: StoredColumns) -> bool:
    moved = [(shift, columns.key(shift.key)) for shift in incident.shifts]
    incident.shifts = [replace(shift, key=key) for shift, key in moved if key is not None]
    return len(incident.shifts) < len(moved)


def _divide_budget(bank: Bank, slot: int) -> None:
    """Divide the budget of every channel among the signals that were measured, in the order of the catalogue."""
    record = bank.scopes.array[slot]
    before = {name: record[name].copy() for name in ("measured", "channel_nats")}
    for name in before:
        record[name] = 0.0
    for channel, weight in _measured(bank, slot):
        if weight > 0.0:
            join_channel(record, channel, weight, float(bank.signals.channel_weights[channel]))
    same = np.all([np.isclose(record[name], old, 0.0, SAME_NATS) for name, old in before.items()], axis=0)
    for name, old in before.items():
        record[name] = np.where(same, old, record[name])


def _measured(bank: Bank, slot: int) -> Iterator[tuple[int, float]]:
    """Channel and weight of every signal that the scope has measured."""
    signals = bank.signals
    numeric = [key.column for key in bank.numeric.keys(slot) if bank.numeric.record(slot, key)["events"] > 0]
    for columns, channels, weights in (
        (numeric, signals.numeric_channels, signals.numeric_weights),
        (np.flatnonzero(bank.binary.events[slot]), signals.binary_channels, signals.binary_weights),
        (np.flatnonzero(bank.categorical.events[slot]), signals.categorical_channels, signals.categorical_weights),
        (bank.text.bank.columns(slot), signals.text_channels, signals.text_weights),
    ):
        yield from zip(channels[columns].tolist(), weights[columns].tolist(), strict=True)
