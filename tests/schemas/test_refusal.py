"""The reason of a refusal comes from the data: no release of msgspec changes it, and no value gets into it."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.schemas.generate import RECORDS
from leeboard.schemas.refusal import explain, fits
from msgspec import Meta, Struct

SECRET = "hunter2-SECRET"


class Inner(Struct, tag_field="schema", tag="inner/1", kw_only=True):
    size: Annotated[int, Meta(ge=0, lt=10)] = 0
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Outer(Struct, tag_field="schema", tag="outer/1", kw_only=True):
    name: Annotated[str, Meta(min_length=1)]
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[str, int] | None = None
    table: dict[str, list[float]] = {}
    word: Literal["a", "b"] = "a"


FINE: dict[str, Any] = {"schema": "outer/1", "name": "n", "inner": {}, "many": [{"size": 9}], "table": {"x": [1, 2.5]}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schema": "inner/1"}, "unknown_schema: `schema` names no record that is known here"),
        ({"schema": ["outer/1"]}, "unknown_schema: `schema` names no record that is known here"),
        ({"name": ""}, "missing_field: Expected `str` of length >= 1 - at `$.name`"),
        ({"name": None}, "wrong_type: Expected `str`, got `null` - at `$.name`"),
        ({"inner": []}, "wrong_type: Expected `object | null`, got `array` - at `$.inner`"),
        (
            {"inner": {"schema": "outer/1"}},
            "unknown_schema: `schema` names no record that is known here - at `$.inner`",
        ),
        ({"inner": {"size": -1}}, "negative: Expected `int` >= 0 - at `$.inner.size`"),
        ({"inner": {"size": 10}}, "out_of_range: Expected `int` < 10 - at `$.inner.size`"),
        ({"inner": {"size": 10**400}}, "out_of_range: Expected `int` < 10 - at `$.inner.size`"),
        ({"inner": {"size": 1.5}}, "wrong_type: Expected `int`, got `float` - at `$.inner.size`"),
        ({"inner": {"size": True}}, "wrong_type: Expected `int`, got `bool` - at `$.inner.size`"),
        ({"inner": {"share": 0}}, "out_of_range: Expected `float` > 0 - at `$.inner.share`"),
        ({"inner": {"share": 2}}, "out_of_range: Expected `float` <= 1 - at `$.inner.share`"),
        ({"inner": {"share": 10**400}}, "not_finite: Number out of range - at `$.inner.share`"),
        ({"many": [{}, {"size": -1}]}, "negative: Expected `int` >= 0 - at `$.many[1].size`"),
        ({"many": [{}, 5]}, "wrong_type: Expected `object`, got `int` - at `$.many[1]`"),
        ({"pair": ["a"]}, "wrong_type: Expected `array` of length 2 - at `$.pair`"),
        ({"pair": ["a", "b"]}, "wrong_type: Expected `int`, got `str` - at `$.pair[1]`"),
        ({"table": {SECRET: [1, SECRET]}}, "wrong_type: Expected `float`, got `str` - at `$.table[...][1]`"),
        ({"table": {SECRET: 5}}, "wrong_type: Expected `array`, got `int` - at `$.table[...]`"),
        ({"word": SECRET}, "wrong_type: Not one of the values allowed - at `$.word`"),
        ({"table": {SECRET: 5}, "word": SECRET}, "wrong_type: Expected `array`, got `int` - at `$.table[...]`"),
    ],
    ids=str,
)
def test_the_first_fault_is_named_with_its_path(changes: dict[str, Any], expected: str) -> None:
    assert fits(FINE, Outer)
    assert not fits(FINE | changes, Outer)
    assert str(explain(FINE | changes, Outer)) == expected


def test_a_field_that_is_missing_is_named_where_it_is_missing() -> None:
    assert str(explain({"schema": "outer/1"}, Outer)) == "missing_field: Object missing required field `name`"
    assert str(explain({}, Outer | Inner)) == "unknown_schema: `schema` names no record that is known here"
    assert str(explain([], Outer | Inner)) == "wrong_type: Expected `object`, got `array`"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(SECRET) | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([SECRET, "x"]), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@given(data=st.data())
def test_every_field_of_every_record_can_be_explained(record: type[Struct], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(msgspec.structs.fields(record)))
    value = data.draw(values)
    if not fits(value, field.type):
        refused = explain({"schema": record.__struct_config__.tag, field.encode_name: value}, record)
        assert f"`$.{field.encode_name}" in refused.detail
        assert SECRET not in refused.detail
