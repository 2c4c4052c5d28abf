"""Any bytes give a record or Refused, nothing else; what was read can be written and read again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from leeboard.schemas import (
    ModelCall,
    Reason,
    Refused,
    decode,
    decode_observation,
    decode_result,
    encode,
    encode_observation,
)
from leeboard.schemas.generate import RECORDS

GOLDENS = Path(__file__).parent / "goldens"
READERS: dict[str, Callable[[bytes], Any]] = {
    "decode": decode,
    "decode_result": decode_result,
    "decode_observation": decode_observation,
}
REASONS = get_args(Reason)

texts = st.text() | st.text(st.characters(categories=["Cs", "L", "P"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
fields = st.sampled_from(sorted({name for record in RECORDS for name in record.__struct_fields__} | {"later"}))
tags = st.sampled_from([str(record.__struct_config__.tag) for record in RECORDS])


def seeds(suffix: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDENS.glob(f"*.{suffix}"))]


def outcome(reader: Callable[[bytes], Any], data: bytes) -> Any:
    """The record, or the reason of its refusal. Anything else escapes and fails the test."""
    try:
        return reader(data)
    except Refused as refused:
        assert refused.reason in REASONS
        assert refused.detail
        return refused.reason


@st.composite
def damaged(draw: st.DrawFn, suffix: str) -> bytes:
    """A golden with some bytes overwritten, inserted or cut."""
    data = bytearray(draw(st.sampled_from(seeds(suffix))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 4)))
        data[start:end] = draw(
            st.binary(max_size=6) | st.sampled_from([b"\\ud800", b"NaN", b"-", b"[", b'"', b"1e999"])
        )
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
@given(data=st.binary() | damaged("json") | damaged("msgpack"))
@example(data=b'"\\')
@example(data=b"\xef\xbb\xbf")
def test_any_bytes_give_a_record_or_a_refusal(reader: str, data: bytes) -> None:
    assert outcome(READERS[reader], data) is not None


@given(tag=tags, changes=st.dictionaries(fields, json_values, max_size=5))
def test_any_json_in_any_field_gives_a_record_or_a_refusal(tag: str, changes: dict[str, Any]) -> None:
    base = json.loads((GOLDENS / "score-1.minimal.json").read_text()) | {"id": "call-1", "schema": tag}
    data = json.dumps(base | changes).encode()
    for reader in (decode, decode_result):
        record = outcome(reader, data)
        if not isinstance(record, str):
            assert reader(encode(record)) == record


@given(changes=st.dictionaries(fields, json_values.filter(lambda value: "\\ud" not in json.dumps(value)), max_size=5))
@example(changes={"later": 10**400, "params": {"seed": 10**25}})
def test_an_observation_is_taken_or_refused_whatever_its_fields_hold(changes: dict[str, Any]) -> None:
    base = msgspec.msgpack.decode((GOLDENS / "observation-1.minimal.msgpack").read_bytes())
    try:
        data = msgspec.msgpack.encode(base | changes)
    except OverflowError:  # MessagePack holds 64 bits
        return
    seen = outcome(decode_observation, data)
    if not isinstance(seen, str):
        written = encode_observation(seen)
        assert encode_observation(decode_observation(written)) == written


def finite(value: Any) -> bool:
    return "NaN" not in (text := json.dumps(value)) and "Infinity" not in text


@given(changes=st.dictionaries(st.sampled_from(ModelCall.__struct_fields__), json_values.filter(finite), max_size=4))
@example(changes={"input_tokens": 10**25})
@example(changes={"latency_ms": 10**400})
@example(changes={"params": {"seed": 10**25}})
def test_a_lone_surrogate_elsewhere_changes_nothing_about_a_call(changes: dict[str, Any]) -> None:
    """The two readers of JSON, msgspec's and the one for odd bytes, agree."""
    base = {"schema": "model_call/1", "id": "call-1", "time": 0, "app": "shop"}
    plain = outcome(decode, json.dumps(base | changes).encode())
    odd = outcome(decode, json.dumps(base | changes | {"later": "\ud800"}).encode())
    assert odd == plain


@given(
    call=st.fixed_dictionaries(
        {"id": st.text(min_size=1), "time": st.integers(0, 10**13), "app": st.text(min_size=1, max_size=20)},
        optional={
            "input_text": st.text(),
            "input_tokens": st.integers(0, 10**15),
            "cost_usd": st.floats(0, 1e15),
            "labels": st.dictionaries(st.text(), st.text()),
            "scores": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
            "params": st.dictionaries(st.text(), json_values.filter(finite), max_size=3),
            "tools": st.lists(st.text()),
            "sample_rate": st.floats(0, 1, exclude_min=True),
            "input_vector": st.lists(st.floats(allow_nan=False, allow_infinity=False)),
        },
    )
)
def test_a_valid_call_is_taken_and_survives_the_round_trip(call: dict[str, Any]) -> None:
    record = decode(json.dumps(call | {"schema": "model_call/1"}).encode())
    assert decode(encode(record)) == record
    assert encode(decode(encode(record))) == encode(record)
    for field in ("id", "time", "app"):
        assert getattr(record, field) == call[field]
