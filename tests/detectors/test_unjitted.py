"""The kernels as plain Python give the same numbers, bit for bit. As a program, this file prints digests of states."""

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from leeboard.detectors import (
    BinaryDetector,
    CategoricalDetector,
    ConditionalDetector,
    Detector,
    DirectionDetector,
    Evidence,
    FeaturesDetector,
    NumericDetector,
    event_uniforms,
)

#: how far the values move, in sd, and for how many events: a change, the next one on top of it, and the return
PLAN = [(0.0, 700), (2.5, 50), (6.0, 80), (0.0, 300)]
SHARES = [(0.05, 250), (0.6, 60), (0.05, 200)]
#: minutes between two events
MINUTES = 18
SEEDS = (0, 4, 17)


def leaves(name: str, array: npt.NDArray[np.generic]) -> Iterator[tuple[str, bytes]]:
    """Every field of a structured array with its bytes; padding is no field."""
    if array.dtype.names is None:
        yield name, np.ascontiguousarray(array).tobytes()
        return
    for field in array.dtype.names:
        yield from leaves(f"{name}.{field}", array[field])


def digests(name: str, detector: Detector, found: list[Evidence]) -> dict[str, str]:
    """Digest of every array of a detector, of every field of its state, and of its evidence."""
    changes = vars(detector)["_changes"]
    arrays = {key: value for key, value in vars(detector).items() if isinstance(value, np.ndarray)}
    arrays |= {"rows": changes.rows.array, "frozen": changes.frozen.array}
    parts = {f"{name}.{key}": dict(leaves(key, value)) for key, value in arrays.items()}
    fields = {f"{name}.{field}": data for part in parts.values() for field, data in part.items()}
    fields[f"{name}.evidence"] = repr([(e.level.hex(), e.effect.hex(), e) for e in found]).encode()
    return {field: hashlib.blake2b(data, digest_size=8).hexdigest() for field, data in fields.items()}


def lived(name: str, detector: Detector, found: list[Evidence], opened: list[bool]) -> dict[str, str]:
    """The digests, and what happened: changes found, and whether one was open at the end of each part."""
    return {**digests(name, detector, found), f"{name}.life": json.dumps([len(found), *opened])}


def numeric(name: str, seed: int, *, logarithmic: bool, given: bool) -> dict[str, str]:
    rng, found, opened, t = random.Random(seed), [], [], 0
    detector = NumericDetector(level=1e3, page_level=1e5, logarithmic=logarithmic, seasonal=given, covariates=2 * given)
    for shift, events in PLAN:
        for _ in range(events):
            minute = MINUTES * t
            tokens = (rng.gauss(6, 0.8), rng.gauss(5, 0.6))
            log = 0.2 * (rng.gauss(0, 1) + shift) + given * (
                0.8 * tokens[1] + 0.1 * math.sin(2 * math.pi * minute / 1440)
            )
            evidence = detector.update(
                math.exp(log) if logarithmic else 100 * log,
                uniforms=event_uniforms(f"{name}{t}", name),
                clock=60_000 * minute if given else None,
                covariates=tokens if given else None,
            )
            found += [evidence] if evidence else []
            t += 1
        opened.append(detector.open)
    return lived(name, detector, found, opened)


def shares(name: str, detector: BinaryDetector | CategoricalDetector) -> dict[str, str]:
    rng, found, opened, t = random.Random(8), [], [], 0
    for share, events in SHARES:
        for _ in range(events):
            yes = rng.random() < share
            other = "tool" if rng.random() < 0.1 else "stop"
            value = float(yes) if isinstance(detector, BinaryDetector) else "length" if yes else other
            evidence = detector.update(value, uniforms=event_uniforms(f"{name}{t}", name))
            found += [evidence] if evidence else []
            t += 1
        opened.append(detector.open)
    return lived(name, detector, found, opened)


#: how far vectors move, in sd of two of their numbers, and for how many events
VECTOR_PLAN = [(0.0, 760), (2.0, 60), (0.0, 400)]


def vectors(name: str, detector: DirectionDetector | ConditionalDetector | FeaturesDetector) -> dict[str, str]:
    rng, found, opened, t = random.Random(5), [], [], 0
    for shift, events in VECTOR_PLAN:
        for _ in range(events):
            given = (rng.gauss(0, 1), rng.gauss(0, 1))
            value = [rng.gauss(0, 1), rng.gauss(shift, 1), float(rng.random() < 0.2) - shift + given[0]]
            uniforms = event_uniforms(f"{name}{t}", name)
            evidence = detector.update(value, uniforms=uniforms, covariates=given)
            found += [evidence] if evidence else []
            t += 1
        opened.append(detector.open)
    return lived(name, detector, found, opened)


def everything() -> dict[str, str]:
    found = {
        **shares("binary", BinaryDetector(level=1e3, page_level=1e5)),
        **shares("categories", CategoricalDetector(level=1e3, page_level=1e5)),
        **vectors("direction", DirectionDetector(dimensions=3, level=1e3)),
        **vectors("conditional", ConditionalDetector(dimensions=3, conditioning_dimensions=2, level=1e3)),
        **vectors("features", FeaturesDetector(features=3, level=1e3)),
    }
    for seed in SEEDS:
        found |= numeric(f"log {seed}", seed, logarithmic=True, given=False)
        found |= numeric(f"linear {seed}", seed, logarithmic=False, given=False)
        found |= numeric(f"given {seed}", seed, logarithmic=True, given=True)
    return found


def test_the_kernels_as_plain_python_give_the_same_numbers_bit_for_bit() -> None:
    assert not numba.config.DISABLE_JIT
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error", str(Path(__file__).resolve())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    plain, compiled = json.loads(done.stdout), everything()
    assert plain.pop("jit") is False
    assert plain.keys() == compiled.keys()
    assert len(compiled) > 500
    assert not {field for field in compiled if plain[field] != compiled[field]}
    for kind in ("log", "linear", "given"):
        lives = [
            json.loads(life) for field, life in compiled.items() if field.startswith(kind) and field.endswith("life")
        ]
        assert any(changes >= 2 and opened == [False, True, True, False] for changes, *opened in lives), (kind, lives)
    for kind in ("binary", "categories"):
        assert json.loads(compiled[f"{kind}.life"])[1:3] == [False, True]
    for kind in ("direction", "conditional", "features"):
        assert json.loads(compiled[f"{kind}.life"])[1:] == [False, True, False]


if __name__ == "__main__":
    print(json.dumps({**everything(), "jit": not numba.config.DISABLE_JIT}))
