"""Which signals the columns of a state stand for, so that a state can be taken over by a build with other signals.

In memory a signal is a column; here it is its name, with a fingerprint of its kind, of the version and the layout of
the detectors of that kind, and of those parts of its definition that its values depend on. A state holds the catalogue
of the build that wrote it. Where this build has a signal of the same name and fingerprint, the state of the column
moves to the column that the signal has here; else it is dropped. Floors, weights and budgets are no part of a
fingerprint.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np
from leeboard.pipelines.signals import CHANNELS, MAX_CATEGORICAL_SCORES, MAX_SCORES, Kind, Signal
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.families.base import Family
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import CATEGORIES
from msgspec import Struct

#: signals of a scope's own beside the fixed ones, by kind
SCORES: dict[Kind, int] = {"numeric": MAX_SCORES, "categorical": MAX_CATEGORICAL_SCORES}


class StoredSignal(Struct, array_like=True, frozen=True):
    """The signal of a column."""

    name: str
    #: empty where the signal is switched off: there is no state of it
    fingerprint: bytes


class Catalogue(Struct, array_like=True, frozen=True):
    """The signals of a build as configured."""

    #: settings that a whole scope depends on
    tenant: bool
    ring_calls: int
    #: by kind, in the order of columns
    signals: dict[Kind, tuple[StoredSignal, ...]]
    #: fingerprints of scores, by kind
    scores: dict[Kind, bytes]
    #: fingerprint of what text signals share: counts, rings, texts in warm-up
    texts: bytes
    #: how the evidence budget is divided, where every signal is measured
    budget: bytes


def make_catalogue(bank: Bank, settings: EngineSettings) -> Catalogue:
    """The catalogue of this build under these settings."""
    signals = bank.signals
    return Catalogue(
        settings.scope.tenant,
        settings.watch.ring_calls,
        {
            kind: tuple(
                StoredSignal(signal.name, fingerprint(family, column, signal) if signal.weight > 0.0 else b"")
                for column, signal in enumerate(family.configured)
            )
            for kind, family in bank.families.items()
        },
        {
            kind: fingerprint(family, len(family.configured), signals.score("", categorical=kind == "categorical"))
            for kind, family in bank.families.items()
            if kind in SCORES
        },
        _hash(bank.text.bank.version, [_described(dtype) for dtype in bank.text.bank.layout()]),
        _hash(CHANNELS, signals.channel_weights.tolist(), [weights.tolist() for weights in _weights(signals)]),
    )


def _weights(signals: Signals) -> Iterable[np.ndarray[Any, Any]]:
    return signals.numeric_weights, signals.binary_weights, signals.categorical_weights, signals.text_weights


def fingerprint(family: Family, column: int, signal: Signal) -> bytes:
    """What the state of a detector of a signal depends on, as 8 bytes."""
    values = (signal.source, signal.field, signal.logarithmic, signal.scale, signal.given_tokens, signal.river)
    layout = [_described(dtype) for dtype in family.layout(column)]
    categories = CATEGORIES if family.kind == "categorical" else 0
    return _hash(family.kind, family.changes(column).version, values, layout, categories)


@cache
def _described(dtype: np.dtype[Any]) -> Any:
    """Fields, types, shapes and offsets of a dtype, in words that do not depend on NumPy's."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return _described(base), shape
    if dtype.fields is None:
        return dtype.str
    fields = [(name, _described(kind), offset) for name, (kind, offset, *_) in dtype.fields.items()]
    return fields, dtype.itemsize


def _hash(*values: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(values), digest_size=8).digest()


class StoredColumns:
    """Where the columns of a stored scope are here. `scores`: by kind, its own signals and their stored columns."""

    def __init__(
        self, stored: Catalogue, here: Catalogue, scores: Mapping[Kind, Mapping[str, int]], signals: Signals
    ) -> None:
        #: columns of fixed signals, stored and here, by kind
        self.fixed = {kind: (len(stored.signals.get(kind, ())), len(here.signals[kind])) for kind in here.signals}
        #: stored column -> column here, -1 where its state is dropped
        self.of: dict[Kind, list[int]] = {
            kind: _moved(stored.signals.get(kind, ()), own) for kind, own in here.signals.items()
        }
        #: by kind, score -> column here
        self.scores: dict[Kind, dict[str, int]] = {}
        for kind, names in scores.items():
            old, new = self.fixed[kind]
            kept = list(names)[: SCORES[kind]]
            self.scores[kind] = {name: new + k for k, name in enumerate(kept)}
            same = stored.scores.get(kind) == here.scores[kind]
            self.of[kind] += [-1] * (old + len(names) - len(self.of[kind]))
            for name in kept:
                on = signals.score(name, categorical=kind == "categorical").weight > 0.0
                self.of[kind][names[name]] = self.scores[kind][name] if same and on else -1
        self.keeps_texts = stored.texts == here.texts
        if not self.keeps_texts:
            self.of["text"] = [-1] * len(self.of["text"])
        #: names of the signals whose state is kept
        self.kept = {
            signal.name
            for kind, own in stored.signals.items()
            for signal, column in zip(own, self.of[kind], strict=False)  # scores stand behind the fixed ones
            if column >= 0
        }
        known = {(kind, signal.name) for kind, own in stored.signals.items() for signal in own if signal.fingerprint}
        #: signals of this build that the state knows nothing of
        self.new = sum(
            bool(signal.fingerprint) and (kind, signal.name) not in known
            for kind, own in here.signals.items()
            for signal in own
        )

    def key(self, key: DetectorKey) -> DetectorKey | None:
        """The key here of a stored detector; None where it is dropped. Raises IndexError for a column of no signal."""
        column = self.of[key.kind][key.column]
        return key._replace(column=column) if column >= 0 else None


def _moved(stored: Iterable[StoredSignal], here: Iterable[StoredSignal]) -> list[int]:
    columns = {signal: column for column, signal in enumerate(here) if signal.fingerprint}
    return [columns.get(signal, -1) for signal in stored]
