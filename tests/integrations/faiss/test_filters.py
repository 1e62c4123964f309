"""Filters select what jinavec.filters.match would, whatever the metadata and the filter hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinavec import Record
from jinavec.filters import match, parse_filter
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT

NAMES = [
    "a",
    "b",
    "and",
    "ключ",
    "it's",
    'a"b',
    "a.b",
    "$.a",
    "a b",
    "a\0b",
    "a\\u0000b",
    "[0]",
    "%",
    "key",
    "\U0001f600",
]
BIG = 2**63
numbers = st.one_of(
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, BIG - 1, BIG, -BIG, -BIG - 1, BIG * 2, 10**400, -(10**30)]),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e300, 1e-320, float(2**53), float(BIG), -float(BIG), 1e22, 1.5]),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.one_of(
    st.sampled_from(["", "a", "A", "1", "true", "a\0", "a\0b", "\uffff", "\U00010000", "é", "e\u0301", "null"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
scalars = st.one_of(numbers, texts, st.booleans())
values = st.one_of(
    scalars,
    st.none(),
    st.lists(st.one_of(scalars, st.none(), st.lists(scalars, max_size=2)), max_size=4),
    st.dictionaries(st.sampled_from(NAMES), scalars, max_size=2),
)
metadata = st.dictionaries(st.sampled_from([*NAMES, ""]), values, max_size=4)

wanted = st.one_of(scalars, st.sampled_from(["\ud800", "a\udfff"]))
bounds = wanted.filter(lambda value: not isinstance(value, bool))
comparisons = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), bounds, min_size=1, max_size=2)
operators: st.SearchStrategy[Any] = st.one_of(
    wanted,
    comparisons,
    st.fixed_dictionaries({"ne": wanted}),
    st.fixed_dictionaries({"in": st.lists(wanted, max_size=4)}),
)
fields = st.sampled_from([*(name for name in NAMES if name != "and"), "missing", "\ud800"])
leaves: st.SearchStrategy[dict[str, Any]] = st.dictionaries(fields, operators, max_size=2)


def _combined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, max_size=3)
    return st.one_of(
        *(st.fixed_dictionaries({key: parts}) for key, parts in (("and", several), ("or", several))),
        st.fixed_dictionaries({"not": inner}),
    )


filters = st.recursive(leaves, _combined, max_leaves=5)


@given(rows=st.lists(metadata, min_size=1, max_size=12), questions=st.lists(filters, min_size=1, max_size=12))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_filters_agree_with_match(index: BinaryIndex, rows: list[dict[str, Any]], questions: list[Any]) -> None:
    _agree(index, rows, questions)


@given(value=scalars, other=scalars, op=st.sampled_from(["in", "ne", "gt", "gte", "lt", "lte"]), listed=st.booleans())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_value_against_another(index: BinaryIndex, value: Any, other: Any, op: str, listed: bool) -> None:
    if op in ("gt", "gte", "lt", "lte") and isinstance(other, bool):
        return
    question = {"a": {op: [other] if op == "in" else other}}
    _agree(index, [{"a": [value, None] if listed else value}], [question])


def _agree(index: BinaryIndex, rows: list[dict[str, Any]], questions: list[Any]) -> None:
    index.delete([str(row) for row in range(12)])
    index.add([Record(str(row), "", content) for row, content in enumerate(rows)], np.ones((len(rows), 12)))
    for question in questions:
        condition = parse_filter(question)
        expected = {str(row) for row, content in enumerate(rows) if match(condition, content)}
        found = index.search(np.ones(12), 100, question)
        assert {hit.record.id for hit in found} == expected
        assert all(hit.record.metadata == rows[int(hit.record.id)] for hit in found)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinaryIndex]:
    """Numbers around the places where SQLite and floats lose exactness."""
    edges = [2**53, 2**63, 10**16, 10**17, 0]
    exact = sorted({edge + step for edge in edges for step in range(-3, 4)})
    values: list[Any] = [
        *exact,
        *(-value for value in exact),
        *(float(value) for value in exact),
        0.1,
        0.30000000000000004,
    ]
    with BinaryIndex.create(tmp_path_factory.mktemp("numbers") / "index", CONTRACT) as index:
        index.add([Record(f"{row}", "", {"n": value}) for row, value in enumerate(values)], np.ones((len(values), 12)))
        yield index


@pytest.mark.parametrize("op", ["in", "gt", "gte", "lt", "lte"])
def test_numbers_compare_exactly(numbered: BinaryIndex, op: str) -> None:
    stored = {hit.record.id: hit.record.metadata for hit in numbered.search(np.ones(12), 1000)}
    for bound in {metadata["n"] for metadata in stored.values()}:
        question = {"n": {op: [bound] if op == "in" else bound}}
        expected = {id for id, metadata in stored.items() if match(parse_filter(question), metadata)}
        assert {hit.record.id for hit in numbered.search(np.ones(12), 1000, question)} == expected


def test_a_filter_of_many_values(index: BinaryIndex) -> None:
    index.add([Record(str(row), "", {"n": row}) for row in range(50)], np.ones((50, 12)))
    hits = index.search(np.ones(12), 100, {"n": {"in": list(range(25, 40_000))}})
    assert len(hits) == 25


def test_a_long_list_and_a_long_text(index: BinaryIndex) -> None:
    record = Record("1", "", {"list": [*range(5000), *map(str, range(5000))] * 2, "text": "x" * 10**6})
    index.add([record], np.ones((1, 12)))
    for question in ({"list": 4999}, {"list": "4999"}, {"text": {"gt": "x" * 999_999}}, {"text": "x" * 10**6}):
        assert index.search(np.ones(12), 1, question)[0].record == record
    index.delete("1")
    assert index.search(np.ones(12), 1, {"list": 4999}) == []


def test_metadata_is_stored_as_json_reads_it(index: BinaryIndex, tmp_path: Path) -> None:
    content = {"tuple": (1, 2), "float": 1.0, "nested": {"x": [None, True]}, "": "empty name"}
    index.add([Record("1", "", content)], np.ones((1, 12)))
    assert index.get(["1"])[0].metadata == json.loads(json.dumps(content))
    assert index.search(np.ones(12), 1, {"tuple": 2})
