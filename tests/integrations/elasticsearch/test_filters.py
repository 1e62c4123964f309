"""Filters against their definition: a tiny interpreter of the queries agrees with ``match``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec.errors import InvalidFilter
from jinavec.filters import match, parse_filter
from jinavec_integrations.elasticsearch.fields import MOST, new_types, read_fields, split
from jinavec_integrations.elasticsearch.filters import FIELD, Places, terms, terms_of, translate

NAMES = ("a", "a.b", "1:a", " ", "a\0b", "键", "n" * 101, "n" * 102)
TEXTS = ("", "a", "ab", "b", "\U0001f600", "\uffff", "é", "1", "true", "x" * 5000, "x" * 5001, "x" * 5000 + "y")
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1, 1.0, 2**53, 2**53 + 1, float(2**53), 2**64, -(10**400), 5e-324, 1.7e308]),
)
strings = st.sampled_from(TEXTS) | st.text(max_size=4)
scalars = strings | numbers | st.booleans()
values = scalars | st.none() | st.lists(scalars | st.none() | st.just({"deep": 1}), max_size=3) | st.just({"deep": 1})
metadata = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
surrogates = st.sampled_from(["\ud800", "a\udfffb"])
bounds = numbers | st.text(max_size=4) | surrogates | st.sampled_from(TEXTS[:-2])
leaves = st.one_of(
    st.tuples(st.sampled_from([*NAMES, "\ud800"]), scalars | surrogates).map(lambda pair: {pair[0]: pair[1]}),
    st.tuples(st.sampled_from(NAMES), st.lists(scalars, max_size=3)).map(lambda pair: {pair[0]: {"in": pair[1]}}),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["gt", "gte", "lt", "lte"]), bounds).map(
        lambda part: {part[0]: {part[1]: part[2]}}
    ),
    st.tuples(st.sampled_from(NAMES), scalars).map(lambda pair: {pair[0]: {"ne": pair[1]}}),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=5,
)


Document = Mapping[str, Sequence[Any]]
"""The values of each field."""


def holds(query: Mapping[str, Any], document: Document) -> bool:
    """What Elasticsearch does with the few queries that filters use; keywords order by their bytes."""
    ((kind, body),) = query.items()
    if kind in ("match_all", "match_none"):
        return kind == "match_all"
    if kind == "exists":
        return bool(document.get(body["field"]))
    if kind in ("terms", "range"):
        ((path, asked),) = body.items()
        there = [_as_stored(value) for value in document.get(path, ())]
        if kind == "terms":
            return any(value == _as_stored(wanted) for value in there for wanted in asked)
        return any(all(_compares(value, op, _as_stored(bound)) for op, bound in asked.items()) for value in there)
    should = body.get("should", [])
    return (
        all(holds(part, document) for part in body.get("filter", []))
        and not any(holds(part, document) for part in body.get("must_not", []))
        and (not should or any(holds(part, document) for part in should))
    )


def _as_stored(value: Any) -> Any:
    """Keywords are bytes, numbers doubles."""
    if isinstance(value, bool):
        return value
    return value.encode() if isinstance(value, str) else float(value)


def _compares(one: Any, op: str, other: Any) -> bool:
    return {"gt": one > other, "gte": one >= other, "lt": one < other, "lte": one <= other}[op]


def stored(given_metadata: dict[str, Any], known: dict[str, Any]) -> tuple[Document, Places]:
    """What an index holds whose fields the first records decided."""
    mapped = read_fields("metadata", new_types([known], ()))
    parts = split(given_metadata, mapped)
    document: dict[str, Any] = {FIELD: terms_of(parts.others)}
    for name, values in parts.fields.items():
        if name in mapped:
            document[mapped[name].path] = [value for value in _listed(values) if value is not None]
    assert not parts.complete or parts.fields == given_metadata
    return document, Places(fields=mapped)


def _listed(values: Any) -> list[Any]:
    return [*values] if isinstance(values, list) else [values]


@given(filters, metadata)
def test_a_translated_filter_passes_what_match_passes(asked: Any, given_metadata: dict[str, Any]) -> None:
    condition = parse_filter(asked)
    assert holds(translate(condition), {FIELD: terms(given_metadata)}) == match(condition, given_metadata)


@given(filters, metadata, metadata)
def test_fields_of_any_types_change_no_answer(
    asked: Any, given_metadata: dict[str, Any], known: dict[str, Any]
) -> None:
    condition = parse_filter(asked)
    document, places = stored(given_metadata, known)
    assert holds(translate(condition, places), document) == match(condition, given_metadata)


def test_types_of_fields() -> None:
    records = [
        {"word": "a", "count": 1, "done": True, "day": "2024-02-29", "moment": "2024-01-01T10:00:00.5Z", "mixed": 1},
        {"day": "2024-02-30", "moment": None, "mixed": "x", "count": 2**70, "": 1, "*": 1, "a.b": "x", "none": None},
    ]
    types = {name: mapped["type"] for name, mapped in new_types(records, ["word"]).items()}
    assert types == {
        "count": "double", "done": "boolean", "day": "keyword", "moment": "date", "mixed": "double", "a.b": "keyword"
    }  # fmt: skip
    assert "a.b" not in new_types(records, (), dotted=False)
    assert len(new_types([{f"n{n}": n for n in range(10_000)}], ["word"])) == MOST - 1


@given(numbers, numbers)
def test_terms_of_numbers_order_as_the_numbers_do(one: float, other: float) -> None:
    (first,), (second,) = terms({"n": one}), terms({"n": other})
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(metadata)
def test_no_term_is_longer_than_lucene_takes(given_metadata: dict[str, Any]) -> None:
    assert all(len(term.encode()) < 32766 for term in terms(given_metadata))


def test_the_longest_terms_fit() -> None:
    wide = "\U0001f600" * 20000
    (term,) = terms({wide: wide})
    assert len(term.encode()) < 32766
    assert terms({wide + "x": wide}) != [term] != terms({wide: wide + "x"})


def test_what_a_filter_cannot_find_makes_no_term() -> None:
    assert terms({"a": None, "b": {"c": 1}, "d": [None, [1], {}], "e": []}) == []


def test_golden_queries() -> None:
    assert translate(parse_filter({"topic": "cats"})) == {"terms": {"filter": ["5:topicscats"]}}
    assert translate(parse_filter({"n": {"gte": 1}})) == {"range": {"filter": {"gte": "1:nn2800000018", "lt": "1:no"}}}
    assert translate(parse_filter({"n": {"lt": "b"}})) == {"range": {"filter": {"gte": "1:ns", "lt": "1:nsb"}}}
    assert translate(parse_filter({"a": {"ne": True}})) == {"bool": {"must_not": [{"terms": {"filter": ["1:ab1"]}}]}}


def test_many_values_are_asked_for_in_parts() -> None:
    query = translate(parse_filter({"n": {"in": list(range(70_000))}}))
    parts = [part["terms"][FIELD] for part in query["bool"]["should"]]
    assert [len(part) for part in parts] == [65536, 70_000 - 65536]


def test_a_bound_too_long_to_order_is_refused() -> None:
    with pytest.raises(InvalidFilter, match="5000"):
        translate(parse_filter({"a": {"gt": "x" * 5001}}))
