"""The committed JSON Schema says what the structs say."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
from leeboard.schemas import Record, Result
from leeboard.schemas.generate import FOLDER, as_text, json_schemas, write
from leeboard.schemas.observation import Observation

SCHEMAS = json_schemas()


def test_the_committed_files_are_the_generated_ones() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        committed = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        assert committed == as_text(schema), f"{name}: run `python -m leeboard.schemas.generate`"


def test_every_record_that_can_be_decoded_has_a_schema() -> None:
    tags = {struct.__struct_config__.tag for struct in (*get_args(Record), *get_args(Result), Observation)}
    assert {schema["title"] for schema in SCHEMAS.values()} == tags


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_valid_and_carries_its_identity_and_description(name: str) -> None:
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    record = schema["title"]
    assert name == record.replace("/", "-")
    assert schema["$id"] == f"urn:leeboard:schema:{record}"
    assert schema["properties"]["schema"] == {"enum": [record]}
    assert "schema" in schema["required"]
    for definition in (schema, *schema.get("$defs", {}).values()):
        assert definition["description"].endswith(".")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_allows_fields_of_a_later_version(name: str) -> None:
    def objects(value: Any) -> list[dict[str, Any]]:
        if isinstance(value, list):
            return [found for item in value for found in objects(item)]
        if not isinstance(value, dict):
            return []
        return [value] * ("properties" in value) + [found for item in value.values() for found in objects(item)]

    assert objects(SCHEMAS[name])
    for definition in objects(SCHEMAS[name]):
        assert "additionalProperties" not in definition


def test_rewriting_a_folder_replaces_what_is_stale_and_removes_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "model_call-1.json").write_text("{}")
    (tmp_path / "gone-1.json").write_text("{}")
    (tmp_path / "README.md").write_text("kept")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", *(f"{name}.json" for name in SCHEMAS)}
    text = (tmp_path / "model_call-1.json").read_text()
    assert text.endswith("}\n")
    assert msgspec.json.decode(text) == SCHEMAS["model_call-1"]


def test_key_order_does_not_depend_on_the_hash_seed() -> None:
    code = "from leeboard.schemas.generate import *; print(*map(as_text, json_schemas().values()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.parametrize("module", ["generate", "wire"])
def test_the_json_folder_does_not_hide_the_standard_library(module: str) -> None:
    """Even where a module runs as a script, so that its own folder leads the path."""
    code = f"import sys; sys.path.insert(0, {str(FOLDER.parent)!r}); import json; import leeboard.schemas.{module} as m"
    code += "; assert m.json is json; print(json.loads('[1]'), json.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[1]")
    assert str(FOLDER) not in done.stdout
