"""Why a record is refused, found in the data and the declared types.

The messages and error classes of msgspec are not read: they differ between its releases, and its messages may quote a
value of the record. msgspec only says *that* something does not fit; what and where is found here.
"""

import operator
import sys
import types
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

Reason = Literal[
    "not_json",
    "not_utf8",
    "not_msgpack",
    "damaged",
    "unknown_schema",
    "missing_field",
    "wrong_type",
    "not_finite",
    "negative",
    "out_of_range",
    "time_ahead",
    "time_out_of_range",
    "too_large",
    "too_deep",
    "key_too_long",
    "not_allowed",
    "no_scope",
    "engine_error",
    "not_delivered",
]


class Refused(ValueError):
    """A record that cannot be taken."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


def explain(value: Any, kind: Any, path: str = "$") -> Refused:
    """Why a decoded `value` is no `kind`, which msgspec has found it not to be.

    `kind`: a type as a record declares it. The detail names the path and what was expected there, never a value.
    """
    members = list(_members(kind))
    plain = [member for member, _ in members]
    structs = [member for member in plain if isinstance(member, type) and issubclass(member, Struct)]
    if structs and isinstance(value, dict):
        return _struct(value, structs, path)
    for member, meta in members:
        refused = _constraint(value, member, meta, path) or _item(value, member, path)
        if refused is not None:
            return refused
    if any(get_origin(member) is Literal for member in plain):
        return Refused("wrong_type", f"Not one of the values allowed{_at(path)}")
    expected = " | ".join(dict.fromkeys(_NAMES.get(get_origin(member) or member, "object") for member in plain))
    got = _NAMES.get(type(value), "object")
    return Refused("wrong_type", f"Expected `{expected}`, got `{got}`{_at(path)}")


def _members(kind: Any, meta: Meta | None = None) -> Iterator[tuple[Any, Meta | None]]:
    """The types of a union, each with its constraints."""
    if get_origin(kind) is Annotated:
        base, *extra = get_args(kind)
        yield from _members(base, next((each for each in extra if isinstance(each, Meta)), meta))
    elif get_origin(kind) in (Union, types.UnionType):
        for member in get_args(kind):
            yield from _members(member, meta)
    else:
        yield kind, meta


def _struct(value: dict[Any, Any], structs: list[type[Struct]], path: str) -> Refused:
    """Why an object is none of some records: its tag, its first field that does not fit, or one that is missing."""
    known = {each.__struct_config__.tag: each for each in structs}
    tag_field = structs[0].__struct_config__.tag_field
    tag = value.get(tag_field, structs[0].__struct_config__.tag if len(structs) == 1 else None)
    if not isinstance(tag, str | None) or tag not in known:
        return Refused("unknown_schema", f"`{tag_field}` names no record that is known here{_at(path)}")
    fields = {field.encode_name: field for field in msgspec.structs.fields(known[tag])}
    for name, item in value.items():
        field = fields.get(name)
        if field is not None and not fits(item, field.type):
            return explain(item, field.type, f"{path}.{name}")
    for name, field in fields.items():
        if field.required and name not in value:
            return Refused("missing_field", f"Object missing required field `{name}`{_at(path)}")
    return Refused("wrong_type", f"The fields do not fit together{_at(path)}")


def _constraint(value: Any, member: Any, meta: Meta | None, path: str) -> Refused | None:
    """Why a value of the right type is not allowed; None where that is not what is wrong."""
    if member is str and isinstance(value, str) and meta is not None and len(value) < (meta.min_length or 0):
        return Refused("missing_field", f"Expected `str` of length >= {meta.min_length}{_at(path)}")
    if type(value) not in _NUMBERS or member not in _NUMBERS:
        return None
    if member is float and not abs(value) <= sys.float_info.max:
        return Refused("not_finite", f"Number out of range{_at(path)}")
    if meta is None or (member is int and type(value) is float):
        return None
    for sign, limit, holds in (
        (">=", meta.ge, operator.ge),
        (">", meta.gt, operator.gt),
        ("<=", meta.le, operator.le),
        ("<", meta.lt, operator.lt),
    ):
        if limit is not None and not holds(value, limit):
            reason: Reason = "negative" if sign == ">=" and limit == 0 else "out_of_range"
            return Refused(reason, f"Expected `{_NAMES[member]}` {sign} {limit}{_at(path)}")
    return None


def _item(value: Any, member: Any, path: str) -> Refused | None:
    """Why an array or object does not fit, by its first item that does not; None where no item is wrong."""
    origin, arguments = get_origin(member), get_args(member)
    if origin is dict and isinstance(value, dict):
        pairs = [(each, arguments[k], f"{path}[...]") for item in value.items() for k, each in enumerate(item)]
    elif origin is list and isinstance(value, list):
        pairs = [(each, arguments[0], f"{path}[{k}]") for k, each in enumerate(value)]
    elif origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        if len(arguments) != len(value):
            return Refused("wrong_type", f"Expected `array` of length {len(arguments)}{_at(path)}")
        pairs = [(each, arguments[k], f"{path}[{k}]") for k, each in enumerate(value)]
    else:
        return None
    return next((explain(each, kind, where) for each, kind, where in pairs if not fits(each, kind)), None)


def fits(value: Any, kind: Any) -> bool:
    """Is a decoded value of this declared type?"""
    try:
        msgspec.convert(value, kind)
    except (ValueError, TypeError, msgspec.MsgspecError):
        return False
    return True


def _at(path: str) -> str:
    return "" if path == "$" else f" - at `{path}`"


_NUMBERS = (int, float)
_NAMES: dict[Any, str] = {
    bool: "bool",
    bytes: "bytes",
    datetime: "datetime",
    float: "float",
    int: "int",
    list: "array",
    str: "str",
    tuple: "array",
    types.NoneType: "null",
}
