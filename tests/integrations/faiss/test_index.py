"""What is particular to the binary index: its exactness, its files, the encoder settings it remembers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task
from jinavec.backends.base import Backend, Report
from jinavec.errors import ContractMismatch, EngineError, InvalidInput, InvalidType
from jinavec.vectors import Bits, Float32, binarize, hamming, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, State, add, check_vectors, state_of, vector

faiss: Any = import_module("faiss")
rng = np.random.default_rng


def contract(dimension: int) -> Contract:
    return Contract.of(ModelProfile(name="tests", width=dimension))


def clustered(count: int, dimension: int, seed: int) -> Float32:
    """Vectors in clusters of about forty, like texts on many topics."""
    random = rng(seed)
    centres = rng(0).standard_normal((count // 40 + 1, dimension), dtype=np.float32)
    chosen = centres[random.integers(0, len(centres), count)]
    return normalize(chosen + random.standard_normal((count, dimension), dtype=np.float32))


class Large:
    """An index with more vectors than are scored without a Hamming scan; every candidate is scored by int8."""

    def __init__(self, folder: Path, count: int, dimension: int) -> None:
        self.vectors = clustered(count, dimension, 1)
        self.int8 = to_int8(self.vectors).astype(np.float64)
        self.int8 /= np.linalg.norm(self.int8, axis=1, keepdims=True)
        self.bits = binarize(self.vectors)
        self.index = BinaryIndex.create(folder, contract(dimension), options={"rescore": 10**6})
        records = [Record(str(row), "", {"row": row} if row % 20 == 0 else {}) for row in range(count)]
        self.index.add(records, self.vectors)
        self.queries = normalize(clustered(10, dimension, 2) + self.vectors[:10])

    def check(self, query: Float32, k: int, rows: NDArray[np.int64], filter: Any = None, candidates: int = 400) -> None:
        """The hits are the best by int8 of the nearest by Hamming; of equally near ones, any may be left out.

        Of longer codes the first 256 bits are looked at first, so that some hits may be farther than all candidates.
        """
        hits = self.index.search(query, k, filter)
        found = [int(hit.record.id) for hit in hits]
        assert len(set(found)) == len(found) == min(k, len(rows))
        assert set(found) <= set(rows.tolist())
        scores = self.int8 @ query.astype(np.float64)
        np.testing.assert_allclose([hit.score for hit in hits], scores[found], atol=2e-6)
        distances = hamming(binarize(query), self.bits[rows])
        reach = np.sort(distances)[min(candidates, len(rows)) - 1]
        assert self.bits.shape[1] > 32 or hamming(binarize(query), self.bits[found]).max() <= reach
        certain = rows[distances < reach]
        better = certain[scores[certain] > scores[found].min() + 2e-6]
        assert set(better.tolist()) <= set(found)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    large = Large(tmp_path_factory.mktemp("wide") / "index", 6000, 1024)
    yield large
    large.index.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    large = Large(tmp_path_factory.mktemp("long") / "index", 70_000, 64)
    yield large
    large.index.close()


# exactness


@pytest.mark.parametrize("k", [1, 10, 25])
def test_the_candidates_are_the_nearest_by_hamming(wide: Large, k: int) -> None:
    for query in wide.queries:
        wide.check(query, k, np.arange(6000), candidates=max(400, 40 * k))


def test_recall_of_clustered_vectors(wide: Large) -> None:
    found = 0
    with BinaryIndex.open(wide.index.folder) as index:
        for query in wide.queries:
            exact = set(np.argsort(-(wide.vectors @ query))[:10].tolist())
            found += len(exact & {int(hit.record.id) for hit in index.search(query, 10)})
    assert found >= 97


def test_a_filter_that_leaves_few_searches_them_all(wide: Large) -> None:
    rows = np.arange(0, 6000, 20)
    for query in wide.queries:
        wide.check(query, 300, rows, {"row": {"gte": 0}}, candidates=6000)


def test_deleted_rows_are_not_scanned(wide: Large) -> None:
    query = wide.queries[0]
    gone = [hit.record for hit in wide.index.search(query, 300)]
    rows = np.setdiff1d(np.arange(6000), [int(record.id) for record in gone])
    wide.index.delete(record.id for record in gone)
    wide.check(query, 10, rows)
    wide.check(query, 10, np.setdiff1d(rows, np.arange(0, 6000, 20)), {"not": {"row": {"gte": 0}}})
    wide.check(query, 10**6, rows, candidates=6000)
    wide.index.add(gone, wide.vectors[[int(record.id) for record in gone]])
    wide.check(query, 10, np.arange(6000))


def test_many_rows(long: Large) -> None:
    candidates = 400 * 1024 // 64
    for query in long.queries[:3]:
        long.check(query, 10, np.arange(70_000), candidates=candidates)
    gone = long.index.get(str(row) for row in range(0, 70_000, 100))
    long.index.delete(record.id for record in gone)
    rows = np.flatnonzero(np.arange(70_000) % 100)
    for query in long.queries[:3]:
        long.check(query, 10, rows, candidates=candidates)


def test_ties_go_to_the_older_record(index: BinaryIndex) -> None:
    same = vector("1", 1)
    ids = [str(number) for number in rng(0).permutation(200)]
    index.add([Record(id) for id in ids], np.tile(same, (200, 1)))
    hits = index.search(same, 200)
    assert [hit.record.id for hit in hits] == ids
    assert len({hit.score for hit in hits}) == 1


@pytest.mark.parametrize("dimension", [1, 7, 8, 12, 33, 768])
def test_any_dimension(tmp_path: Path, dimension: int) -> None:
    vectors = normalize(rng(dimension).standard_normal((50, dimension)))
    with BinaryIndex.create(tmp_path / "index", contract(dimension)) as index:
        index.add([Record(str(row)) for row in range(50)], vectors)
        hits = index.search(vectors[3], 50)
        exact = vectors @ vectors[3]
        assert [hit.score for hit in hits] == pytest.approx([exact[int(hit.record.id)] for hit in hits], abs=0.01)


def test_opposite_vectors_score_minus_one(index: BinaryIndex) -> None:
    index.add([Record("1")], [vector("1", 1)])
    assert index.search(-vector("1", 1), 1)[0].score == pytest.approx(-1, abs=1e-3)


# the files


@pytest.mark.parametrize("dimension", [12, 1024])
def test_faiss_opens_the_codes_by_itself(tmp_path: Path, dimension: int) -> None:
    vectors = normalize(rng(1).standard_normal((300, dimension)))
    padded = np.pad(vectors, ((0, 0), (0, -dimension % 8)))
    with BinaryIndex.create(tmp_path / "index", contract(dimension)) as index:
        assert faiss.read_index_binary(str(tmp_path / "index" / "codes.faiss")).ntotal == 0
        for start in range(0, 300, 100):
            index.add([Record(str(row)) for row in range(start, start + 100)], vectors[start : start + 100])
            _check_codes(tmp_path / "index" / "codes.faiss", binarize(padded[: start + 100]))


def _check_codes(path: Path, bits: Bits) -> None:
    for flags in (0, faiss.IO_FLAG_MMAP_IFC):
        plain = faiss.read_index_binary(str(path), flags)
        assert (type(plain).__name__, plain.d, plain.ntotal) == ("IndexBinaryFlat", bits.shape[1] * 8, len(bits))
        distances, rows = plain.search(bits[:5], len(bits))
        for query in range(5):
            np.testing.assert_array_equal(distances[query], hamming(bits[query], bits[rows[query]]))
    written = faiss.IndexBinaryFlat(bits.shape[1] * 8)
    written.add(bits)
    faiss.write_index_binary(written, str(path.with_name("theirs")))
    assert path.with_name("theirs").read_bytes() == path.read_bytes()
    path.with_name("theirs").unlink()


def test_leftovers_of_a_writer_that_died(index: BinaryIndex) -> None:
    add(index, {"1": 1, "2": 1})
    index.close()
    for name in ("codes.faiss", "vectors.int8"):
        with (index.folder / name).open("ab") as file:
            file.write(b"rows of an addition that was never acknowledged")
    with BinaryIndex.open(index.folder) as again:
        assert state_of(again) == {"1": 1, "2": 1}
        add(again, {"2": 2, "3": 2})
        state: State = {"1": 1, "2": 2, "3": 2}
        assert state_of(again) == state
        check_vectors(again, state)
    assert faiss.read_index_binary(str(index.folder / "codes.faiss")).ntotal == 4
    assert (index.folder / "vectors.int8").stat().st_size == 4096 + 4 * 12


def test_info_counts_records_rows_and_bytes(index: BinaryIndex) -> None:
    add(index, {"1": 1, "2": 1, "3": 1})
    add(index, {"3": 2})
    index.delete("1")
    info = index.info()
    assert (info["records"], info["rows"], info["deleted"]) == (2, 4, 2)
    assert info["bytes"]["codes.faiss"] == 33 + 4 * 2
    assert info["bytes"]["vectors.int8"] == 4096 + 4 * 12
    assert info["contract"] == CONTRACT.to_json()
    assert info["encoder"] is None
    assert info["format"] == 4


# the encoder and its settings


class Constant(Backend):
    name = "constant"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        return np.ones((len(texts), 64), np.float32)


def encoder(source: str) -> Encoder:
    """An encoder that was loaded with a source, and a password in its URL."""
    loaded = Encoder(ModelProfile(name="constant", width=64), Constant())
    settings = Encoder.load("lexical").settings
    assert settings is not None
    url = "https://user:secret@example.org/v1"
    loaded.settings = dataclasses.replace(settings, profile=loaded.profile, dimension=64, source=source, url=url)
    return loaded


def test_the_encoder_settings_are_remembered_without_secrets(tmp_path: Path) -> None:
    first, second = encoder("./models/one"), encoder("./models/two")
    with BinaryIndex.create(tmp_path / "index", first.contract, encoder=first) as index:
        assert index.settings is not None
        assert index.settings.source == "./models/one"
    with BinaryIndex.open(tmp_path / "index") as index:
        assert index.settings is not None
        assert index.settings.to_json() == first.settings.to_json()  # pyright: ignore[reportOptionalMemberAccess]
    with BinaryIndex.open(tmp_path / "index", encoder=second) as index:
        assert index.settings is not None and index.settings.source == "./models/one"
        index.search("a text")
        assert index.settings.source == "./models/one"
        index.add([Record("1", "a text")])
        assert index.settings.source == "./models/two"
    with BinaryIndex.open(tmp_path / "index") as index:
        assert index.settings is not None and index.settings.source == "./models/two"
        assert index.info()["encoder"]["source"] == "./models/two"
        index.add([Record("2")], np.ones((1, 64)))
        assert index.settings.source == "./models/two"
    for path in (tmp_path / "index").iterdir():
        assert b"secret" not in path.read_bytes()


def test_an_index_made_without_settings_learns_them(tmp_path: Path) -> None:
    known = encoder("here")
    BinaryIndex.create(tmp_path / "index", known.contract).close()
    with BinaryIndex.open(tmp_path / "index", encoder=known) as index:
        assert index.settings is None
        index.add([Record("1", "a text")])
    with BinaryIndex.open(tmp_path / "index") as index:
        assert index.settings is not None and index.settings.source == "here"


def test_an_encoder_of_another_contract_is_refused(tmp_path: Path) -> None:
    other = encoder("here")
    with pytest.raises(ContractMismatch, match="the contract has 12, the encoder has 64"):
        BinaryIndex.create(tmp_path / "index", CONTRACT, encoder=other)
    assert not (tmp_path / "index").exists()
    BinaryIndex.create(tmp_path / "index", CONTRACT).close()
    with pytest.raises(ContractMismatch, match="dimension: this index has 12, the encoder has 64"):
        BinaryIndex.open(tmp_path / "index", encoder=other)


def test_a_folder_that_was_made_again_under_another_contract(index: BinaryIndex) -> None:
    shutil.rmtree(index.folder)
    BinaryIndex.create(index.folder, contract(64)).close()
    with pytest.raises(EngineError, match="reopen the index"):
        index.add([Record("1")], [vector("1", 1)])


def test_packed_bits_go_where_bits_are_all_there_is(index: BinaryIndex, tmp_path: Path) -> None:
    bits = binarize(np.pad(normalize(rng(4).standard_normal((5, 12))), ((0, 0), (0, 4))))
    records = [Record(str(number)) for number in range(5)]
    with pytest.raises(InvalidInput, match="keeps int8 vectors"):
        index.add(records, bits)
    assert index.count() == 0
    with BinaryIndex.create(tmp_path / "bits", CONTRACT, options={"vectors": "none"}) as packed:
        assert packed.add(records[:2], bits[:2]) == 2
        assert packed.ingest(records, bits).added == 3
        np.testing.assert_array_equal(packed.reconstruct(map(str, range(5))), bits)


def test_only_changed_records_are_embedded_again(tmp_path: Path) -> None:
    known = encoder("here")
    with BinaryIndex.create(tmp_path / "index", known.contract, encoder=known) as index:
        index.add([Record("1", "one", {"a": 1, "b": [2]}), Record("2", "two"), Record("3", "three", {"a": 1})])
    same, text, metadata = Record("1", "one", {"b": (2,), "a": 1}), Record("2", "other"), Record("3", "three", {"a": 2})
    with BinaryIndex.open(tmp_path / "index", encoder=known) as index:
        done = index.ingest([same, text, metadata, Record("4")])
        assert (done.added, done.replaced, done.unchanged) == (1, 2, 1)
        assert index.get(["2", "3"]) == [text, metadata]


def test_the_manifest_is_readable(index: BinaryIndex) -> None:
    content = json.loads((index.folder / "manifest.json").read_text())
    assert content["format"] == "jinavec-faiss"
    assert content["bits"] == {"order": "msb", "one": "> 0"}
    assert Contract.from_json(content["contract"]) == CONTRACT


def test_what_is_imported_by_the_package() -> None:
    package = import_module("jinavec_integrations.faiss")
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_ids_and_stored_vectors(tmp_path: Path) -> None:
    vectors = normalize(rng(3).standard_normal((30, 20)))
    with BinaryIndex.create(tmp_path / "index", contract(20)) as index:
        assert index.ids() == [] and index.vectors(["a"]) == {}
        index.add([Record(str(number)) for number in range(30)], vectors)
        index.add([Record("3")], -vectors[3:4])
        index.delete(["5"])
        assert index.ids() == [str(number) for number in range(30) if number not in (3, 5)] + ["3"]
        stored = index.vectors(id for id in ("7", "5", "3", "no such id", "\ud800"))
        assert index.vectors("12").keys() == {"12"}
        with pytest.raises(InvalidType, match="ids are strings, not 7"):
            index.vectors([7])  # pyright: ignore[reportArgumentType]
    assert set(stored) == {"7", "3"}
    for id, wanted in (("7", vectors[7]), ("3", -vectors[3])):
        assert stored[id].dtype == np.float32
        np.testing.assert_allclose(stored[id], normalize(to_int8(wanted)), atol=1e-7)
