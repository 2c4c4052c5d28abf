"""Hypothesis strategies for the records, made from their types."""

import types
import typing
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st

TEXTS = st.text(max_size=40) | st.sampled_from(
    ["", "<!channel>", "<@U0123>", "a & b", "*bold* `code`", "\x00\x1b[31m\r\n", "‮evil‬", "[bold]x[/]", "/", "é" * 30]
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**63 - 1)


def of_type(wanted: Any) -> st.SearchStrategy[Any]:
    """Values of a type as msgspec would decode it."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS,
        int: INTS,
        float: FLOATS,
        bool: st.booleans(),
        bytes: st.binary(),
    }
    if wanted in plain:
        return plain[wanted]
    if wanted is type(None):
        return st.none()
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(of_type, arguments))
    if origin is list:
        return st.lists(of_type(arguments[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(of_type, arguments))
    if origin is dict:
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=3)
    return struct(wanted)


def struct(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any instance of a record."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: of_type(hints[field.name]) for field in msgspec.structs.fields(cls)})
