"""Filters select what jinavec.filters.match would: in local mode, and in Qdrant's Rust engine."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import edge_engine

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import InvalidFilter, InvalidRecord
from jinavec.filters import match, parse_filter
from jinavec_integrations.qdrant.convert import to_payload
from jinavec_integrations.qdrant.filters import LONGEST, order, order_key, translate

CONTRACT = Contract.of(ModelProfile(name="filters", width=4))
ONES = np.ones((1, 4), np.float32)
COSINE = {"vectors": {"size": 4, "distance": "Cosine"}}
NAMES = ["a", "b", "ключ", 'a"b', "a.b", "a[]", "a b", "a\0b", "x-61", "key", "c0", "\U0001f600", "n" * 70, "é" * 40]
HUGE = int(1.7976931348623157e308)
numbers = st.one_of(
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, HUGE, -HUGE]),
    st.sampled_from(
        [
            0.0,
            -0.0,
            1.0,
            0.1,
            0.30000000000000004,
            1e300,
            1e-320,
            float(2**53),
            float(2**63),
            1e22,
            1.5,
            2020.0,
            2020.0000000000002,
            1e15,
            1e15 + 1,
            1e-6,
            4.734394037527558e-181,
        ]
    ),
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
)
words = ["", "a", "A", "1", "true", "a\0", "a\0b", "abcde", "abcdef", "abcdefg", "abcdef\0", "\uffff", "\U00010000"]
texts = st.one_of(
    st.sampled_from(
        [*words, "é", "e\u0301", "null", "2024-05-01", "2024-05-02", "x" * 95, "x" * 96, "x" * 97, "x" * 200]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=14),
    st.text(st.sampled_from("ab\0"), max_size=14),
)
scalars = st.one_of(numbers, texts, st.booleans())
values = st.one_of(
    scalars,
    st.none(),
    st.lists(st.one_of(scalars, st.none(), st.lists(scalars, max_size=2)), max_size=4),
    st.dictionaries(st.sampled_from(NAMES), scalars, max_size=2),
)
metadata = st.dictionaries(st.sampled_from([*NAMES, "", "must"]), values, max_size=4)
wanted = st.one_of(scalars, st.sampled_from(["\ud800", "a\udfff", 10**400, -(10**400)]))
bounds = wanted.filter(lambda v: not isinstance(v, bool) and not (isinstance(v, str) and len(_utf8(v)) > LONGEST))
operators: st.SearchStrategy[Any] = st.one_of(
    wanted,
    st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), bounds, min_size=1, max_size=2),
    st.fixed_dictionaries({"ne": wanted}),
    st.fixed_dictionaries({"in": st.lists(wanted, max_size=4)}),
)
leaves = st.dictionaries(st.sampled_from([*NAMES, "missing", "\ud800"]), operators, max_size=2)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _combined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, max_size=3)
    combined = [st.fixed_dictionaries({key: several}) for key in ("and", "or")]
    return st.one_of(*combined, st.fixed_dictionaries({"not": inner}))


filters = st.recursive(leaves, _combined, max_leaves=5)

Passing = Callable[[list[dict[str, Any]], Any], set[int]]


def _local(rows: list[dict[str, Any]], question: Any) -> set[int]:
    with open_engine(f"qdrant::memory:/{uuid.uuid4()}", contract=CONTRACT) as index:
        index.add([Record(str(row), "", content) for row, content in enumerate(rows)], np.ones((len(rows), 4)))
        found = {int(hit.record.id) for hit in index.search(ONES[0], 100, question)}
        assert all(hit.record.metadata == rows[int(hit.record.id)] for hit in index.search(ONES[0], 100))
        return found


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Passing]:
    shard = edge_engine.EdgeCollection(tmp_path_factory.mktemp("filters"), COSINE)

    def rust(rows: list[dict[str, Any]], question: Any) -> set[int]:
        shard.delete(range(100))
        records = [Record(str(row), "", content) for row, content in enumerate(rows)]
        edge_engine.upsert(shard, records, np.ones((len(rows), 4), np.float32))
        return shard.passing(translate(parse_filter(question)), 4)

    return {"local": _local, "rust": rust}


@pytest.mark.parametrize("engine", ["local", "rust"])
@given(rows=st.lists(metadata, min_size=1, max_size=8), question=filters)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_filters_agree_with_match(
    engines: dict[str, Passing], engine: str, rows: list[dict[str, Any]], question: Any
) -> None:
    expected = {row for row, content in enumerate(rows) if match(parse_filter(question), content)}
    assert engines[engine](rows, question) == expected


@pytest.mark.parametrize("engine", ["local", "rust"])
@given(stored=st.lists(scalars, min_size=1, max_size=12), other=bounds, op=st.sampled_from(["gt", "gte", "lt", "lte"]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranges_agree_with_match(
    engines: dict[str, Passing], engine: str, stored: list[Any], other: Any, op: str
) -> None:
    rows = [{"a": value} for value in [*stored, other] if not _unstorable(value)]
    question = {"a": {op: other}}
    expected = {row for row, content in enumerate(rows) if match(parse_filter(question), content)}
    assert engines[engine](rows, question) == expected if rows else True


def _unstorable(value: Any) -> bool:
    if isinstance(value, str):
        return any(0xD800 <= ord(letter) < 0xE000 for letter in value)
    return abs(value) > HUGE


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Points with payload indexes, so that the other half of the engine answers."""
    shard = edge_engine.EdgeCollection(tmp_path_factory.mktemp("indexed"), COSINE)
    shard.index("jinavec.terms", "keyword")
    for kind in ("number", "string"):
        shard.index(order_key("v", kind), "float")
    edge_engine.upsert(shard, INDEXED, np.ones((len(INDEXED), 4), np.float32))
    yield shard


VALUES = [
    *range(-5, 40),
    1.5,
    2**53,
    2**53 + 1,
    2**60,
    True,
    "",
    "abcdef",
    "abcdefg",
    "b",
    "2024-05-01",
    [3, "b"],
    None,
]
INDEXED = [Record(str(row), "", {"v": value}) for row, value in enumerate(VALUES)]


@pytest.mark.parametrize(
    "question",
    [
        *(
            {"v": {op: bound}}
            for op in ("gt", "gte", "lt", "lte")
            for bound in (3, 1.5, 2**53, 2**53 + 1, "abcdef", "b")
        ),
        *({"v": value} for value in (3, 3.0, True, "b", "", 2**60)),
        {"v": {"ne": 3}},
        {"v": {"in": [1, 2, "b"]}},
        {"not": {"v": {"gte": 3}}},
        {"or": [{"v": {"lt": 0}}, {"v": "b"}]},
    ],
)
def test_payload_indexes_change_nothing(shard: Any, question: Any) -> None:
    expected = {row for row, record in enumerate(INDEXED) if match(parse_filter(question), record.metadata)}
    assert shard.passing(translate(parse_filter(question)), 4) == expected


def test_a_range_begins_with_what_a_payload_index_answers() -> None:
    translated = translate(parse_filter({"year": {"gt": 2020}}))
    assert translated["must"][0] == {"key": order_key("year", "number"), "range": {"gte": 2020.0}}
    assert order_key("year", "number") == "jinavec.order.number.year[].c0"


@given(numbers)
def test_links_survive_any_json_library(number: Any) -> None:
    for chain in order({"a": number})["number"]["a"]:
        for link in chain.values():
            assert link == float(f"{link:.15g}")
            assert link == 0 or 1e-6 <= abs(link) <= 1e15


def test_equality_is_a_term() -> None:
    assert translate(parse_filter({"topic": "cats"})) == {
        "key": "jinavec.terms",
        "match": {"any": ['["topic", "cats"]']},
    }


def test_long_values_stay_small() -> None:
    inner = to_payload(Record("1", "", {"a": "x" * 10**6}))["jinavec"]
    assert len(str(inner)) < 1000
    assert len(order({"a": "x" * 10**6})["string"]["a"][0]) == LONGEST // 6 + 1


def test_a_bound_that_is_too_long_is_refused() -> None:
    translate(parse_filter({"a": {"gt": "x" * LONGEST}}))
    with pytest.raises(InvalidFilter, match="96 bytes"):
        translate(parse_filter({"a": {"gt": "x" * (LONGEST + 1)}}))


def test_a_number_beyond_floats_is_refused_when_stored() -> None:
    with pytest.raises(InvalidRecord, match="as a string"):
        to_payload(Record("1", "", {"a": [{"b": 10**400}]}))


def test_a_filter_of_many_values_and_a_deep_one() -> None:
    rows = [{"n": row} for row in range(50)]
    assert _local(rows, {"n": {"in": list(range(25, 40_000))}}) == set(range(25, 50))
    deep: Any = {"n": 1}
    for _ in range(100):
        deep = {"not": deep}
    assert _local(rows, deep) == {1}
    for _ in range(400):
        deep = {"not": deep}
    with pytest.raises(InvalidFilter, match="too deeply"):
        _local(rows, deep)
