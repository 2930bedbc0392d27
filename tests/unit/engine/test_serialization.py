"""JSON in and out: exact, or refused with the place that is at fault."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.serialization import SerializationError, dumps, loads

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@dataclasses.dataclass
class Point:
    x: float
    y: Any = 0


class Colour(enum.Enum):
    RED = "red"


class Order(pydantic.BaseModel):
    number: int
    total: decimal.Decimal = decimal.Decimal("9.90")
    weight: float = 1.5
    note: str = ""


def same(a: object, b: object) -> bool:
    """Equality that tells 1, 1.0 and True apart, and -0.0 from 0.0."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


@given(JSON)
def test_json_data_comes_back_as_it_went(value: object) -> None:
    assert same(loads(dumps(value)), value)


@given(JSON)
def test_other_parsers_read_the_same(value: object) -> None:
    assert same(json.loads(dumps(value)), value)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64), 6**64, 10**400])
def test_integers_of_any_size_stay_exact(number: int) -> None:
    assert loads(dumps({"n": number})) == {"n": number}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.date(2026, 3, 1), '"2026-03-01"'),
        (dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC), '"2026-03-01T12:30:00Z"'),
        (uuid.UUID("0192f7a0-0000-7000-8000-000000000001"), '"0192f7a0-0000-7000-8000-000000000001"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (Colour.RED, '"red"'),
        (Point(1.5, [2]), '{"x":1.5,"y":[2]}'),
        (Order(number=7), '{"number":7,"total":"9.90","weight":1.5,"note":""}'),
        ((1, 2), "[1,2]"),
        ({"nested": [Order(number=1, total=decimal.Decimal(2))]}, None),
    ],
)
def test_common_python_values_have_their_usual_json_form(value: object, text: str | None) -> None:
    expected = text or '{"nested":[{"number":1,"total":"2","weight":1.5,"note":""}]}'
    assert dumps(value) == expected


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda bad: bad, "$"),
        (lambda bad: {"a": [0, {"b": bad}]}, "$.a[1].b"),
        (lambda bad: {"none": None, "t": (1, bad)}, "$.t[1]"),
        (lambda bad: {"order": Order(number=1, weight=bad)}, "$.order.weight"),
        (lambda bad: {"at": [Point(bad)]}, "$.at[0].x"),
    ],
    ids=["bare", "in containers", "beside null", "in a pydantic model", "in a dataclass"],
)
def test_a_number_that_is_not_finite_is_refused_with_its_place(number: float, wrap: Any, path: str) -> None:
    with pytest.raises(SerializationError) as refused:
        dumps(wrap(number))
    assert str(refused.value) == f"not JSON-serialisable: the value at {path} is not a finite number"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"a": ["x\0y"]}, "the value at $.a[0] contains a NUL character"),
        ({"a": {"k\0": 1}}, "a key of $.a contains a NUL character"),
        ({"o": Order(number=1, note="\0")}, "the value at $.o.note contains a NUL character"),
        ({"p": Point(0.0, "\0")}, "the value at $.p.y contains a NUL character"),
    ],
    ids=["in containers", "in a key", "in a pydantic model", "in a dataclass"],
)
def test_a_nul_character_is_refused_with_its_place(value: object, complaint: str) -> None:
    with pytest.raises(SerializationError) as refused:
        dumps(value)
    assert str(refused.value) == f"not JSON-serialisable: {complaint}"


def test_the_text_backslash_u0000_is_no_nul_character() -> None:
    assert loads(dumps({"a": "\\u0000", "null": None})) == {"a": "\\u0000", "null": None}


@pytest.mark.parametrize("value", ["\ud800", {"a": "x\udfff"}, {"\ud800": 1}])
def test_a_lone_surrogate_is_refused(value: object) -> None:
    with pytest.raises(SerializationError, match="surrogate"):
        dumps(value)


@pytest.mark.parametrize("value", [object(), {"f": print}, [1j], {"g": (n for n in ())}])
def test_an_object_without_a_json_form_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(SerializationError, match=r"object|builtin_function|complex|generator"):
        dumps(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(SerializationError, match="recursion"):
        dumps(endless)


@pytest.mark.parametrize("text", ["", "{", "nan", "{'a': 1}", b"\xff", '{"a":1} x'])
def test_text_that_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(SerializationError, match="not valid JSON"):
        loads(text)
