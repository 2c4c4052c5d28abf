"""Bytes to records and back, with a precise reason for every refusal."""

import hashlib
import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

import msgspec
from msgspec import Struct

from .alert import Alert, Page
from .call import ModelCall, epoch_ms, route_of
from .control import Accept, Confirm, Control, Deploy, Mute, Score
from .observation import FEWEST_NUMBERS, MAX_LABELS, Observation
from .refusal import Reason, Refused, explain, fits
from .scope import MAX_KEY_BYTES, scope_key, scope_parts
from .summary import Summary
from .text import FEATURES, MAX_DIMENSIONS, STYLE, TextMeasures

#: largest record after decompression: a call with two texts of a million tokens
MAX_RECORD_BYTES = 8 << 20
#: deepest nesting of objects and arrays
MAX_DEPTH = 32
#: a call may be this far ahead of its arrival: clocks differ, time zones do not
MAX_AHEAD_MS = 24 * 3600 * 1000
#: end of the year 9999
MAX_TIME_MS = 253_402_300_799_999
#: scope keys that are known to be some: 4,096 x at most 1 KB = 4 MB
SCOPES_KNOWN = 4096

Record: TypeAlias = ModelCall | Score | Deploy | Accept | Confirm | Mute


class Reject(Struct, tag_field="schema", tag="reject/1", kw_only=True, omit_defaults=True, frozen=True):
    """A record that was set aside: where it stood, why, and enough to recognise it; no content by default."""

    #: file and line, or topic, partition and offset
    position: str
    reason: Reason
    #: path of the wrong field and what was expected there; never a value
    detail: str
    sha256: str
    size: int
    payload: bytes | None = None


Result: TypeAlias = Alert | Page | Summary | Reject


def reject(data: bytes, refused: Refused, position: str, *, payload: bool = False) -> Reject:
    """The dead letter for `data`; its bytes only where `payload` is true."""
    return Reject(
        position=position,
        reason=refused.reason,
        detail=refused.detail,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        payload=data if payload else None,
    )


_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_results: msgspec.json.Decoder[Result] = msgspec.json.Decoder(Result)
_observations = msgspec.msgpack.Decoder(Observation)
_to_json = msgspec.json.Encoder()
_to_msgpack = msgspec.msgpack.Encoder()


def encode(record: Struct) -> bytes:
    """One record as JSON, its fields in their declared order: the same record always gives the same bytes."""
    return _to_json.encode(record)


def decode(data: bytes, *, arrival_ms: int | None = None) -> Record:
    """A call or a control record from JSON bytes.

    `arrival_ms`: when the record arrived (epoch ms); calls more than a day ahead of it are refused.
    Raises Refused with its reason; any input gives a record or Refused, nothing else.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(data)} bytes, at most {MAX_RECORD_BYTES}")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and depth(data) > MAX_DEPTH:
        raise Refused("too_deep", f"nested deeper than {MAX_DEPTH}")
    try:
        record = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError):
        record = _decode_odd(data)
    _check(record, arrival_ms)
    return record


def decode_result(data: bytes) -> Result:
    """An alert, page, summary or dead letter from JSON bytes. Raises Refused."""
    try:
        return _results.decode(data)
    except RecursionError:
        raise Refused("too_deep", "nested deeper than can be read") from None
    except (msgspec.MsgspecError, ValueError):
        value = _json(data, _not_json)
        if fits(value, Result):
            raise Refused("not_json", "a byte order mark or half of a surrogate pair is no JSON") from None
        raise explain(value, Result) from None


def encode_observation(observation: Observation) -> bytes:
    """One observation as MessagePack."""
    return _to_msgpack.encode(observation)


def decode_observation(data: bytes) -> Observation:
    """An observation from MessagePack bytes. Raises Refused."""
    if len(data) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(data)} bytes, at most {MAX_RECORD_BYTES}")
    try:
        observation = _observations.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise explain(_msgpack(data), Observation) from None
    _check_floats("numbers", observation.numbers, FEWEST_NUMBERS)
    _check_text("input", observation.input)
    _check_text("output", observation.output)
    if len(observation.labels) > MAX_LABELS + 1:
        raise Refused("out_of_range", f"more than {MAX_LABELS} labels")
    _check_time("time", observation.time)
    _check_time("received", observation.received or 0)
    if len(observation.scope) > MAX_KEY_BYTES:
        raise Refused("key_too_long", f"`scope` is longer than {MAX_KEY_BYTES} bytes")
    if not _is_scope(observation.scope):
        raise Refused("no_scope", "`scope` is not tenant/app/env/route")
    return observation


@lru_cache(SCOPES_KNOWN)
def _is_scope(key: str) -> bool:
    try:
        scope_parts(key)
    except ValueError:
        return False
    return True


def depth(data: bytes) -> int:
    """Deepest nesting of JSON objects and arrays, strings left out; stops counting beyond MAX_DEPTH."""
    deepest = now = 0
    for byte in _STRINGS.sub(b"", data):
        if byte in b"[{":
            now += 1
            deepest = max(deepest, now)
            if deepest > MAX_DEPTH:
                break
        elif byte in b"]}":
            now -= 1
    return deepest


#: JSON strings, the last one perhaps cut off; possessive, so that a long one costs no memory
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?(?:"|\Z)', re.DOTALL)


def _msgpack(data: bytes) -> Any:
    """MessagePack of any content. Raises Refused."""
    try:
        return msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        raise Refused("not_msgpack", "the bytes are no MessagePack, or nested deeper than can be read") from None


def _json(data: bytes, refuse_constant: Callable[[str], NoReturn]) -> Any:
    """JSON of any content, a byte order mark left out. Raises Refused."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("not_utf8", "the bytes are not UTF-8") from None
    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=_finite, parse_int=_integer)
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode())
        raise Refused("not_json", f"no JSON from byte {at} of {len(data)} on") from None
    except RecursionError:
        raise Refused("too_deep", "nested deeper than can be read") from None


def _refuse_constant(name: str) -> NoReturn:
    raise Refused("not_finite", f"{name} is no JSON number")


def _not_json(name: str) -> NoReturn:
    raise Refused("not_json", f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Refused("not_finite", "Number out of range")
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        raise Refused("not_finite", "Integer value out of range") from None


def _decode_odd(data: bytes) -> Record:
    """What msgspec refuses: lone surrogates become U+FFFD, a byte order mark goes; for the rest a reason is found."""
    value = _without_surrogates(_json(data, _refuse_constant))
    try:
        record: Record = msgspec.convert(value, Record)
    except (msgspec.MsgspecError, ValueError):
        raise explain(value, Record) from None
    return record


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _check_time(field: str, time_ms: int) -> None:
    if not 0 <= time_ms <= MAX_TIME_MS:
        raise Refused("time_out_of_range", f"`{field}` lies outside the years 1970 to 9999")


def _check_floats(field: str, data: bytes, fewest: int) -> None:
    if len(data) < 4 * fewest or len(data) % 4:
        raise Refused("wrong_type", f"`{field}` holds at least {fewest} float32, got {len(data)} bytes")


def _check_text(field: str, text: TextMeasures | None) -> None:
    """Lengths of what was measured of a text. Raises Refused."""
    if text is None:
        return
    if text.features is not None:
        _check_floats(f"{field}.features", text.features, len(FEATURES))
    if text.style is not None and len(text.style) < len(STYLE):
        raise Refused("wrong_type", f"`{field}.style` holds at least {len(STYLE)} bytes, got {len(text.style)}")
    if text.vector is None:
        return
    if not 1 <= len(text.vector) <= MAX_DIMENSIONS:
        raise Refused("out_of_range", f"`{field}.vector` holds 1 to {MAX_DIMENSIONS} bytes, got {len(text.vector)}")
    if not 0.0 < text.scale < math.inf:
        raise Refused("out_of_range", f"`{field}.scale` is no positive number")
    if text.embedder is None:
        raise Refused("missing_field", f"`{field}.embedder` is missing beside a vector")


def _check(record: Record, arrival_ms: int | None) -> None:
    """What the types cannot say. Raises Refused."""
    time = epoch_ms(record.time)
    _check_time("time", time)
    if isinstance(record, Mute):
        _check_time("until", epoch_ms(record.until))
    if arrival_ms is not None and time > arrival_ms + MAX_AHEAD_MS:
        raise Refused("time_ahead", "`time` is more than a day ahead of arrival")
    route = route_of(record) if isinstance(record, ModelCall) else record.route
    if len(scope_key(record.tenant, record.app, record.env, route)) > MAX_KEY_BYTES:
        raise Refused("key_too_long", f"tenant, app, env and route are longer than {MAX_KEY_BYTES} bytes in all")


__all__ = [
    "MAX_AHEAD_MS",
    "MAX_DEPTH",
    "MAX_RECORD_BYTES",
    "Control",
    "Reason",
    "Record",
    "Refused",
    "Reject",
    "Result",
    "decode",
    "decode_observation",
    "decode_result",
    "depth",
    "encode",
    "encode_observation",
    "reject",
]
