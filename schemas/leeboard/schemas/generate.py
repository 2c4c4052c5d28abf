"""JSON Schema of every record, made from the structs. `python -m leeboard.schemas.generate` rewrites `json/`."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from .alert import Alert, Page
from .call import ModelCall
from .control import Accept, Confirm, Deploy, Mute, Score
from .observation import Observation
from .summary import Summary
from .wire import Reject

#: every record that crosses a process boundary
RECORDS: tuple[type[Struct], ...] = (
    ModelCall,
    Observation,
    Score,
    Deploy,
    Accept,
    Confirm,
    Mute,
    Alert,
    Page,
    Summary,
    Reject,
)
#: where the generated files are kept, in the checkout and in the wheel
FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

JsonSchema: TypeAlias = dict[str, Any]


def json_schemas() -> dict[str, JsonSchema]:
    """File name without suffix (`model_call-1`) -> JSON Schema; names, keys and fields in a fixed order."""
    return {str(record.__struct_config__.tag).replace("/", "-"): _schema(record) for record in RECORDS}


def as_text(schema: JsonSchema) -> str:
    """Format one schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Make `folder` hold exactly the generated schemas."""
    folder.mkdir(exist_ok=True)
    schemas = json_schemas()
    for path in folder.glob("*.json"):
        if path.stem not in schemas:
            path.unlink()
    for name, schema in schemas.items():
        (folder / f"{name}.json").write_text(as_text(schema), encoding="utf-8")


def _schema(record: type[Struct]) -> JsonSchema:
    """Put the record's own definition at the top and the structs that it holds under `$defs`, in order of name."""
    tag = str(record.__struct_config__.tag)
    _, definitions = msgspec.json.schema_components((record,), ref_template="#/$defs/{name}")
    definitions = _null_last(definitions)
    own = {**definitions.pop(record.__name__), "title": tag}
    schema: JsonSchema = {"$schema": DIALECT, "$id": f"urn:leeboard:schema:{tag}", "title": tag, **own}
    if definitions:
        schema["$defs"] = {name: definitions[name] for name in sorted(definitions)}
    return schema


def _null_last(part: Any) -> Any:
    """The alternatives of a field with `null` at the end: releases of msgspec differ in where they put it."""
    if isinstance(part, dict):
        found = {key: _null_last(value) for key, value in part.items()}
        if "anyOf" in found:
            found["anyOf"] = sorted(found["anyOf"], key=lambda each: bool(each == {"type": "null"}))
        return found
    return [_null_last(each) for each in part] if isinstance(part, list) else part


if __name__ == "__main__":
    write()
