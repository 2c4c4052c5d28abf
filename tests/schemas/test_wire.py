"""Every refusal has its reason, and says nothing of what the record held."""

import json
import math
import struct
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from leeboard.schemas import (
    FEATURES,
    FEWEST_NUMBERS,
    MAX_DIMENSIONS,
    MAX_LABELS,
    NUMBERS,
    STYLE,
    Mute,
    Observation,
    Reason,
    Refused,
    Score,
    decode,
    decode_observation,
    decode_result,
    encode,
    encode_observation,
    reject,
)
from leeboard.schemas.scope import MAX_KEY_BYTES
from leeboard.schemas.wire import MAX_AHEAD_MS, MAX_DEPTH, MAX_RECORD_BYTES, MAX_TIME_MS, depth

SECRET = "hunter2-SECRET"
CALL: dict[str, Any] = {"schema": "model_call/1", "id": "call-1", "time": 1_795_512_600_000, "app": "shop"}
SCORE: dict[str, Any] = {
    "schema": "score/1",
    "time": 1_795_512_600_000,
    "app": "shop",
    "call_id": "call-1",
    "name": "helpful",
    "value": 1,
    "evaluator": "judge-a",
}
SEEN: dict[str, Any] = {
    "schema": "observation/1",
    "id": "call-1",
    "id_hash": 7,
    "time": 1_795_512_600_000,
    "scope": "/shop/default/default",
    "numbers": struct.pack(f"<{len(NUMBERS)}f", *range(len(NUMBERS))),
}


def call(**fields: Any) -> bytes:
    return json.dumps(CALL | fields).encode()


def raw(fields: str) -> bytes:
    """A call with fields as written here: JSON that Python's encoder would not write."""
    return call()[:-1] + b"," + fields.encode() + b"}"


def observation(**fields: Any) -> bytes:
    return msgspec.msgpack.encode(SEEN | fields)


def refusal(data: bytes, reader: Callable[[bytes], Any] = decode) -> Refused:
    with pytest.raises(Refused) as caught:
        reader(data)
    return caught.value


def reason(data: bytes, reader: Callable[[bytes], Any] = decode) -> Reason:
    return refusal(data, reader).reason


def test_the_records_that_the_refusals_vary_are_themselves_taken() -> None:
    assert encode(decode(call())) == msgspec.json.encode(CALL)
    assert isinstance(decode(json.dumps(SCORE).encode()), Score)
    assert decode_observation(observation()).scope == SEEN["scope"]


@pytest.mark.parametrize("data", [b"", b"   ", b"schema: model_call/1", b"{'schema': 1}", call() + b"x", b"{" * 20])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    assert reason(data) == "not_json"


@pytest.mark.parametrize("length", [1, 9, len(call()) // 2, len(call()) - 1])
def test_half_a_line_is_not_json(length: int) -> None:
    assert reason(call()[:length]) == "not_json"


@pytest.mark.parametrize(
    "data",
    [
        raw('"user":"?"').replace(b"?", b"\xff"),
        raw('"user":"?"').replace(b"?", b"\xed\xa0\x80"),
        b"\xff\xfe\x00",
        json.dumps(CALL).encode("utf-16"),
        raw('"session":"\\ud800","user":"?"').replace(b"?", b"\xc3"),
    ],
    ids=["stray byte", "surrogate as bytes", "no JSON either", "UTF-16", "beside a lone surrogate"],
)
def test_bytes_that_are_not_utf8_are_refused(data: bytes) -> None:
    assert reason(data) == "not_utf8"


def test_a_byte_order_mark_is_dropped() -> None:
    assert decode(b"\xef\xbb\xbf" + call()) == decode(call())


@pytest.mark.parametrize("schema", ["model_call/2", "observation/1", "alert/1", "", 1, None, ["model_call/1"]])
def test_an_unknown_schema_is_refused(schema: object) -> None:
    assert reason(call(schema=schema)) == "unknown_schema"


def test_a_record_without_schema_is_refused() -> None:
    assert reason(json.dumps({"id": "call-1", "time": 0, "app": "shop"}).encode()) == "unknown_schema"


@pytest.mark.parametrize(
    ("record", "field"),
    [(CALL, name) for name in ("id", "time", "app")]
    + [(SCORE, name) for name in ("time", "app", "call_id", "name", "value", "evaluator")],
)
def test_a_missing_required_field_is_refused_by_name(record: dict[str, Any], field: str) -> None:
    refused = refusal(json.dumps({key: value for key, value in record.items() if key != field}).encode())
    assert refused.reason == "missing_field"
    assert f"`{field}`" in refused.detail


@pytest.mark.parametrize("field", ["app", "id"])
def test_an_empty_name_counts_as_missing(field: str) -> None:
    assert reason(call(**{field: ""})) == "missing_field"


@pytest.mark.parametrize(
    "fields",
    [
        {"app": 4},
        {"app": None},
        {"id": 17},
        {"input_tokens": "412"},
        {"input_tokens": 1.5},
        {"latency_ms": "fast"},
        {"latency_ms": True},
        {"cached": 1},
        {"tools": "search"},
        {"labels": {"plan": 1}},
        {"labels": ["plan"]},
        {"scores": {"helpful": None}},
        {"params": []},
        {"input_vector": ["0"]},
    ],
    ids=str,
)
def test_a_wrong_type_is_refused_with_its_path(fields: dict[str, Any]) -> None:
    refused = refusal(call(**fields))
    assert refused.reason == "wrong_type"
    assert f"$.{next(iter(fields))}" in refused.detail


@pytest.mark.parametrize("data", [b"[]", b'"model_call/1"', b"1", b"null"])
def test_a_record_is_an_object(data: bytes) -> None:
    assert reason(data) == "wrong_type"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
@pytest.mark.parametrize("field", ['"latency_ms":?', '"scores":{"q":?}', '"params":{"q":[?]}', '"input_vector":[?]'])
@pytest.mark.parametrize("beside", ["", '"user":"\\ud800",'], ids=["alone", "beside a lone surrogate"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(number: str, field: str, beside: str) -> None:
    assert reason(raw(beside + field.replace("?", number))) == "not_finite"


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"])
def test_a_negative_count_is_refused(field: str) -> None:
    assert reason(call(**{field: -1})) == "negative"
    assert getattr(decode(call(**{field: 0})), field) == 0


@pytest.mark.parametrize("field", ["cost_usd", "latency_ms", "ttft_ms"])
def test_a_negative_amount_is_refused(field: str) -> None:
    assert reason(call(**{field: -0.001})) == "negative"


@pytest.mark.parametrize(
    "fields",
    [{"input_tokens": 10**16}, {"input_tokens": 10**30}, {"cost_usd": 1e16}, {"sample_rate": 1.5}, {"sample_rate": 0}],
    ids=str,
)
def test_a_number_outside_its_range_is_refused(fields: dict[str, Any]) -> None:
    assert reason(call(**fields)) == "out_of_range"


def test_a_call_more_than_a_day_ahead_of_its_arrival_is_refused() -> None:
    arrival = CALL["time"] - MAX_AHEAD_MS
    assert decode(call(), arrival_ms=arrival) == decode(call())
    assert reason(call(), lambda data: decode(data, arrival_ms=arrival - 1)) == "time_ahead"
    assert decode(call(time=0), arrival_ms=arrival) == decode(call(time=0)), "late is not ahead"


@pytest.mark.parametrize("time", [-1, MAX_TIME_MS + 1, 10**30, "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59.999Z"])
def test_a_time_outside_1970_to_9999_is_refused(time: object) -> None:
    assert reason(call(time=time)) == "time_out_of_range"
    mute = {"schema": "mute/1", "time": 0, "app": "shop", "until": time}
    assert reason(json.dumps(mute).encode()) == "time_out_of_range"


@pytest.mark.parametrize("time", [0, MAX_TIME_MS, "1970-01-01T00:00:00Z", "2026-11-24T09:30:00.123456+05:30"])
def test_a_time_is_epoch_milliseconds_or_rfc_3339(time: object) -> None:
    assert msgspec.json.decode(encode(decode(call(time=time))))["time"] == time


@pytest.mark.parametrize("time", [True, False, 1.5e12, "2026-11-24T09:30:00", "2026-11-24", "1795512600000", None, [0]])
def test_booleans_fractions_and_times_without_a_zone_are_no_times(time: object) -> None:
    assert reason(call(time=time)) == "wrong_type"


def test_a_record_above_the_size_limit_is_refused_unread() -> None:
    data = call(input_text="")
    fits = call(input_text="x" * (MAX_RECORD_BYTES - len(data)))
    assert len(fits) == MAX_RECORD_BYTES
    assert encode(decode(fits))
    for reader in (decode, decode_observation):
        assert reason(b"x" * (MAX_RECORD_BYTES + 1), reader) == "too_large"


@pytest.mark.parametrize("field", ["params", "added_later"])
def test_a_record_nested_too_deeply_is_refused(field: str) -> None:
    def nested(levels: int) -> bytes:
        return raw(f'"{field}":' + '{"a":' * levels + "[]" + "}" * levels)

    assert decode(nested(MAX_DEPTH - 2))
    assert reason(nested(MAX_DEPTH - 1)) == "too_deep"
    assert reason(nested(100_000)) == "too_deep"


@pytest.mark.parametrize("text", ["[" * 100, '\\"[{' * 100, "\\\\", '\\\\\\"[{' * 100, "]" * 100 + "[" * 100])
def test_brackets_inside_texts_are_no_depth(text: str) -> None:
    assert depth(raw(f'"input_text":"{text}"')) == 1
    assert decode(raw(f'"input_text":"{text}"'))


@pytest.mark.parametrize("tail", ["[" * 100, "[" * 100 + "\\"])
def test_brackets_of_a_text_that_was_cut_off_are_no_depth(tail: str) -> None:
    assert reason(raw('"input_text":"')[:-1] + tail.encode()) == "not_json"


@pytest.mark.parametrize("field", ["app", "env", "route", "tenant", "prompt_name"])
def test_a_scope_key_that_is_too_long_is_refused(field: str) -> None:
    longest = MAX_KEY_BYTES - len("/shop/default/default") - 9
    assert decode(call(**{field: "x" * longest}))
    assert reason(call(**{field: "x" * MAX_KEY_BYTES})) == "key_too_long"
    assert reason(call(**{field: "é" * (MAX_KEY_BYTES // 6)})) == "key_too_long", "percent-encoded bytes count"
    if field != "prompt_name":
        assert reason(json.dumps(SCORE | {field: "x" * MAX_KEY_BYTES}).encode()) == "key_too_long"


@pytest.mark.parametrize("size", [0, 4 * FEWEST_NUMBERS - 4, 4 * FEWEST_NUMBERS + 1, 4 * len(NUMBERS) - 1])
def test_an_observation_with_a_wrong_number_of_numbers_is_refused(size: int) -> None:
    assert reason(observation(numbers=bytes(size)), decode_observation) == "wrong_type"


@pytest.mark.parametrize("count", range(FEWEST_NUMBERS, len(NUMBERS) + 2))
def test_numbers_that_an_older_observation_does_not_have_are_not_measured(count: int) -> None:
    written = struct.pack(f"<{count}f", *range(count))
    read = struct.unpack(f"<{len(NUMBERS)}f", decode_observation(observation(numbers=written)).all_numbers())
    assert read[:count] == tuple(range(min(count, len(NUMBERS))))
    assert all(math.isnan(number) for number in read[count:])


TEXT: dict[str, Any] = {"features": bytes(4 * len(FEATURES)), "tokens": 3, "style": bytes(len(STYLE))}
VECTOR = {"vector": b"\x01\xff", "scale": 0.5, "embedder": "static-0"}


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    ("changes", "expected", "field"),
    [
        ({"features": bytes(4 * len(FEATURES) - 4)}, "wrong_type", "features"),
        ({"features": bytes(4 * len(FEATURES) + 2)}, "wrong_type", "features"),
        ({"features": "x"}, "wrong_type", "features"),
        ({"tokens": -1}, "negative", "tokens"),
        ({"style": bytes(len(STYLE) - 1)}, "wrong_type", "style"),
        ({"vector": b""}, "out_of_range", "vector"),
        ({"vector": bytes(MAX_DIMENSIONS + 1)}, "out_of_range", "vector"),
        ({"scale": 0.0}, "out_of_range", "scale"),
        ({"scale": math.nan}, "out_of_range", "scale"),
        ({"scale": math.inf}, "out_of_range", "scale"),
        ({"embedder": None}, "missing_field", "embedder"),
    ],
)
def test_measures_of_a_text_that_cannot_be_are_refused(
    side: str, changes: dict[str, Any], expected: Reason, field: str
) -> None:
    assert decode_observation(observation(**{side: TEXT | VECTOR}))
    refused = refusal(observation(**{side: TEXT | VECTOR | changes}), decode_observation)
    assert refused.reason == expected
    assert f"{side}.{field}" in refused.detail


@pytest.mark.parametrize("measures", [{}, TEXT, VECTOR, {"features": TEXT["features"]}])
def test_a_text_may_be_measured_in_part(measures: dict[str, Any]) -> None:
    assert decode_observation(observation(input=measures)).output is None


def test_measures_of_a_later_version_may_be_longer() -> None:
    longer = {"features": bytes(4 * len(FEATURES) + 4), "style": bytes(len(STYLE) + 9)}
    assert decode_observation(observation(output=TEXT | longer))


def test_an_observation_of_a_later_version_may_hold_more_numbers() -> None:
    assert len(decode_observation(observation(numbers=bytes(4 * len(NUMBERS) + 8))).numbers) == 4 * len(NUMBERS) + 8


@pytest.mark.parametrize("scope", ["", "shop", "a/b/c", "/a/b/c/d"])
def test_an_observation_with_a_bad_scope_is_refused(scope: str) -> None:
    assert reason(observation(scope=scope), decode_observation) == "no_scope"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"scope": "/" * 3 + "x" * MAX_KEY_BYTES}, "key_too_long"),
        ({"time": -1}, "time_out_of_range"),
        ({"time": 2**63}, "time_out_of_range"),
        ({"received": 2**63}, "time_out_of_range"),
        ({"labels": {str(k): "x" for k in range(MAX_LABELS + 2)}}, "out_of_range"),
        ({"flags": 2**32}, "out_of_range"),
        ({"measured": -1}, "negative"),
        ({"id_hash": -1}, "negative"),
        ({"source": ["f", 1]}, "wrong_type"),
        ({"schema": "observation/2"}, "unknown_schema"),
    ],
    ids=str,
)
def test_an_observation_that_would_not_fit_the_engine_is_refused(fields: dict[str, Any], expected: str) -> None:
    assert reason(observation(**fields), decode_observation) == expected


@pytest.mark.parametrize("data", [b"", b"\xc1", observation()[:-1], observation() + b"x", b"\xff\xff", b"\x91" * 99])
def test_what_is_not_an_observation_in_messagepack_is_refused(data: bytes) -> None:
    assert reason(data, decode_observation) in ("not_msgpack", "wrong_type")


def test_an_observation_of_endless_depth_is_refused() -> None:
    deep = observation().replace(b"\x86", b"\x87", 1) + b"\xa5later" + b"\x91" * 200_000
    assert reason(deep, decode_observation) == "not_msgpack"


#: a dead letter
TOLD = b'{"schema":"reject/1","position":"of-a","reason":"damaged","detail":"","sha256":"","size":3}'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", "not_json"),
        (b'{"schema":"alert/1","id":NaN}', "not_json"),
        (b'{"schema":"alert/1","id":"\xff"}', "not_utf8"),
        (b'{"schema":"alert/1","later":' + b"[" * 200_000, "too_deep"),
        (b'{"schema":"alert/1","id":"\\ud800"}', "missing_field"),
        (b"\xef\xbb\xbf" + TOLD, "not_json"),
        (TOLD.replace(b"of-a", b"\\ud800"), "not_json"),
        (TOLD.replace(b'"of-a"', b"5"), "wrong_type"),
        (b'{"schema":"alert/2"}', "unknown_schema"),
        (b'{"schema":"page/1","page_key":"p","status":"trigger","time":0,"alert":{"schema":"x"}}', "unknown_schema"),
        (b'{"schema":"alert/1"}', "missing_field"),
        (b'{"schema":"summary/1","scope":5}', "wrong_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_result_that_cannot_be_read_is_refused(data: bytes, expected: str) -> None:
    assert reason(data, decode_result) == expected


@pytest.mark.parametrize(
    ("data", "reader"),
    [
        (call(schema=SECRET), decode),
        (call(input_tokens=SECRET), decode),
        (call(labels={SECRET: 5}), decode),
        (call(params=SECRET), decode),
        (call(time=SECRET), decode),
        (call(time=SECRET, input_text="\ud800"), decode),
        (call(app=SECRET * MAX_KEY_BYTES), decode),
        (call(input_text=SECRET)[:-4], decode),
        (call(input_text=SECRET + "\ud800")[:-4], decode),
        (raw(f'"input_text":"{SECRET}?"').replace(b"?", b"\xff"), decode),
        (raw(f'"input_text":"{SECRET}","latency_ms":NaN'), decode),
        (json.dumps(SCORE | {"source": SECRET}).encode(), decode),
        (json.dumps(SCORE | {"source": f"{SECRET} - at `$.schema`"}).encode(), decode),
        (json.dumps(SCORE | {"source": SECRET, "name": "\ud800"}).encode(), decode),
        (observation(scope=SECRET), decode_observation),
        (observation(schema=SECRET), decode_observation),
        (observation(categories={SECRET: 5}), decode_observation),
        (b'{"schema":"alert/1","id":"a","dedup_key":"d","status":"' + SECRET.encode() + b'"}', decode_result),
        (b'{"schema":"alert/1","id":"' + SECRET.encode() + b'\xff"}', decode_result),
    ],
)
def test_a_refusal_never_holds_a_value_of_the_record(data: bytes, reader: Callable[[bytes], Any]) -> None:
    refused = refusal(data, reader)
    assert SECRET not in "".join(traceback.format_exception(refused))
    letter = encode(reject(data, refused, "calls.jsonl:1"))
    assert SECRET.encode() not in letter
    assert decode_result(letter).reason == refused.reason


def test_a_dead_letter_recognises_the_record_and_holds_its_bytes_only_on_request() -> None:
    data = b"abc"
    letter = reject(data, refusal(data), "calls.jsonl:1")
    assert (letter.size, letter.payload) == (len(data), None)
    assert letter.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    full = reject(data, refusal(data), "calls.jsonl:1", payload=True)
    assert decode_result(encode(full)) == full
    assert full.payload == data


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("\\ud800", "\ufffd"),
        ("a\\udc00b", "a\ufffdb"),
        ("\\ud800\\ud800x", "\ufffd\ufffdx"),
        ("\\udc00\\ud800", "\ufffd\ufffd"),
        ("\\ud83d\\udce6 \\ud83d", "\U0001f4e6 \ufffd"),
    ],
)
def test_lone_surrogates_become_replacement_characters(escaped: str, text: str) -> None:
    record = decode(raw(f'"user":"{escaped}","labels":{{"{escaped}":"{escaped}"}},"tools":["{escaped}"]'))
    assert record == decode(call(user=text, labels={text: text}, tools=[text]))
    assert decode(encode(record)) == record


def test_a_mute_may_reach_into_the_future() -> None:
    mute = decode(b'{"schema":"mute/1","time":0,"app":"shop","until":"2027-01-01T00:00:00Z"}', arrival_ms=0)
    assert isinstance(mute, Mute)


def test_observations_are_written_as_they_were_read() -> None:
    seen = decode_observation(observation())
    assert isinstance(seen, Observation)
    assert decode_observation(encode_observation(seen)) == seen
