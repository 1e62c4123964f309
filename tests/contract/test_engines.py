"""What every engine promises; a new one joins by a row in TARGETS."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from tests.support import qdrant_server
from tests.support.elasticsearch_server import elasticsearch_url, forget_index

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task, open_engine
from jinavec.backends.base import Backend, Report
from jinavec.engine import ENGINES, Engine
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    InvalidType,
    InvalidVectors,
)
from jinavec.vectors import Float32, normalize

PROFILE = ModelProfile(
    name="contract-suite", width=64, dimensions=(64, 12), prompts={(Task.RETRIEVAL, Role.QUERY): "q:"}
)
CONTRACT = Contract.of(PROFILE)
TARGETS: dict[str, Callable[[Path], str]] = {
    "elasticsearch": lambda folder: f"elasticsearch:{elasticsearch_url()}/contract-{uuid4().hex}",
    "faiss": lambda folder: f"faiss:{folder / 'index'}",
    "qdrant": lambda folder: f"qdrant:{folder}/collection",
    "qdrant memory": lambda folder: f"qdrant::memory:/{uuid4()}",
    "qdrant server": lambda folder: qdrant_server.new_collection(),
}
"""A place of its own for each test, by engine and kind of place."""
MARKERS = {"elasticsearch": pytest.mark.elasticsearch, "qdrant server": pytest.mark.qdrant}
"""What needs a server."""
FORGET: dict[str, Callable[[str], None]] = {"elasticsearch": forget_index, "qdrant server": qdrant_server.forget}
"""Takes away what a test made, where that is not in its folder."""
TOLERANCE = 0.02
"""How far a score may lie from the exact cosine."""

TOPICS = ("cats", "dogs", "birds")
RECORDS = [
    Record(
        f"id {number}",
        f"text {number}",
        {
            "topic": TOPICS[number % 3],
            "number": number,
            "half": number / 2,
            "even": number % 2 == 0,
            "tags": ["all", f"tag {number % 5}"],
        },
    )
    for number in range(60)
]
VECTORS = normalize(np.random.default_rng(5).standard_normal((60, 64)))


class Letters(Backend):
    """A direction for each letter: texts of the same letters are near."""

    name = "letters"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        directions = np.random.default_rng(0).standard_normal((128, 64))
        return normalize([directions[[ord(letter) % 128 for letter in text]].sum(0) for text in texts])


ENCODER = Encoder(PROFILE, Letters())


def reopen(target: str, encoder: Encoder | None = None) -> Engine:
    return open_engine(target, contract=None if encoder else CONTRACT, encoder=encoder)


@pytest.fixture(params=[pytest.param(name, marks=MARKERS.get(name, ())) for name in TARGETS])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    place = TARGETS[request.param](tmp_path)
    yield place
    FORGET.get(request.param, str)(place)


@pytest.fixture
def empty(target: str) -> Iterator[Engine]:
    with open_engine(target, contract=CONTRACT) as engine:
        yield engine


@pytest.fixture
def full(empty: Engine) -> Engine:
    assert empty.add(RECORDS, VECTORS) == 60
    return empty


def ids(engine: Engine, query: Any = None, k: int = 100, filter: Any = None) -> list[str]:
    return [hit.record.id for hit in engine.search(VECTORS[0] if query is None else query, k, filter)]


# add, get, count


def test_what_was_added_is_found_as_it_was(full: Engine) -> None:
    assert full.count() == len(full) == 60
    assert full.get([record.id for record in RECORDS]) == RECORDS
    assert full.get("id 7") == RECORDS[7]


def test_get_keeps_the_order_and_passes_over_unknown_ids(full: Engine) -> None:
    assert full.get("no such id") is None
    assert full.get(["id 9", "no such id", "id 2"]) == [RECORDS[9], RECORDS[2]]
    assert full.get([]) == []


def test_the_same_id_replaces(full: Engine) -> None:
    newer = Record("id 3", "newer", {"topic": "fish"})
    assert full.add([newer], [-VECTORS[3]]) == 1
    assert full.count() == 60
    assert full.get("id 3") == newer
    assert full.search(-VECTORS[3], 1)[0].record == newer
    assert "id 3" not in ids(full, VECTORS[3], 10)
    assert "id 3" in ids(full, filter={"topic": "fish"})
    assert "id 3" not in ids(full, filter={"topic": "cats"})


def test_of_one_id_given_twice_the_last_counts(empty: Engine) -> None:
    first, second = Record("same", "first"), Record("same", "second")
    assert empty.add([first, Record("other"), second], VECTORS[:3]) == 2
    assert empty.count() == 2
    assert empty.get("same") == second
    assert empty.search(VECTORS[2], 1)[0].record == second


def test_adding_nothing_is_allowed(empty: Engine) -> None:
    assert empty.add([], np.empty((0, 64))) == 0
    assert empty.add(iter([]), []) == 0
    assert empty.count() == 0


def test_records_may_come_from_a_generator_and_vectors_in_any_form(empty: Engine) -> None:
    assert empty.add((record for record in RECORDS[:2]), (VECTORS[:2] * 1000).astype(np.float64).tolist()) == 2
    assert empty.search(VECTORS[1], 1)[0].record == RECORDS[1]


@pytest.mark.parametrize(
    "id", ["a/b c?#%", "ключ", "键", "\N{GRINNING FACE}", "a\0b", " ", "'\"; DROP TABLE records", "e\u0301", "x" * 5000]
)
def test_ids_and_texts_are_any_unicode(empty: Engine, id: str) -> None:
    record = Record(id, f"text of {id}", {id: id, "nested": {"list": [None, 1.5, {"deep": [id]}]}})
    empty.add([record], VECTORS[:1])
    assert empty.get(id) == record
    assert [hit.record for hit in empty.search(VECTORS[0], 5, {id: id})] == [record]
    assert empty.delete(id) == 1


def test_an_error_stores_nothing_of_the_call(full: Engine) -> None:
    with pytest.raises(InvalidRecord):
        full.add([Record("new"), Record("bad", "", {"x": float("nan")})], VECTORS[:2])
    assert full.get("new") is None
    assert full.count() == 60


@pytest.mark.parametrize(
    ("records", "vectors", "error"),
    [
        ([Record("a")], VECTORS[:2], InvalidInput),
        ([Record("a")], VECTORS[:1, :12], InvalidVectors),
        ([Record("a")], np.full((1, 64), np.nan), InvalidVectors),
        ([Record("a")], np.full((1, 64), np.inf), InvalidVectors),
        ([Record("a")], np.zeros((1, 64)), InvalidVectors),
        (["a"], VECTORS[:1], InvalidType),
        ([Record("a", "", {"x": object()})], VECTORS[:1], InvalidRecord),
        ([Record("a", "", {"x": "\ud800"})], VECTORS[:1], InvalidRecord),
    ],
)
def test_what_cannot_be_stored_is_refused(full: Engine, records: Any, vectors: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        full.add(records, vectors)
    assert full.count() == 60


# delete


def test_deleted_records_are_gone(full: Engine) -> None:
    assert full.delete(["id 1", "id 1", "no such id", "id 2"]) == 2
    assert full.delete("id 1") == 0
    assert full.delete([]) == 0
    assert full.count() == 58
    assert full.get(["id 1", "id 2", "id 3"]) == [RECORDS[3]]
    assert {"id 1", "id 2"}.isdisjoint(ids(full))
    assert len(ids(full)) == 58


def test_what_was_deleted_can_be_added_again(full: Engine) -> None:
    full.delete("id 4")
    full.add([RECORDS[4]], VECTORS[4:5])
    assert full.get("id 4") == RECORDS[4]
    assert full.search(VECTORS[4], 1)[0].record == RECORDS[4]


def test_everything_can_be_deleted(full: Engine) -> None:
    assert full.delete(record.id for record in RECORDS) == 60
    assert full.count() == 0
    assert ids(full) == []


@pytest.mark.parametrize("id", ["", "\ud800", "id 1 "])
def test_ids_that_cannot_be_there_are_not_there(full: Engine, id: str) -> None:
    assert full.get(id) is None
    assert full.delete(id) == 0


def test_ids_that_are_no_strings_are_refused(full: Engine) -> None:
    with pytest.raises(InvalidType):
        full.delete([1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidType):
        full.get([None])  # pyright: ignore[reportCallIssue, reportArgumentType]


# search


def test_hits_come_best_first_with_their_cosine(full: Engine) -> None:
    query = normalize(VECTORS[8] + 0.5 * VECTORS[9])
    hits = full.search(query, k=60)
    scores = [hit.score for hit in hits]
    exact = {record.id: float(VECTORS[number] @ query) for number, record in enumerate(RECORDS)}
    assert [hit.record.id for hit in hits[:2]] == ["id 8", "id 9"]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    assert scores == pytest.approx([exact[hit.record.id] for hit in hits], abs=TOLERANCE)


def test_a_search_gives_k_hits_or_all_there_are(full: Engine) -> None:
    assert len(full.search(VECTORS[0])) == 10
    assert ids(full, k=1) == ["id 0"]
    assert sorted(ids(full, k=10**100)) == sorted(record.id for record in RECORDS)


def test_an_empty_index_finds_nothing(empty: Engine) -> None:
    assert empty.search(VECTORS[0]) == []
    assert empty.search(VECTORS[0], filter={"topic": "cats"}) == []


def test_the_length_of_a_query_does_not_matter(full: Engine) -> None:
    short, long = full.search(VECTORS[5] * 1e-3), full.search((VECTORS[5] * 1e3).tolist())
    assert [hit.record for hit in short] == [hit.record for hit in long]
    assert [hit.score for hit in short] == pytest.approx([hit.score for hit in long], abs=1e-6)


@pytest.mark.parametrize("k", [0, -1, 1.0, True, "3", None])
def test_k_is_a_whole_number_of_at_least_one(full: Engine, k: Any) -> None:
    with pytest.raises(InvalidInput):
        full.search(VECTORS[0], k)


@pytest.mark.parametrize("query", [VECTORS[0][:12], VECTORS[:1], np.zeros(64), np.full(64, np.nan), [], 3.0])
def test_queries_that_are_no_vector_of_the_contract_are_refused(full: Engine, query: Any) -> None:
    with pytest.raises(InvalidVectors):
        full.search(query)


# filters


FILTERS: list[tuple[Any, Callable[[Mapping[str, Any]], bool]]] = [
    ({}, lambda m: True),
    ({"topic": "cats"}, lambda m: m["topic"] == "cats"),
    ({"topic": "no such topic"}, lambda m: False),
    ({"no such field": "cats"}, lambda m: False),
    ({"topic": {"ne": "cats"}}, lambda m: m["topic"] != "cats"),
    ({"no such field": {"ne": "cats"}}, lambda m: True),
    ({"topic": {"in": ["cats", "dogs"]}, "even": True}, lambda m: m["topic"] != "birds" and m["even"]),
    ({"topic": {"in": []}}, lambda m: False),
    ({"number": {"gte": 10, "lt": 20}}, lambda m: 10 <= m["number"] < 20),
    ({"number": 7.0}, lambda m: m["number"] == 7),
    ({"half": {"gt": 28.5}}, lambda m: m["half"] > 28.5),
    ({"half": 2}, lambda m: m["half"] == 2),
    ({"number": True}, lambda m: False),
    ({"number": "7"}, lambda m: False),
    ({"even": 1}, lambda m: False),
    ({"topic": {"lte": "cats"}}, lambda m: m["topic"] <= "cats"),
    ({"tags": "tag 3"}, lambda m: "tag 3" in m["tags"]),
    ({"tags": {"ne": "tag 3"}}, lambda m: "tag 3" not in m["tags"]),
    ({"or": [{"number": 3}, {"topic": "dogs"}]}, lambda m: m["number"] == 3 or m["topic"] == "dogs"),
    ({"and": [{"even": False}, {"not": {"topic": "dogs"}}]}, lambda m: not m["even"] and m["topic"] != "dogs"),
    ({"or": []}, lambda m: False),
    ({"and": []}, lambda m: True),
    ({"not": {"or": [{"number": {"lt": 50}}, {"number": 55}]}}, lambda m: m["number"] >= 50 and m["number"] != 55),
]


@pytest.mark.parametrize(("filter", "passes"), FILTERS)
def test_a_filter_selects_before_the_search(full: Engine, filter: Any, passes: Callable[[Any], bool]) -> None:
    expected = [record.id for record in RECORDS if passes(record.metadata)]
    assert sorted(ids(full, filter=filter)) == sorted(expected)
    assert ids(full, k=3, filter=filter) == ids(full, filter=filter)[:3]


@pytest.mark.parametrize("filter", [["topic"], {"topic": {"like": "c%"}}, {"topic": None}, {"number": {"gt": True}}])
def test_filters_outside_the_form_are_refused(full: Engine, filter: Any) -> None:
    with pytest.raises(InvalidFilter):
        full.search(VECTORS[0], filter=filter)


# texts


def test_texts_are_embedded_by_the_encoder(target: str) -> None:
    with reopen(target, ENCODER) as engine:
        engine.add([Record("a", "aaaaaaaa"), Record("b", "bbbbbbbb"), Record("c", "cccccccc")])
        assert [hit.record.id for hit in engine.search("bbbb", k=1)] == ["b"]
        expected = engine.search(ENCODER.encode_queries(["bbbb"])[0])
        assert engine.search("bbbb") == expected


def test_without_an_encoder_texts_are_refused(full: Engine) -> None:
    with pytest.raises(InvalidInput, match="encoder"):
        full.search("a text")
    with pytest.raises(InvalidInput, match="encoder"):
        full.add([Record("a", "a text")])


# opening and closing


def test_everything_is_there_when_opened_again(target: str) -> None:
    with reopen(target) as engine:
        engine.add(RECORDS, VECTORS)
        engine.delete("id 5")
        before = engine.search(VECTORS[1], 60)
    with open_engine(target) as engine:
        assert engine.contract == CONTRACT
        assert engine.count() == 59
        assert engine.search(VECTORS[1], 60) == before
        assert engine.get("id 5") is None


def test_the_contract_is_remembered_and_compared(target: str) -> None:
    reopen(target).close()
    for other in (Contract.of(PROFILE, dimension=12), dataclasses.replace(CONTRACT, query_prefix="Q: ")):
        with pytest.raises(ContractMismatch):
            open_engine(target, contract=other)
    with pytest.raises(ContractMismatch, match="dimension: this index has 64, the encoder has 12"):
        open_engine(target, encoder=Encoder(PROFILE, Letters(), dimension=12))


def test_an_index_that_is_not_there_is_not_opened(target: str) -> None:
    with pytest.raises(IndexNotFound):
        open_engine(target)
    reopen(target).close()
    open_engine(target).close()


def test_unknown_options_are_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match="no_such_option"):
        open_engine(target, contract=CONTRACT, options={"no_such_option": 1})


USES: list[Callable[[Engine], object]] = [
    lambda engine: engine.count(),
    lambda engine: engine.info(),
    lambda engine: engine.get("a"),
    lambda engine: engine.delete("a"),
    lambda engine: engine.search(VECTORS[0]),
    lambda engine: engine.add([RECORDS[0]], VECTORS[:1]),
]


@pytest.mark.parametrize("use", USES)
def test_a_closed_engine_says_so(full: Engine, use: Callable[[Engine], object]) -> None:
    full.close()
    full.close()
    with pytest.raises(EngineError, match="closed"):
        use(full)


def test_info_is_plain_json(full: Engine) -> None:
    info = full.info()
    assert json.loads(json.dumps(info)) == info
    assert info["records"] == 60
    assert info["contract"] == CONTRACT.to_json()


def test_every_engine_is_tried() -> None:
    assert {name.split()[0] for name in TARGETS} == ENGINES.keys()
