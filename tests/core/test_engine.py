from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.list_engine import PROFILE, WIDTH, HashBackend, ListEngine, ListOptions, Vectors, hash_vector

from jinavec import Contract, Encoder, Record, open_engine
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidTarget,
    InvalidType,
    InvalidVectors,
)
from jinavec.targets import ENGINES, find_engine


def gaussian(n: int, width: int = WIDTH) -> Vectors:
    return np.random.default_rng(n).standard_normal((n, width)).astype(np.float32)


def filled(n: int = 20, **options: Any) -> ListEngine:
    engine = ListEngine(Contract.of(PROFILE), **options)
    engine.add(records(n), gaussian(n))
    return engine


def records(n: int) -> list[Record]:
    return [Record(str(number), f"text {number}", {"even": number % 2 == 0}) for number in range(n)]


# add


def test_vectors_are_normalised_on_entry() -> None:
    engine = ListEngine(Contract.of(PROFILE))
    rows = gaussian(5) * np.array([1e-20, 1e-3, 1, 1e3, 1e20], np.float32)[:, None]
    assert engine.add(records(5), rows) == 5
    exact = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose([vector for _, vector in engine.rows.values()], exact, atol=1e-6)


def test_records_come_from_any_iterable_and_vectors_in_any_layout() -> None:
    for vectors in (gaussian(3).tolist(), gaussian(3).astype(np.float64), np.asfortranarray(gaussian(3))):
        engine = ListEngine(Contract.of(PROFILE))
        assert engine.add(iter(records(3)), vectors) == len(engine) == 3


@given(st.lists(st.sampled_from("abcd"), max_size=9))
def test_of_two_with_one_id_the_last_counts(ids: list[str]) -> None:
    engine = ListEngine(Contract.of(PROFILE))
    given = [Record(id, f"text {number}") for number, id in enumerate(ids)]
    vectors = gaussian(len(ids))
    assert engine.add(given, vectors) == engine.count() == len(set(ids))
    last = {record.id: number for number, record in enumerate(given)}
    for id, number in last.items():
        assert engine.get(id) == given[number]
        assert engine.search(vectors[number], 1)[0].score == pytest.approx(1, abs=1e-6)


def test_adding_again_replaces() -> None:
    engine = filled(5)
    assert engine.add([Record("3", "new")], gaussian(1)) == 1
    assert engine.count() == 5
    assert engine.get("3") == Record("3", "new")


@pytest.mark.parametrize("vectors", [None, [], np.empty((0, WIDTH)), np.empty((0, 0))], ids=repr)
def test_nothing_can_be_added(vectors: Any) -> None:
    engine = filled(3, encoder=Encoder(PROFILE, HashBackend()))
    assert engine.add([], vectors) == 0
    assert engine.count() == 3


def bad(row: int, value: float) -> Vectors:
    rows = gaussian(3)
    rows[row] = value
    return rows


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (gaussian(2), r"\(2, 8\); expected \(3, 8\)"),
        (gaussian(4), r"\(4, 8\); expected \(3, 8\)"),
        (gaussian(3, 16), r"\(3, 16\); expected \(3, 8\)"),
        (gaussian(3)[0], r"\(8,\); expected \(3, 8\)"),
        (np.ones((3, 1, 8)), "shape"),
        ([], "zero|shape"),
        ([[1.0] * 8, [1.0] * 8, [1.0] * 7], "not an array of numbers"),
        (3.0, "not a vector"),
        ("abc", "not an array of numbers"),
        (bad(1, np.nan), r"\b1\b.*NaN"),
        (bad(2, np.inf), r"\b2\b.*infinity"),
        (bad(0, 0), r"\b0\b.*zero"),
        (np.ones((3, 8), np.int8), r"vectors of int8: .* ask for floats"),
        (list(np.ones((3, 8), np.int8)), r"vectors of int8: .* ask for floats"),
        (list(np.ones((3, 8), np.uint8)), r"vectors of uint8: .* ask for floats"),
        (np.full((3, 1), -5, np.int8), r"\(3, 8\).*; signed packed bits .* \+ 128"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_is_stored(vectors: Any, message: str) -> None:
    engine = ListEngine(Contract.of(PROFILE))
    with pytest.raises(InvalidVectors, match=message):
        engine.add(records(3), vectors)
    assert engine.count() == 0


@pytest.mark.parametrize("given", [Record("a"), None, 3, "abc", {"id": "a"}, [{"id": "a"}], [("a", "text")]], ids=repr)
def test_what_are_no_records_is_refused(given: Any) -> None:
    engine = ListEngine(Contract.of(PROFILE))
    with pytest.raises(InvalidType, match="Record"):
        engine.add(given, gaussian(1))
    assert engine.count() == 0


# get, delete, count


def test_one_id_gets_one_record_and_several_get_those_there_are() -> None:
    engine = filled(5)
    assert engine.get("2") == records(5)[2]
    assert engine.get("nobody") is None
    assert engine.get(["4", "nobody", "1"]) == [records(5)[4], records(5)[1]]
    assert engine.get([]) == []


def test_delete_counts_what_there_was() -> None:
    engine = filled(5)
    assert engine.delete(["1", "nobody", "1", "2"]) == 2
    assert engine.delete("3") == 1
    assert engine.delete("3") == 0
    assert engine.delete([]) == 0
    assert engine.get(["1", "2", "3"]) == []
    assert engine.count() == len(engine) == 2


@pytest.mark.parametrize("ids", [None, 3, [None], [3], b"1", ["1", 2], {"1": "a"}, {}], ids=repr)
def test_ids_are_strings(ids: Any) -> None:
    engine = filled(3)
    for door in (engine.get, engine.delete):
        with pytest.raises(InvalidType, match="ids are strings"):
            door(ids)
    assert engine.count() == 3


def test_an_empty_engine_is_still_an_engine() -> None:
    engine = ListEngine(Contract.of(PROFILE))
    assert len(engine) == 0
    assert engine


def test_with_closes() -> None:
    with filled(1) as engine:
        assert not engine.closed
    assert engine.closed == 1


# search


@pytest.mark.parametrize("k", [1, 3, 20, 100, np.int64(2)])
def test_the_best_come_first(k: int) -> None:
    engine = filled(20)
    rows = gaussian(20).astype(np.float64)
    query = gaussian(1)[0]
    cosines = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    hits = engine.search(query * np.float32(7), k)
    assert [hit.record.id for hit in hits] == [str(number) for number in np.argsort(-cosines)[:k]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosines)[::-1][:k], atol=1e-6)


def test_ten_hits_unless_told_otherwise() -> None:
    assert len(filled(20).search(gaussian(1)[0])) == 10


def test_a_filter_is_applied_before_the_search() -> None:
    hits = filled(20).search(gaussian(1)[0], 20, {"even": True})
    assert {int(hit.record.id) for hit in hits} == set(range(0, 20, 2))
    with pytest.raises(InvalidFilter, match="'like'"):
        filled(1).search(gaussian(1)[0], filter={"even": {"like": "x"}})
    wrong: Any = "even=true"
    with pytest.raises(InvalidFilter, match="even=true"):
        filled(1).search(gaussian(1)[0], filter=wrong)


@pytest.mark.parametrize("k", [0, -1, True, 2.0, "3", None])
def test_k_is_a_positive_number(k: Any) -> None:
    with pytest.raises(InvalidInput, match=f"at least 1, not {k!r}"):
        filled(3).search(gaussian(1)[0], k)


@pytest.mark.parametrize(
    "query",
    [gaussian(1), gaussian(1, 16)[0], gaussian(1)[0][:4], [], 3.0, None, [None] * 8, ["1"] * 8, [np.nan] * 8, [0] * 8],
)
def test_queries_that_do_not_fit_are_refused(query: Any) -> None:
    with pytest.raises(InvalidVectors) as refusal:
        filled(3).search(query)
    assert "\n" not in str(refusal.value)


# texts


def test_an_engine_with_an_encoder_takes_texts() -> None:
    engine = ListEngine(Contract.of(PROFILE), Encoder(PROFILE, HashBackend()))
    given = [Record("asked", "Q: cat"), Record("other", "dog"), Record("empty")]
    assert engine.add(given) == 3
    best = engine.search("cat")[0]  # the query's prefix makes it the first record's text
    assert best.record.id == "asked"
    assert best.score == pytest.approx(1, abs=1e-6)
    assert engine.search(hash_vector("dog"), 1)[0].record.id == "other"


def test_an_engine_without_an_encoder_says_what_to_do() -> None:
    engine = filled(3)
    with pytest.raises(InvalidInput, match="without an encoder.*encoder="):
        engine.search("cat")
    with pytest.raises(InvalidInput, match="without an encoder.*encoder="):
        engine.add(records(1))


# open_engine


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the engine of this file into the table."""
    table = {
        **ENGINES,
        "list": f"{ListEngine.__module__}:ListEngine",
        "gone": "jinavec_integrations.no_such_engine:Engine",
    }
    monkeypatch.setattr("jinavec.targets.ENGINES", MappingProxyType(table))
    ListEngine.shelf.clear()


def test_a_contract_creates_or_opens() -> None:
    contract = Contract.of(PROFILE)
    with pytest.raises(IndexNotFound):
        open_engine("list:notes")
    with open_engine("list:notes", contract=contract) as created:
        created.add(records(2), gaussian(2))
    for opened in (open_engine("list:notes"), open_engine("list:notes", contract=contract)):
        assert opened.count() == 2
        assert opened.contract == contract
    with pytest.raises(ContractMismatch, match="dimension"):
        open_engine("list:notes", contract=replace(contract, dimension=4))


def test_an_encoder_creates_under_its_contract() -> None:
    encoder = Encoder(PROFILE, HashBackend())
    engine = open_engine("list:notes", encoder=encoder)
    assert engine.contract == encoder.contract
    assert engine.encoder is encoder
    with pytest.raises(ContractMismatch, match="task: the contract has 'clustering', the encoder has 'retrieval'"):
        open_engine("list:other", contract=Contract.of(PROFILE, "clustering"), encoder=encoder)
    assert "other" not in ListEngine.shelf


def test_options_reach_the_engine() -> None:
    contract = Contract.of(PROFILE)
    for location, options in (("a", {"fast": True}), ("b", ListOptions(fast=True))):
        engine = open_engine(f"list:{location}", contract=contract, options=options)
        assert isinstance(engine, ListEngine)
        assert engine.options == ListOptions(fast=True)
    with pytest.raises(InvalidInput, match="'slow'.*fast"):
        open_engine("list:c", contract=contract, options={"slow": True})


def test_the_location_is_everything_after_the_scheme() -> None:
    assert find_engine("list:C:/a b:c") == (ListEngine, "C:/a b:c")
    assert find_engine("list::memory:/notes") == (ListEngine, ":memory:/notes")


@pytest.mark.parametrize("target", ["", "notes", "list", "list:", ":notes", "lists:notes", "LIST:notes", None, 3])
def test_targets_that_cannot_be_read_list_the_engines(target: Any) -> None:
    with pytest.raises(InvalidTarget, match="ENGINE:LOCATION.*faiss.*list") as refusal:
        open_engine(target, contract=Contract.of(PROFILE))
    assert repr(target) in str(refusal.value)


def test_a_folder_alone_is_no_target(tmp_path: Path) -> None:
    folder: Any = tmp_path
    with pytest.raises(InvalidTarget):
        open_engine(folder)


def test_an_engine_that_is_not_there_says_so() -> None:
    with pytest.raises(EngineError, match="'gone'"):
        open_engine("gone:x")


@pytest.mark.parametrize(
    "wrong", ["jina-embeddings-v5-text-nano", {"model": "x"}, PROFILE], ids=["name", "dict", "profile"]
)
def test_a_contract_is_a_contract(wrong: Any) -> None:
    with pytest.raises(InvalidType, match=f"not {type(wrong).__name__}"):
        open_engine("list:notes", contract=wrong)
    assert not ListEngine.shelf


def test_signed_packed_bits_and_bytes_that_are_no_bits_are_told_apart() -> None:
    engine = filled()
    bits = np.packbits(gaussian(3, 256) > 0, axis=-1)
    with pytest.raises(InvalidVectors, match="int8"):
        engine.search(np.ones(WIDTH, np.int8))
    for vectors, message in (
        ((bits.astype(np.int16) - 128).astype(np.int8), r"\+ 128"),
        (np.ones((3, 256), np.uint8), "uint8 is taken as packed bits, eight dimensions a byte"),
    ):
        taker = ListEngine(Contract.of(replace(PROFILE, width=256, dimensions=())))
        taker.capabilities = frozenset({"packed_bits"})  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(InvalidVectors, match=message):
            taker.add(records(3), vectors)


def test_a_home_folder_in_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert find_engine("list:~/notes") == (ListEngine, "/home/someone/notes")
    assert find_engine("list:notes~/x") == (ListEngine, "notes~/x")
