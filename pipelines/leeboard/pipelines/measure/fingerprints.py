"""Hashes that say "the same as before" without saying what it was.

Two kinds. Without a key (`short_hash`): anyone can recompute them, so a prompt is recognised across deployments. With
the deployment's key (`KeyedHash`): for what could be guessed by trying, such as users and inputs.
"""

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

#: largest float that still counts every integer below it
_EXACT_INTEGERS = 2**53
_json = msgspec.json.Encoder(order="deterministic")


def id_hash(call_id: str) -> int:
    """First 64 bits, big endian, of blake2b over the UTF-8 of a call id."""
    return int.from_bytes(blake2b(call_id.encode()).digest()[:8], "big")


def short_hash(canonical: bytes) -> str:
    """First 12 hex digits (48 bits) of blake2b: among 10,000 prompts two collide with a chance of 2e-7."""
    return blake2b(canonical).hexdigest()[:12]


def canonical_text(text: str) -> bytes:
    """UTF-8 of the text in NFC: the same bytes however the sender composed its accents. Lone surrogates are kept."""
    if text.isascii():
        return text.encode()
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, NFC text and 1.0 written as 1: equal values give equal bytes, whoever sent them."""
    encoded = _json.encode(_integers(value))
    return encoded if encoded.isascii() else canonical_text(encoded.decode())


def canonical_names(names: Iterable[str]) -> bytes:
    """Names as a set: clients list the same tools in any order."""
    return canonical_json(sorted(set(names)))


def _integers(value: Any) -> Any:
    """`value` with integral floats as integers; `value` itself where there is nothing to change."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else value
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return value


class KeyedHash:
    """blake2b of 16 bytes with the deployment's key; every purpose has its own, so that values do not match across."""

    def __init__(self, key: str, purpose: str) -> None:
        # a key of any length becomes 32 bytes
        secret = blake2b(key.encode(), digest_size=32).digest()
        self._empty = blake2b(key=secret, digest_size=16, person=purpose.encode())

    def of(self, data: bytes) -> str:
        """32 hex digits for some bytes."""
        state = self._empty.copy()
        state.update(data)
        return state.hexdigest()
