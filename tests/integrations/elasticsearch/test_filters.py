"""Filters against their definition: a tiny interpreter of the queries agrees with ``match``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec.errors import InvalidFilter
from jinavec.filters import match, parse_filter
from jinavec_integrations.elasticsearch.filters import FIELD, terms, translate

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


def holds(query: Mapping[str, Any], document: Sequence[str]) -> bool:
    """What Elasticsearch does with the few queries that filters use; keywords order by their bytes."""
    ((kind, body),) = query.items()
    if kind in ("match_all", "match_none"):
        return kind == "match_all"
    if kind == "terms":
        return not set(body[FIELD]).isdisjoint(document)
    if kind == "range":
        return any(all(_compares(term, op, bound) for op, bound in body[FIELD].items()) for term in document)
    should = body.get("should", [])
    return (
        all(holds(part, document) for part in body.get("filter", []))
        and not any(holds(part, document) for part in body.get("must_not", []))
        and (not should or any(holds(part, document) for part in should))
    )


def _compares(term: str, op: str, bound: str) -> bool:
    one, other = term.encode(), bound.encode()
    return {"gt": one > other, "gte": one >= other, "lt": one < other, "lte": one <= other}[op]


@given(filters, metadata)
def test_a_translated_filter_passes_what_match_passes(asked: Any, given_metadata: dict[str, Any]) -> None:
    condition = parse_filter(asked)
    assert holds(translate(condition), terms(given_metadata)) == match(condition, given_metadata)


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
