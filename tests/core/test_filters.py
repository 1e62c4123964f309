from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jinavec.errors import InvalidFilter
from jinavec.filters import And, In, Not, Or, Range, match, parse_expressions, parse_filter

# A second reading of the filter form, straight from the dict, to compare with.


KINDS: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string"}


def kind(value: object) -> str | None:
    return KINDS.get(type(value))


def values_of(metadata: dict[str, Any], field: str) -> list[Any]:
    if field not in metadata:
        return []
    value: Any = metadata[field]
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def equals(metadata: dict[str, Any], field: str, wanted: Any) -> bool:
    return any(kind(value) == kind(wanted) and value == wanted for value in values_of(metadata, field))


def orders(metadata: dict[str, Any], field: str, op: str, bound: Any) -> bool:
    for value in values_of(metadata, field):
        if (
            kind(value) == kind(bound)
            and {
                "gt": value > bound,
                "gte": value >= bound,
                "lt": value < bound,
                "lte": value <= bound,
            }[op]
        ):
            return True
    return False


def naive(given: dict[str, Any], metadata: dict[str, Any]) -> bool:
    for key, value in given.items():
        if key == "and":
            passed = all(naive(part, metadata) for part in value)
        elif key == "or":
            passed = any(naive(part, metadata) for part in value)
        elif key == "not":
            passed = not naive(value, metadata)
        elif isinstance(value, dict):
            passed = all(naive_operator(metadata, key, *part) for part in cast("dict[str, Any]", value).items())
        else:
            passed = equals(metadata, key, value)
        if not passed:
            return False
    return True


def naive_operator(metadata: dict[str, Any], field: str, op: str, bound: Any) -> bool:
    if op == "in":
        return any(equals(metadata, field, one) for one in bound)
    if op == "ne":
        return not equals(metadata, field, bound)
    return orders(metadata, field, op, bound)


fields = st.sampled_from(["a", "b", "a.b", " "])
numbers = st.sampled_from([0, 1, -1, 1.0, 0.5, -0.0, 2**53, 2**53 + 1, float(2**53), 10**30])
words = st.sampled_from(["", "1", "a", "b", "ä", "true", "\U0001f600", "\uffff"])
scalars = numbers | words | st.booleans()
bounds = numbers | words
operators = st.fixed_dictionaries(
    {},
    optional={
        "in": st.lists(scalars, max_size=3),
        "ne": scalars,
        "gt": bounds,
        "gte": bounds,
        "lt": bounds,
        "lte": bounds,
    },
).filter(bool)
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(fields, scalars | operators, max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from(["and", "or"]), st.lists(inner, max_size=3), max_size=2)
        | st.fixed_dictionaries({"not": inner})
    ),
    max_leaves=6,
)
metadata = st.dictionaries(fields, scalars | st.none() | st.lists(scalars | st.none(), max_size=3), max_size=3)


@given(filters, metadata)
@example({}, {})
@example({"a": {"ne": 1}}, {})
@example({"not": {"a": 1}}, {"a": None})
@example({"a": 1}, {"a": True})
@example({"a": True}, {"a": 1})
@example({"a": {"gt": 0, "lt": 1}}, {"a": [-1, 2]})
@example({"and": [], "or": []}, {"a": 1})
def test_filters_match_as_the_form_says(given: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert match(parse_filter(given), metadata) == naive(given, metadata)


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ({"topic": "cats"}, In("topic", ("cats",))),
        ({"topic": {"in": ["cats", 1]}}, In("topic", ("cats", 1))),
        ({"topic": {"in": ("cats",)}}, In("topic", ("cats",))),
        ({"topic": {"ne": "cats"}}, Not(In("topic", ("cats",)))),
        ({"year": {"gte": 1990}}, Range("year", "gte", 1990)),
        ({"year": {"gt": 1, "lt": 9.5}}, And((Range("year", "gt", 1), Range("year", "lt", 9.5)))),
        ({"a": 1, "b": 2}, And((In("a", (1,)), In("b", (2,))))),
        ({"or": [{"a": 1}, {"not": {"b": 2}}]}, Or((In("a", (1,)), Not(In("b", (2,)))))),
        ({"and": []}, And(())),
        ({}, And(())),
    ],
)
def test_filters_are_read_into_one_form(given: dict[str, Any], parsed: object) -> None:
    assert parse_filter(given) == parsed


def deep(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        nested = {"not": nested}
    return nested


def test_nesting_has_a_readable_end() -> None:
    assert match(parse_filter(deep(100)), {"a": 1})
    with pytest.raises(InvalidFilter, match="nested too deeply"):
        parse_filter(deep(100_000))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, "None"),
        ("topic=cats", "topic=cats"),
        ([{"a": 1}], "'a'"),
        ({"": 1}, "''"),
        ({1: "a"}, "1"),
        ({None: "a"}, "None"),
        ({"topic": None}, "topic"),
        ({"topic": ["cats"]}, "'in'"),
        ({"topic": {}}, "topic"),
        ({"topic": float("nan")}, "nan"),
        ({"topic": float("inf")}, "inf"),
        ({"topic": b"cats"}, "b'cats'"),
        ({"topic": {"like": "c%"}}, "'like'"),
        ({"topic": {"$in": ["cats"]}}, "'$in'"),
        ({"topic": {"in": "cats"}}, "'cats'"),
        ({"topic": {"in": {"a": 1}}}, "topic"),
        ({"topic": {"in": [["cats"]]}}, "['cats']"),
        ({"topic": {"in": [None]}}, "None"),
        ({"topic": {"ne": None}}, "None"),
        ({"year": {"gt": True}}, "True"),
        ({"year": {"lte": None}}, "None"),
        ({"year": {"lt": [1]}}, "[1]"),
        ({"year": {"lt": float("nan")}}, "nan"),
        ({"year": {"lt": {"gt": 1}}}, "year"),
        ({"year": {1: 2}}, "1"),
        ({"and": {"a": 1}}, "'and'"),
        ({"or": "a"}, "'or'"),
        ({"or": [1]}, "1"),
        ({"not": [{"a": 1}]}, "'a'"),
        ({"not": None}, "None"),
    ],
)
def test_what_is_outside_the_form_is_refused_by_name(given: Any, named: str) -> None:
    with pytest.raises(InvalidFilter) as refusal:
        parse_filter(given)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidFilter) as refusal:
        parse_filter({"topic": list(range(10_000))})
    assert len(str(refusal.value)) < 250


# the command line's form


@pytest.mark.parametrize(
    ("expression", "filter"),
    [
        ("kind=function", {"kind": "function"}),
        ("year=1990", {"year": 1990}),
        ("score=0.5", {"score": 0.5}),
        ("open=true", {"open": True}),
        ('year="1990"', {"year": "1990"}),
        ("kind!=function", {"kind": {"ne": "function"}}),
        ("year!=1990", {"year": {"ne": 1990}}),
        ("year>=1990", {"year": {"gte": 1990}}),
        ("year<=1990", {"year": {"lte": 1990}}),
        ("year>1990", {"year": {"gt": 1990}}),
        ("year<-1.5e3", {"year": {"lt": -1500.0}}),
        ("date>=2024-01-31", {"date": {"gte": "2024-01-31"}}),
        ("topic=cats,dogs", {"topic": {"in": ["cats", "dogs"]}}),
        ("year=1990,1991", {"year": {"in": [1990, 1991]}}),
        ("mixed=1, a ,true", {"mixed": {"in": [1, "a", True]}}),
        ('topic=["cats", 1]', {"topic": {"in": ["cats", 1]}}),
        ('topic="cats,dogs"', {"topic": "cats,dogs"}),
        ('topic="cats,dogs",birds', {"topic": {"in": ["cats,dogs", "birds"]}}),
        (" topic = the cat ", {"topic": "the cat"}),
        ("topic=", {"topic": ""}),
        ('topic=""', {"topic": ""}),
        ("url=https://a.b/?q=1", {"url": "https://a.b/?q=1"}),
        ("formula=a=b", {"formula": "a=b"}),
        ("a.b-c=1", {"a.b-c": 1}),
        ('op="=x"', {"op": "=x"}),
        ("number=NaN", {"number": "NaN"}),
        ("number=Infinity,1", {"number": {"in": ["Infinity", 1]}}),
        ("number=007", {"number": "007"}),
        ("text=line\nbreak", {"text": "line\nbreak"}),
        ("text=" + "[" * 100_000, {"text": "[" * 100_000}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_expressions_are_read(expression: str, filter: dict[str, Any]) -> None:
    assert parse_expressions([expression]) == filter
    parse_filter(filter)


def test_several_expressions_mean_and() -> None:
    assert parse_expressions(["a=1", "b>2"]) == {"and": [{"a": 1}, {"b": {"gt": 2}}]}
    assert match(parse_filter(parse_expressions(["a>1", "a<3"])), {"a": 2})
    assert not match(parse_filter(parse_expressions(["a>1", "a<3"])), {"a": 3})
    assert match(parse_filter(parse_expressions([])), {})


@given(scalars, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]))
def test_a_value_written_as_json_is_that_value(value: Any, op: str) -> None:
    if isinstance(value, bool) and op not in ("=", "!="):
        return
    read = parse_expressions([f"field{op}{json.dumps(value)}"])
    name = {"!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}.get(op)
    assert repr(read) == repr({"field": value if name is None else {name: value}})


@pytest.mark.parametrize(
    "expression",
    ["", "kind", "=x", "!=x", ">5", "  =5", "kind==function", "year=>5", "year>==5", "year=<5", "year<>5", "a!b"],
)
def test_expressions_that_cannot_be_read_are_refused(expression: str) -> None:
    with pytest.raises(InvalidFilter) as refusal:
        parse_expressions([expression])
    assert repr(expression) in str(refusal.value)


@pytest.mark.parametrize(
    "expression", ["kind=null", 'kind={"like": 1}', "year>null", "year>true", "year>[1]", "a=1e999"]
)
def test_values_that_filters_do_not_take_are_refused(expression: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_expressions([expression])
