"""Lists, compaction, merging, calibration: against exact searches of the same vectors."""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import ContractMismatch, EngineError, IndexDamaged, InvalidInput, InvalidVectors
from jinavec.vectors import Float32, asymmetric, binarize, hamming, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

from .child import CONTRACT, add, check_vectors, state_of, vector
from .test_index import clustered, contract

faiss: Any = import_module("faiss")
COUNT, DIMENSION = 4_000, 64
VECTORS = clustered(COUNT, DIMENSION, 1)
QUERIES = normalize(clustered(20, DIMENSION, 2) + VECTORS[:20])
RECORDS = [Record(str(row), "", {"third": row % 3, "rare": row % 50 == 0}) for row in range(COUNT)]
INT8 = normalize(to_int8(VECTORS))
BITS = binarize(VECTORS)
EVERYTHING = {"nprobe": 40, "candidates": COUNT, "rescore": COUNT}
"""With this effort a search is exact."""


@pytest.fixture(autouse=True)
def small_as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the short ways of small indexes and small selections."""
    monkeypatch.setattr("jinavec_integrations.faiss.search.pipeline._WHOLE", 1)
    for path in ("kernel", "plain"):
        monkeypatch.setattr(f"jinavec_integrations.faiss.search.{path}._FEW", 10**6)


def build(folder: Path, **options: Any) -> BinaryIndex:
    with BinaryIndexBuilder(folder, contract=contract(DIMENSION), options=options) as builder:
        builder.add(RECORDS, VECTORS)
        return builder.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 40 lists, to be copied and left alone."""
    folder = tmp_path_factory.mktemp("lists") / "index"
    build(folder, nlist=40).close()
    return folder


@pytest.fixture(scope="module")
def built(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinaryIndex]:
    with BinaryIndex.open(shutil.copytree(made, tmp_path_factory.mktemp("lists") / "index")) as index:
        yield index


@pytest.fixture
def listed(made: Path, tmp_path: Path) -> Iterator[BinaryIndex]:
    with BinaryIndex.open(shutil.copytree(made, tmp_path / "index")) as index:
        yield index


def exact(query: Float32, k: int, rows: NDArray[np.int64]) -> list[int]:
    return rows[np.argsort(-(INT8[rows] @ query), kind="stable")[:k]].tolist()


def found(index: BinaryIndex, query: Float32, k: int, filter: Any = None) -> list[int]:
    return [int(hit.record.id) for hit in index.search(query, k, filter)]


def recall(index: BinaryIndex, rows: NDArray[np.int64], filter: Any = None) -> float:
    shares = [len({*found(index, query, 10, filter)} & {*exact(query, 10, rows)}) / 10 for query in QUERIES]
    return float(np.mean(shares))


FILTERS: list[tuple[Any, Callable[[NDArray[np.int64]], NDArray[np.bool_]]]] = [
    (None, lambda rows: rows >= 0),
    ({"third": 1}, lambda rows: rows % 3 == 1),
    ({"third": {"ne": 1}}, lambda rows: rows % 3 != 1),
    ({"rare": True}, lambda rows: rows % 50 == 0),
]


@pytest.mark.parametrize(("filter", "passes"), FILTERS)
@pytest.mark.parametrize("lists", [None, 40])
def test_with_every_list_and_row_a_search_is_exact(
    built: BinaryIndex, tmp_path: Path, lists: int | None, filter: Any, passes: Callable[[Any], Any]
) -> None:
    rows = np.flatnonzero(passes(np.arange(COUNT)))
    flat = build(tmp_path / "flat") if lists is None else built
    with flat, BinaryIndex.open(flat.folder, options=EVERYTHING) as index:
        for query in QUERIES[:5]:
            assert found(index, query, 30, filter) == exact(query, 30, rows)


def test_a_few_lists_find_most(listed: BinaryIndex) -> None:
    assert listed.info()["plan"] == "40 lists, as asked"
    with BinaryIndex.open(listed.folder, options={"nprobe": 30, "candidates": 1000}) as wide:
        for filter, passes in FILTERS:
            assert recall(wide, np.flatnonzero(passes(np.arange(COUNT))), filter) > 0.9
        with BinaryIndex.open(listed.folder, options={"nprobe": 1, "candidates": 1000}) as narrow:
            assert recall(narrow, np.arange(COUNT)) < recall(wide, np.arange(COUNT))


def test_what_is_added_and_deleted_after_the_build(listed: BinaryIndex) -> None:
    listed.delete(str(row) for row in range(0, COUNT, 2))
    listed.add(RECORDS[:1000], VECTORS[:1000])
    rows = np.unique(np.append(np.arange(1, COUNT, 2), np.arange(1000)))
    assert listed.count() == len(rows)
    for compacted in (False, True):
        with BinaryIndex.open(listed.folder, options=EVERYTHING) as index:
            for query in QUERIES[:5]:
                assert found(index, query, 30, {"third": 1}) == exact(query, 30, rows[rows % 3 == 1])
                assert set(found(index, query, 300)) == set(exact(query, 300, rows))
        for row in (0, 7, 999, 1001, COUNT - 1):
            np.testing.assert_array_equal(listed.reconstruct(str(row)), BITS[row])
        listed.verify()
        if not compacted:
            listed.compact()
            assert listed.info()["rows"] == len(rows)
            assert listed.info()["deleted"] == listed.info()["unlisted"] == 0


def test_faiss_opens_the_codes_of_every_generation(listed: BinaryIndex) -> None:
    listed.delete("5")
    listed.compact()
    (path,) = listed.folder.glob("codes*.faiss")
    plain = faiss.read_index_binary(str(path))
    assert plain.ntotal == COUNT - 1
    distances, _ = plain.search(binarize(QUERIES), 20)
    rows = np.setdiff1d(np.arange(COUNT), 5)
    for query, near in zip(QUERIES, distances, strict=True):
        np.testing.assert_array_equal(near, np.sort(hamming(binarize(query), BITS[rows]))[:20])


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in "ab":
        build(tmp_path / name, nlist=16, seed=3).close()
    for path in (tmp_path / "a").glob("*.*64"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_plan_is_kept_and_can_be_changed(listed: BinaryIndex) -> None:
    assert str(listed.compact()) == "40 lists, as asked"
    manifest = json.loads((listed.folder / "manifest.json").read_text())
    assert manifest["plan"] == {"nlist": 40, "seed": 0, "asked": True}
    assert manifest["counts"] == {"compacted": COUNT, "purged": 0}
    listed.close()
    with open_engine(f"faiss:{listed.folder}", options={"plan": "flat"}) as index:
        assert isinstance(index, BinaryIndex)
        assert str(index.compact()) == "flat, as asked"
        index.verify()
        assert recall(index, np.arange(COUNT)) > 0.9


# batches, ranges, bits


@pytest.mark.parametrize("filter", [None, {"third": 1}])
def test_a_batch_finds_what_single_searches_find(listed: BinaryIndex, tmp_path: Path, filter: Any) -> None:
    with build(tmp_path / "flat") as flat:
        for index in (listed, flat):
            assert index.search_batch(QUERIES, 10, filter) == [index.search(query, 10, filter) for query in QUERIES]
            assert index.search_batch(QUERIES[:0]) == []
            with pytest.raises(InvalidVectors):
                index.search_batch(QUERIES[:, :8])


@pytest.mark.parametrize("radius", [0, 12, 20, 64])
def test_a_range_is_everything_within_the_radius(listed: BinaryIndex, radius: int) -> None:
    listed.delete("3")
    rows = np.setdiff1d(np.arange(COUNT), 3)
    rows = rows[rows % 3 == 0]
    distances = hamming(BITS[6], BITS[rows])
    near = [
        (row, distance) for row, distance in zip(rows.tolist(), distances.tolist(), strict=True) if distance <= radius
    ]
    for query in (VECTORS[6], BITS[6], listed.reconstruct("6")):
        hits = listed.range_search(query, radius, {"third": 0})
        assert [(int(record.id), distance) for record, distance in hits] == sorted(near, key=lambda pair: pair[::-1])


@pytest.mark.parametrize("radius", [-1, 1.5, True, None])
def test_a_radius_is_a_whole_number(built: BinaryIndex, radius: Any) -> None:
    with pytest.raises(InvalidInput, match="radius"):
        built.range_search(QUERIES[0], radius)


def test_bits_of_ids_that_are_not_there(listed: BinaryIndex) -> None:
    listed.delete("4")
    for id in ("4", "no such id", "\ud800"):
        with pytest.raises(InvalidInput, match="no record"):
            listed.reconstruct([id])


def test_packed_bits_are_rescored_by_the_float_query(tmp_path: Path) -> None:
    for options in ({}, {"nlist": 20}):
        folder = tmp_path / str(len(options))
        builder = BinaryIndexBuilder(folder, contract=contract(DIMENSION), options=options)
        assert builder.add_vectors(BITS[:3000]) == 3000
        builder.add_vectors(iter(np.array_split(BITS[3000:], 7)), ids=map(str, range(3000, COUNT)))
        with builder.finish() as index:
            assert not list(folder.glob("*.int8"))
            assert index.info()["vectors"] == "none"
            index.verify()
            exact_scores = asymmetric(QUERIES[0], BITS)
            with BinaryIndex.open(folder, options=EVERYTHING) as thorough:
                hits = thorough.search(QUERIES[0], 20)
            np.testing.assert_allclose([h.score for h in hits], np.sort(exact_scores)[::-1][:20], atol=1e-5)
            assert [h.score for h in hits] == pytest.approx([exact_scores[int(h.record.id)] for h in hits], abs=1e-5)
            index.add([Record("float")], VECTORS[:1])
            np.testing.assert_array_equal(index.reconstruct("float"), BITS[0])


@pytest.mark.parametrize("filter", [None, {"third": 1}])
def test_a_system_that_cannot_be_asked_for_pages(
    built: BinaryIndex, monkeypatch: pytest.MonkeyPatch, filter: Any
) -> None:
    monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    with BinaryIndex.open(built.folder, options=EVERYTHING) as index:
        rows = np.arange(COUNT) if filter is None else np.arange(1, COUNT, 3)
        assert found(index, QUERIES[0], 30, filter) == exact(QUERIES[0], 30, rows)


# merge


def test_merging_takes_everything_over(tmp_path: Path) -> None:
    with BinaryIndex.create(tmp_path / "a", CONTRACT) as a, BinaryIndex.create(tmp_path / "b", CONTRACT) as b:
        add(a, {"1": 1, "2": 1, "3": 1})
        add(b, {"2": 2, "4": 2, "5": 2})
        b.delete("5")
        b.compact()
        assert a.merge(b) == 2
        assert state_of(a) == {"1": 1, "2": 2, "3": 1, "4": 2}
        check_vectors(a, state_of(a))
        a.verify()
        assert state_of(b) == {"2": 2, "4": 2}
        with pytest.raises(EngineError, match="itself"):
            a.merge(a)


def test_merging_another_contract_or_into_more_than_is_there(tmp_path: Path) -> None:
    other = Contract.of(ModelProfile(name="other", width=12))
    with BinaryIndex.create(tmp_path / "a", CONTRACT) as a, BinaryIndex.create(tmp_path / "b", other) as b:
        with pytest.raises(ContractMismatch):
            a.merge(b)
    with (
        BinaryIndex.open(tmp_path / "a") as a,
        BinaryIndex.create(tmp_path / "c", CONTRACT, options={"vectors": "none"}) as c,
    ):
        add(a, {"1": 1})
        with pytest.raises(EngineError, match="no int8"):
            a.merge(c)
        c.merge(a)
        assert c.count() == 1


# calibration


@pytest.mark.parametrize("lists", [None, 40])
def test_calibration_reaches_its_target(tmp_path: Path, lists: int | None) -> None:
    with build(tmp_path / "index", **({} if lists is None else {"nlist": lists})) as index:
        low, high = index.calibrate(0.5, sample=50), index.calibrate(0.99, sample=50)
        assert low.recall >= 0.5 and high.recall >= 0.99
        assert low.parameters.candidates < high.parameters.candidates
        assert high.reached
        given = index.calibrate(0.9, QUERIES)
        measured = recall(index, np.arange(COUNT))
        assert measured == pytest.approx(given.recall, abs=0.02)
    with BinaryIndex.open(tmp_path / "index") as again:
        assert recall(again, np.arange(COUNT)) == measured
        assert again.info()["search"]["calibrated"]


@pytest.mark.parametrize("target", [0, -1, 1.1])
def test_a_target_is_a_share(built: BinaryIndex, target: float) -> None:
    with pytest.raises(InvalidInput, match="target_recall"):
        built.calibrate(target)


def test_an_empty_index_has_nothing_to_calibrate_compact_or_merge(tmp_path: Path) -> None:
    with BinaryIndex.create(tmp_path / "index", CONTRACT, options={"nlist": 5}) as index:
        with pytest.raises(InvalidInput, match="no records"):
            index.calibrate()
        index.compact()
        assert index.search(vector("1", 1)) == index.range_search(vector("1", 1), 12) == []
        assert index.search_batch([vector("1", 1)]) == [[]]
        index.verify()
        add(index, {"1": 1})
        index.delete("1")
        index.compact()
        assert state_of(index) == {}
        add(index, {"2": 1})
        check_vectors(index, {"2": 1})


# damage


def test_verify_finds_every_changed_byte(tmp_path: Path) -> None:
    with build(tmp_path / "index", nlist=8) as index:
        index.add(RECORDS[:100], VECTORS[:100])
        index.verify()
    random = np.random.default_rng(0)
    names = [
        path.name for path in (tmp_path / "index").iterdir() if path.suffix in (".faiss", ".int8", ".int64", ".float32")
    ]
    assert len(names) == 6
    for name in names:
        path = tmp_path / "index" / name
        content = path.read_bytes()
        start = {".faiss": 33, ".int8": 4096}.get(path.suffix, 0)
        changed = bytearray(content)
        changed[random.integers(start, len(content))] ^= 1
        path.write_bytes(changed)
        with pytest.raises(IndexDamaged, match=name), BinaryIndex.open(tmp_path / "index") as index:
            index.verify()
        path.write_bytes(content)
    with BinaryIndex.open(tmp_path / "index") as index:
        index.verify()


@pytest.mark.parametrize("name", ["order", "places", "centroids", "offsets", "codes", "vectors"])
def test_a_listed_index_with_damaged_files(tmp_path: Path, name: str) -> None:
    with build(tmp_path / "index", nlist=8) as index:
        index.delete(["1", "2"])
    (path,) = (tmp_path / "index").glob(f"{name}.*")
    content = path.read_bytes()
    random = np.random.default_rng(1)
    for attempt in range(20):
        changed = bytearray(content)
        for position in random.integers(0, len(content) if attempt % 2 else min(200, len(content)), 40):
            changed[position] = random.integers(256)
        path.write_bytes(changed if attempt else content[:-1])
        try:
            with BinaryIndex.open(tmp_path / "index") as index:
                for filter in (None, {"third": 1}, {"rare": True}):
                    index.search(QUERIES[0], 10, filter)
                index.reconstruct("77")
        except EngineError:
            continue
        assert attempt, "a truncated file was opened"
