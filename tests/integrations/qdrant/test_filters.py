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
from tests.support.edge_strict import CLOUD, StrictMode

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import InvalidFilter, InvalidRecord
from jinavec.filters import match, parse_filter
from jinavec_integrations.qdrant.chains import LONGEST
from jinavec_integrations.qdrant.convert import to_payload
from jinavec_integrations.qdrant.filters import Layout, order, payload_indexes, translate

FIRST, SECOND = Layout(version=1), Layout()

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


def _ranges(bound: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), bound, min_size=1, max_size=2)


operators: st.SearchStrategy[Any] = st.one_of(
    wanted,
    _ranges(bounds),
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
    found = {name: _in_rust(shard, layout) for name, layout in {"rust": SECOND, "rust, version 1": FIRST}.items()}
    return {"local": _local, **found}


def _in_rust(shard: edge_engine.EdgeCollection, layout: Layout) -> Passing:
    def passing(rows: list[dict[str, Any]], question: Any) -> set[int]:
        shard.delete(range(100))
        records = [Record(str(row), "", content) for row, content in enumerate(rows)]
        edge_engine.upsert(shard, records, np.ones((len(rows), 4), np.float32), layout)
        return shard.passing(translate(parse_filter(question), layout), 4)

    return passing


@pytest.mark.parametrize("engine", ["local", "rust", "rust, version 1"])
@given(rows=st.lists(metadata, min_size=1, max_size=8), question=filters)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_filters_agree_with_match(
    engines: dict[str, Passing], engine: str, rows: list[dict[str, Any]], question: Any
) -> None:
    expected = {row for row, content in enumerate(rows) if match(parse_filter(question), content)}
    assert engines[engine](rows, question) == expected


@pytest.mark.parametrize("engine", ["local", "rust", "rust, version 1"])
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
    for key, params in payload_indexes(SECOND).items():
        shard.index(key, params["type"])
    edge_engine.upsert(shard, INDEXED, np.ones((len(INDEXED), 4), np.float32), SECOND)
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
    assert shard.passing(translate(parse_filter(question), SECOND), 4) == expected


def test_in_the_first_version_a_range_begins_with_what_a_payload_index_answers() -> None:
    translated = translate(parse_filter({"year": {"gt": 2020}}), FIRST)
    assert translated["must"][0] == {"key": "jinavec.order.number.year[].c0", "range": {"gte": 2020.0}}


@pytest.mark.parametrize("bound", [2020, 1.5, "2024-05-01", "cats"])
def test_a_range_is_few_conditions_all_of_which_have_a_payload_index(bound: Any) -> None:
    strict = StrictMode({**CLOUD, "filter_max_conditions": 10})
    body = {"filter": {"must": [translate(parse_filter({"v": {"gt": bound}}), SECOND)]}}
    strict.check("POST points/scroll", body, {}, payload_indexes(SECOND))


@given(numbers)
def test_links_survive_any_json_library(number: Any) -> None:
    for chain in order({"a": number}, FIRST)["number"]["a"]:
        for link in chain.values():
            assert link == float(f"{link:.15g}")
            assert link == 0 or 1e-6 <= abs(link) <= 1e15


def test_equality_is_a_term() -> None:
    assert translate(parse_filter({"topic": "cats"}), SECOND) == {
        "key": "jinavec.terms",
        "match": {"any": ['["topic", "cats"]']},
    }


def test_long_values_stay_small() -> None:
    inner = to_payload(Record("1", "", {"a": "x" * 10**6}), SECOND)["jinavec"]
    assert len(str(inner)) < 1000
    assert len(order({"a": "x" * 10**6}, SECOND)[0]) == LONGEST // 6 + 2


def test_a_bound_that_is_too_long_is_refused() -> None:
    translate(parse_filter({"a": {"gt": "x" * LONGEST}}), SECOND)
    with pytest.raises(InvalidFilter, match="96 bytes"):
        translate(parse_filter({"a": {"gt": "x" * (LONGEST + 1)}}), SECOND)


def test_a_number_beyond_floats_is_refused_when_stored() -> None:
    with pytest.raises(InvalidRecord, match="as a string"):
        to_payload(Record("1", "", {"a": [{"b": 10**400}]}), SECOND)


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


# declared fields

DECLARED = Layout(
    {"keyword": "keyword", "integer": "integer", "float": "float", "bool": "bool", "datetime": "datetime"}
)
held: dict[str, st.SearchStrategy[Any]] = {
    "keyword": texts,
    "integer": st.integers(-(2**53), 2**53),
    "float": st.one_of(st.integers(-(2**53), 2**53), st.sampled_from([0.1, 1.5, 1e300, -1e-320, 2020.0])),
    "bool": st.booleans(),
    "datetime": st.sampled_from(["2024-05-01", "2024-05-02T10:00:00Z", "2023-12-31 23:59:59.5", "1999-01-01"]),
}
declared_rows = st.fixed_dictionaries(
    {}, optional={kind: st.one_of(st.none(), value, st.lists(value, max_size=3)) for kind, value in held.items()}
)
declared_leaves = st.one_of(
    *(
        st.fixed_dictionaries(
            {
                kind: st.one_of(
                    value,
                    wanted,
                    st.fixed_dictionaries({"in": st.lists(st.one_of(value, wanted), max_size=3)}),
                    *([] if kind == "datetime" else [_ranges(bounds if kind == "bool" else st.one_of(value, bounds))]),
                )
            }
        )
        for kind, value in held.items()
    )
)


@pytest.mark.parametrize("indexed", [False, True])
@given(
    rows=st.lists(declared_rows, min_size=1, max_size=6),
    question=st.one_of(declared_leaves, _combined(declared_leaves)),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_declared_fields_agree_with_match(
    declared: dict[bool, Passing], indexed: bool, rows: list[dict[str, Any]], question: Any
) -> None:
    expected = {row for row, content in enumerate(rows) if match(parse_filter(question), content)}
    assert declared[indexed](rows, question) == expected


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Passing]:
    shards = {
        indexed: edge_engine.EdgeCollection(tmp_path_factory.mktemp("declared"), COSINE) for indexed in (False, True)
    }
    for key, params in payload_indexes(DECLARED).items():
        shards[True].index(key, params["type"])
    return {indexed: _in_rust(shard, DECLARED) for indexed, shard in shards.items()}


MOMENTS = ["2024-05-01", "2024-05-01T00:00:01Z", "2024-05-01T01:00:00+02:00", "2024-04-30 23:30:00", "2025-01-01", None]


@pytest.mark.parametrize("engine", ["local", "rust"])
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"gt": "2024-05-01"}, {1, 4}),
        ({"gte": "2024-05-01"}, {0, 1, 4}),
        ({"lt": "2024-05-01"}, {2, 3}),
        ({"lte": "2024-05-01T02:00:00+02:00"}, {0, 2, 3}),
        ({"gte": "2024-04-30T23:00:00Z", "lt": "2024-05-01"}, {2, 3}),
        ({"gt": 5}, set[int]()),
        ("2024-05-01", {0}),
        ({"ne": "2024-05-01"}, {1, 2, 3, 4, 5}),
    ],
)
def test_moments_compare_as_points_in_time(
    declared: dict[bool, Passing], engine: str, question: Any, expected: set[int]
) -> None:
    rows = [{"datetime": moment} for moment in MOMENTS]
    if engine == "rust":
        assert declared[True](rows, {"datetime": question}) == expected
        return
    options = {"payload_indexes": {"datetime": "datetime"}}
    with open_engine(f"qdrant::memory:/{uuid.uuid4()}", contract=CONTRACT, options=options) as index:
        index.add([Record(str(row), "", content) for row, content in enumerate(rows)], np.ones((len(rows), 4)))
        assert {int(hit.record.id) for hit in index.search(ONES[0], 100, {"datetime": question})} == expected


def test_a_bound_that_is_no_moment_is_refused() -> None:
    for bound in ("May", "2024-13-01", "20240501", ""):
        with pytest.raises(InvalidFilter, match="declared as datetime"):
            translate(parse_filter({"datetime": {"gt": bound}}), DECLARED)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("keyword", 1),
        ("integer", "1"),
        ("integer", 1.0),
        ("integer", True),
        ("integer", 2**53 + 1),
        ("float", "1.5"),
        ("float", 2**70),
        ("bool", 1),
        ("datetime", "yesterday"),
        ("datetime", "2024-02-30"),
        ("keyword", ["a", ["b"]]),
        ("keyword", {"a": "b"}),
    ],
)
def test_what_a_declared_field_does_not_hold_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(InvalidRecord, match=f"record 'one': the field '{kind}' is declared as {kind}"):
        to_payload(Record("one", "", {kind: value}), DECLARED)


def test_what_a_declared_field_holds_is_stored_once() -> None:
    values = {"keyword": "a", "integer": 1, "float": 1.5, "bool": True, "datetime": "2024-05-01", "other": "b"}
    inner = to_payload(Record("one", "", values), DECLARED)["jinavec"]
    assert inner["terms"] == ['["datetime", "2024-05-01"]', '["other", "b"]']
    assert [entry["f"] for entry in inner["order"]] == ['["string", "keyword"]', '["string", "other"]']
