"""Records written by earlier versions. A golden is never edited: a field that is added gets a golden of its own.

`goldens/<record>-<major>.<name>.json` (observations: `.msgpack`) holds the bytes, `goldens/decoded/` what they meant
when they were written.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from leeboard.schemas import Observation, decode, decode_observation, decode_result, encode, encode_observation
from leeboard.schemas.generate import RECORDS, json_schemas
from msgspec import Struct

FOLDER = Path(__file__).parent / "goldens"
SCHEMAS = json_schemas()
GOLDENS = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
#: fields whose keys are the user's own
FREE = ("params", "labels", "scores", "categories", "links", "shares", "counts", "first_seen")
RESULTS = ("alert", "page", "summary", "reject")


def read(name: str, data: bytes) -> Struct:
    if name.endswith(".msgpack"):
        return decode_observation(data)
    return decode_result(data) if name.startswith(RESULTS) else decode(data)


def compact(name: str, data: bytes) -> bytes:
    """The bytes without the line breaks that make a JSON golden readable."""
    return data if name.endswith(".msgpack") else msgspec.json.encode(json.loads(data))


def write(record: Struct) -> bytes:
    return encode_observation(record) if isinstance(record, Observation) else encode(record)


def plain(value: Any) -> Any:
    """A record with all of its fields, in values that JSON can hold."""
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def without_added(value: Any, then: Any) -> Any:
    """`value` without the fields that `then` did not have yet."""
    if isinstance(value, dict) and isinstance(then, dict):
        return {key: without_added(item, then[key]) for key, item in value.items() if key in then}
    if isinstance(value, list) and isinstance(then, list) and len(value) == len(then):
        return [without_added(item, old) for item, old in zip(value, then, strict=True)]
    return value


@pytest.mark.parametrize("name", GOLDENS)
def test_an_old_record_still_means_what_it_meant(name: str) -> None:
    record = read(name, (FOLDER / name).read_bytes())
    then = json.loads((FOLDER / "decoded" / name).with_suffix(".json").read_text(encoding="utf-8"))
    assert type(record).__name__ == then["type"]
    assert without_added(plain(record), then["fields"]) == then["fields"]


@pytest.mark.parametrize("name", GOLDENS)
def test_a_record_is_written_as_the_same_bytes_for_ever(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    assert write(read(name, data)) == compact(name, data)


@pytest.mark.parametrize("name", GOLDENS)
def test_unknown_fields_are_ignored_at_every_depth(name: str) -> None:
    def extended(value: Any) -> Any:
        if isinstance(value, list):
            return [extended(item) for item in value]
        if not isinstance(value, dict):
            return value
        inner = {key: item if key in FREE and isinstance(item, dict) else extended(item) for key, item in value.items()}
        return inner | {"added_later": {"deep": [1, None, "x"]}}

    data = (FOLDER / name).read_bytes()
    if name.endswith(".msgpack"):
        extra = msgspec.msgpack.encode(extended(msgspec.msgpack.decode(data)))
    else:
        extra = msgspec.json.encode(extended(json.loads(data)))
    assert b"added_later" in extra
    assert read(name, extra) == read(name, data)


@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_validates_against_its_schema(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    validator = jsonschema.Draft202012Validator(SCHEMAS[name.split(".")[0]])
    value = msgspec.to_builtins(msgspec.msgpack.decode(data)) if name.endswith(".msgpack") else json.loads(data)
    validator.validate(value)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(value | {field: [1] for field in ("time", "size") if field in value})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_has_a_minimal_golden_and_every_field_appears_in_one(record: type[Struct]) -> None:
    kind = str(record.__struct_config__.tag).replace("/", "-")
    own = {name: FOLDER / name for name in GOLDENS if name.startswith(f"{kind}.")}
    assert any(name.startswith(f"{kind}.minimal") for name in own)
    shown: set[str] = set()
    for name, path in own.items():
        data = path.read_bytes()
        shown |= set(msgspec.msgpack.decode(data) if name.endswith(".msgpack") else json.loads(data))
    assert shown >= set(record.__struct_fields__), "a field without a golden: add one beside the old"
