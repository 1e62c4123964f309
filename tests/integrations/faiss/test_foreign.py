"""The import of users' FAISS indexes, against FAISS itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jinavec import Progress, Record, open_engine
from jinavec.errors import EngineError, IndexDamaged, InvalidInput, InvalidType, InvalidVectors, JinavecError
from jinavec.vectors import Bits, Float32, asymmetric, binarize, normalize
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder

from .test_index import clustered, contract

faiss: Any = import_module("faiss")

COUNT, DIMENSION = 400, 64
VECTORS = clustered(COUNT, DIMENSION, 3) * 5  # not of unit length
BITS = binarize(VECTORS)
QUERIES = binarize(clustered(20, DIMENSION, 4))
GAPS: NDArray[np.int64] = np.arange(COUNT) * 7 - 50
REMOVED: NDArray[np.int64] = np.arange(0, COUNT, 3)
CONTRACT = contract(DIMENSION)


def filled(index: Any, vectors: Any, ids: Any = None) -> Any:
    if ids is None:
        index.add(vectors)
    else:
        index.add_with_ids(vectors, ids)
    return index


def removed(index: Any, ids: NDArray[np.int64]) -> Any:
    index.remove_ids(ids)
    return index


def ivf(ids: Any = None, nlist: int = 6) -> Any:
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(DIMENSION), DIMENSION, nlist)
    index.cp.min_points_per_centroid = 1
    index.nprobe = nlist
    index.train(BITS)
    return filled(index, BITS, ids)


def mapped(inner: Any, vectors: Any, kind: str) -> Any:
    return filled(getattr(faiss, kind)(inner), vectors, GAPS)


def flat() -> Any:
    return faiss.IndexBinaryFlat(DIMENSION)


BINARY: dict[str, tuple[Callable[[], Any], NDArray[np.int64]]] = {
    "flat": (lambda: filled(flat(), BITS), np.arange(COUNT)),
    "hnsw": (lambda: filled(faiss.IndexBinaryHNSW(DIMENSION, 8), BITS), np.arange(COUNT)),
    "ivf": (ivf, np.arange(COUNT)),
    "ivf with ids": (lambda: ivf(GAPS[::-1].copy()), GAPS[::-1]),
    "ivf less some": (lambda: removed(ivf(), REMOVED), np.arange(COUNT)),
    "map": (lambda: mapped(flat(), BITS, "IndexBinaryIDMap"), GAPS),
    "map 2": (lambda: mapped(flat(), BITS, "IndexBinaryIDMap2"), GAPS),
    "map less some": (lambda: removed(mapped(flat(), BITS, "IndexBinaryIDMap2"), GAPS[REMOVED]), GAPS),
    "map of hnsw": (lambda: mapped(faiss.IndexBinaryHNSW(DIMENSION, 8), BITS, "IndexBinaryIDMap2"), GAPS),
    "map of ivf": (lambda: mapped(removed(ivf(), np.arange(COUNT)), BITS, "IndexBinaryIDMap2"), GAPS),
}
"""Binary indexes, and the id of each of the codes that were added."""
FLOAT: dict[str, tuple[Callable[[], Any], NDArray[np.int64]]] = {
    "ip": (lambda: filled(faiss.IndexFlatIP(DIMENSION), VECTORS), np.arange(COUNT)),
    "l2": (lambda: filled(faiss.IndexFlatL2(DIMENSION), VECTORS), np.arange(COUNT)),
    "flat": (lambda: filled(faiss.IndexFlat(DIMENSION, faiss.METRIC_INNER_PRODUCT), VECTORS), np.arange(COUNT)),
    "map of ip": (lambda: mapped(faiss.IndexFlatIP(DIMENSION), VECTORS, "IndexIDMap"), GAPS),
    "map 2 of l2": (lambda: mapped(faiss.IndexFlatL2(DIMENSION), VECTORS, "IndexIDMap2"), GAPS),
}


def written(index: Any, path: Path) -> Path:
    write = faiss.write_index_binary if isinstance(index, faiss.IndexBinary) else faiss.write_index
    write(index, str(path))
    return path


def imported(source: Any, folder: Path, way: str, **how: Any) -> BinaryIndex:
    if way == "builder":
        with BinaryIndexBuilder(folder, contract=CONTRACT) as builder:
            builder.add_faiss(source, **how)
            return builder.finish()
    return BinaryIndex.import_faiss(source, folder, contract=CONTRACT, **how)


@pytest.mark.parametrize("way", ["import", "builder"])
@pytest.mark.parametrize("name", BINARY)
def test_binary_indexes(tmp_path: Path, name: str, way: str) -> None:
    make, ids = BINARY[name]
    source = written(make(), tmp_path / "theirs") if way == "import" else make()
    alive = np.setdiff1d(np.arange(COUNT), REMOVED) if "less" in name else np.arange(COUNT)
    with imported(source, tmp_path / "ours", way) as ours:
        assert sorted(ours.ids()) == sorted(map(str, ids[alive].tolist()))
        np.testing.assert_array_equal(ours.reconstruct(map(str, ids[alive].tolist())), BITS[alive])
        assert ours.vector_precision == "bits"
        distances, _ = filled(flat(), BITS[alive]).search(QUERIES, 10)  # exact, as HNSW is not
        for hits, nearest in zip(ours.search_batch(QUERIES, 10), distances, strict=True):
            np.testing.assert_allclose([hit.score for hit in hits], 1 - 2 * nearest / DIMENSION, atol=1e-5)
        ours.verify()


@pytest.mark.parametrize("name", ["ivf with ids", "ivf less some", "map less some"])
def test_ids_are_those_that_faiss_finds(tmp_path: Path, name: str) -> None:
    theirs = BINARY[name][0]()
    distances, labels = theirs.search(QUERIES, 5)
    with imported(theirs, tmp_path / "ours", "import") as ours:
        for query, near, found in zip(QUERIES, distances, labels, strict=True):
            within = {int(record.id): distance for record, distance in ours.range_search(query, int(near[-1]))}
            assert within.items() >= dict(zip(found.tolist(), near.tolist(), strict=True)).items()


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("name", FLOAT)
def test_float_indexes(tmp_path: Path, name: str, as_file: bool) -> None:
    make, ids = FLOAT[name]
    source = written(make(), tmp_path / "theirs") if as_file else make()
    names = [str(id) for id in ids.tolist()]
    with imported(source, tmp_path / "ours", "import") as ours:
        assert ours.ids() == names
        assert ours.vector_precision == "int8"
        np.testing.assert_array_equal(ours.reconstruct(names), BITS)
        stored = ours.vectors(names)
        np.testing.assert_allclose(np.stack([stored[id] for id in names]), normalize(VECTORS), atol=0.005)
        exact, _ = filled(faiss.IndexFlatIP(DIMENSION), normalize(VECTORS)).search(normalize(VECTORS[:5]), 10)
        for hits, scores in zip(ours.search_batch(VECTORS[:5], 10), exact, strict=True):
            np.testing.assert_allclose([hit.score for hit in hits], scores, atol=0.02)


def least_significant_first() -> Bits:
    codes = np.empty((COUNT, DIMENSION // 8), np.uint8)
    faiss.fvecs2bitvecs(*map(faiss.swig_ptr, (VECTORS, codes)), DIMENSION, COUNT)
    return codes


def test_the_order_of_bits(tmp_path: Path) -> None:
    codes = least_significant_first()
    assert not np.array_equal(codes, BITS)
    query: Float32 = normalize(VECTORS[7])
    best = np.sort(asymmetric(query, BITS))[::-1][:10]
    with imported(filled(flat(), codes), tmp_path / "right", "import", bit_order="lsb") as ours:
        np.testing.assert_array_equal(ours.reconstruct(map(str, range(COUNT))), BITS)
        np.testing.assert_allclose([hit.score for hit in ours.search(query, 10)], best, atol=1e-5)
    with imported(filled(flat(), codes), tmp_path / "wrong", "builder") as ours:
        np.testing.assert_array_equal(ours.reconstruct(map(str, range(COUNT))), codes)
    with pytest.raises(InvalidInput, match="bit_order must be 'msb' or 'lsb', not 'little'"):
        imported(filled(flat(), codes), tmp_path / "none", "import", bit_order="little")


@pytest.mark.parametrize("name", ["flat", "ivf with ids", "map"])
def test_records_and_ids_in_the_order_of_the_index(tmp_path: Path, name: str) -> None:
    make, ids = BINARY[name]
    order = np.argsort(ids) if "ivf" in name else np.arange(COUNT)
    records = [Record(f"note {row}", f"text {row}", {"row": row}) for row in order.tolist()]
    with imported(make(), tmp_path / "records", "import", records=iter(records)) as ours:
        assert ours.get("note 9") == Record("note 9", "text 9", {"row": 9})
        np.testing.assert_array_equal(ours.reconstruct([f"note {row}" for row in range(COUNT)]), BITS)
    with imported(make(), tmp_path / "ids", "builder", ids=(record.id for record in records)) as ours:
        np.testing.assert_array_equal(ours.reconstruct([f"note {row}" for row in range(COUNT)]), BITS)


def test_an_id_twice_does_not_count_beside_ids_that_are_given(tmp_path: Path) -> None:
    with imported(twice(), tmp_path / "ours", "builder", ids=map(str, range(COUNT))) as ours:
        np.testing.assert_array_equal(ours.reconstruct(map(str, range(COUNT))), BITS)
    with pytest.raises(InvalidInput, match="with the id -4"):  # of an IVF nobody knows which was the first
        imported(ivf(GAPS // 14), tmp_path / "none", "builder", ids=map(str, range(COUNT)))


def test_several_into_one(tmp_path: Path) -> None:
    """What has no ids is numbered on; progress tells how far it is."""
    with BinaryIndexBuilder(tmp_path / "ours", contract=CONTRACT) as builder:
        assert builder.add_faiss(filled(flat(), BITS[:100])) == 100
        assert builder.add_faiss(filled(flat(), BITS[100:])) == COUNT - 100
        with builder.finish() as ours:
            np.testing.assert_array_equal(ours.reconstruct(map(str, range(COUNT))), BITS)
    told: list[Progress] = []
    imported(filled(flat(), BITS), tmp_path / "other", "import", progress=told.append).close()
    assert (told[-1].phase, told[-1].done, told[-1].total) == ("ingest", COUNT, COUNT)


def test_options_and_empty_indexes(tmp_path: Path) -> None:
    with imported(filled(flat(), BITS), tmp_path / "lists", "import", options={"nlist": 4}) as ours:
        assert ours.info()["plan"] == "4 lists, as asked"
    with imported(FLOAT["ip"][0](), tmp_path / "bits", "import", options={"vectors": "none"}) as ours:
        assert ours.vector_precision == "bits"
    with pytest.raises(InvalidInput, match="holds packed bits: no int8"):
        imported(filled(flat(), BITS), tmp_path / "none", "import", options={"vectors": "int8"})
    (tmp_path / "empty").mkdir()
    for number, empty in enumerate((flat(), removed(ivf(), np.arange(COUNT)), faiss.IndexFlatL2(DIMENSION))):
        for source in (empty, written(empty, tmp_path / "theirs")):
            with imported(source, tmp_path / "empty", "import") as ours:
                assert ours.count() == 0, number
            with imported(source, tmp_path / "built", "builder") as ours:
                assert ours.count() == 0
            for folder in ("empty", "built"):
                remove(tmp_path / folder)


def remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def changed(row: int, value: float) -> Float32:
    vectors = VECTORS.copy()
    vectors[row] = value
    return vectors


def one_nan() -> Float32:
    vectors = VECTORS.copy()
    vectors[8, 3] = np.nan
    return vectors


def twice() -> Any:
    ids = GAPS.copy()
    ids[300] = ids[3]
    return filled(faiss.IndexBinaryIDMap2(flat()), BITS, ids)


def trained(index: Any) -> Any:
    index.train(VECTORS)
    return filled(index, VECTORS)


def factory(description: str) -> Any:
    return trained(faiss.index_factory(DIMENSION, description))


REFUSED: list[tuple[str, Callable[[], Any], str]] = [
    ("zero", lambda: filled(faiss.IndexFlatIP(DIMENSION), changed(5, 0)), "with the id 5 is all zeros"),
    ("infinity", lambda: filled(faiss.IndexFlatIP(DIMENSION), changed(5, np.inf)), "id 5 holds NaN or infinity"),
    ("nan", lambda: mapped(faiss.IndexFlatL2(DIMENSION), one_nan(), "IndexIDMap"), "id 6 holds NaN or infinity"),
    (
        "codes",
        lambda: filled(faiss.IndexBinaryFlat(128), np.tile(BITS, 2)),
        "16 bytes; the contract says 64 .*8 bytes",
    ),
    ("floats", lambda: filled(faiss.IndexFlatL2(32), VECTORS[:, :32].copy()), "32 dimensions; .* says 64 dimensions"),
    ("twice", twice, "more than one vector with the id -29"),
    ("ivf twice", lambda: ivf(GAPS // 14), "more than one vector with the id -4"),
    ("hnsw", lambda: factory("HNSW8"), "the type IndexHNSWFlat cannot be imported; .* IndexBinaryFlat, .* IDMap2$"),
    ("pq", lambda: factory("PQ4x4"), "IndexPQ cannot be imported"),
    ("ivf", lambda: factory("IVF2,Flat"), "IndexIVFFlat cannot be imported"),
    ("pca", lambda: factory("PCA32,Flat"), "IndexPreTransform cannot be imported"),
    ("refine", lambda: factory("PQ4x4,RFlat"), "IndexRefineFlat cannot be imported"),
    (
        "map of hnsw",
        lambda: mapped(faiss.IndexHNSWFlat(DIMENSION, 8), VECTORS, "IndexIDMap2"),
        "IndexHNSWFlat cannot be imported",
    ),
    (
        "map of ivf",
        lambda: removed(mapped(removed(ivf(), np.arange(COUNT)), BITS, "IndexBinaryIDMap2"), GAPS[5:6]),
        "its IDMap has other ids than the index inside has vectors",
    ),
]


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_refused_leaves_nothing(tmp_path: Path, make: Callable[[], Any], message: str) -> None:
    index = make()
    path = written(index, tmp_path / "theirs")
    for source, way in ((index, "import"), (path, "import"), (path, "builder")):
        with pytest.raises((InvalidInput, InvalidVectors), match=message):
            imported(source, tmp_path / "ours", way)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"ids": ["a", "b"]}, "holds 400 vectors, and there are ids for 2 only"),
        ({"ids": map(str, range(401))}, "holds 400 vectors, and there are more ids"),
        ({"ids": ["a"] * 400}, "the id 'a' is given more than once"),
        ({"records": [Record(str(row % 399)) for row in range(400)]}, "the id '0' is given more than once"),
        ({"ids": ["a"], "records": [Record("a")]}, "not both"),
    ],
)
def test_ids_that_do_not_fit_leave_nothing(tmp_path: Path, how: Any, message: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("jinavec_integrations.faiss.search.foreign._ROWS", 150)  # found after some are stored
    with pytest.raises(InvalidInput, match=message):
        imported(filled(flat(), BITS), tmp_path / "deep" / "ours", "import", **how)
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep"]


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    imported(filled(flat(), BITS), tmp_path / "ours", "import").close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    for name, message in (("ours", "already holds an index"), ("other", "not empty")):
        with pytest.raises(EngineError, match=message):
            imported(filled(flat(), BITS), tmp_path / name, "import")
    assert open_engine(f"faiss:{tmp_path / 'ours'}").count() == COUNT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "ours"]


def test_no_index_of_faiss(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Item one of a long list of items, none of them a vector\n" * 10)
    (tmp_path / "short").write_bytes(b"IBxF")
    for source, message in (
        (tmp_path / "absent", "cannot read .*absent: No such file"),
        (tmp_path, "is not an index file of FAISS"),
        (tmp_path / "text", "is not an index file of FAISS"),
        (tmp_path / "short", "is not an index file of FAISS"),
        ("a\0b", "cannot read"),
    ):
        with pytest.raises(InvalidInput, match=message):
            imported(source, tmp_path / "ours", "import")
    with pytest.raises(InvalidType, match="an index of FAISS or the path of its file, not array"):
        imported(BITS, tmp_path / "ours", "import")
    wrong: Any = "tests"
    with pytest.raises(InvalidType, match="contract must be a Contract"):
        BinaryIndex.import_faiss(filled(flat(), BITS), tmp_path / "ours", contract=wrong)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("name", ["flat", "hnsw", "ivf", "map", "float map"])
def test_a_file_that_is_cut(tmp_path: Path, name: str) -> None:
    """At every byte of the headers, at some of the rest."""
    index = FLOAT["map of ip"][0]() if name == "float map" else BINARY[name][0]()
    content = written(index, tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    for size in [*range(8, 120), *range(120, len(content), len(content) // 50), *range(len(content) - 9, len(content))]:
        cut.write_bytes(content[:size])
        with pytest.raises(InvalidInput, match="FAISS cannot read .*cut, of|cut is damaged: it ends within a list"):
            imported(cut, tmp_path / "ours", "import")


@pytest.mark.slow
def test_damaged_files_never_crash(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = [written(make(), tmp_path / "whole").read_bytes() for make, _ in [*BINARY.values(), *FLOAT.values()]]
    for _ in range(150):
        content = bytearray(files[random.integers(len(files))])
        start = int(random.integers(4, min(len(content) - 8, 400)))
        number = int(random.choice([2**63 - 1, 2**61, 2**40, 2**31, 37, 0, -1]))
        content[start : start + 8] = number.to_bytes(8, "little", signed=True)
        (tmp_path / "damaged").write_bytes(content)
        try:
            with BinaryIndexBuilder(tmp_path / "ours", contract=CONTRACT) as builder:
                builder.add_faiss(tmp_path / "damaged")
                builder.finish().close()
        except JinavecError:
            pass
        if (tmp_path / "ours").exists():
            remove(tmp_path / "ours")


@pytest.mark.parametrize("name", ["binary", "float"])
def test_opening_a_faiss_file_tells_how_to_import_it(tmp_path: Path, name: str) -> None:
    make, _ = BINARY["flat"] if name == "binary" else FLOAT["map of ip"]
    path = written(make(), tmp_path / "x.faiss")
    for open_it in (
        lambda: BinaryIndex.open(path),
        lambda: open_engine(f"faiss:{path}"),
        lambda: open_engine(f"faiss:{path}", contract=CONTRACT),
        lambda: BinaryIndex.create(path, CONTRACT),
    ):
        with pytest.raises(IndexDamaged, match=r"x.faiss is an index file of FAISS, .* jinavec index .*x.faiss --to"):
            open_it()
    code = "import sys, jinavec\ntry: jinavec.open_engine(sys.argv[1])\nexcept jinavec.errors.IndexDamaged:"
    code += " sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, f"faiss:{path}"], check=False).returncode == 0


_MEASURE = """
import sys
from pathlib import Path
from jinavec import Contract, ModelProfile
from jinavec_integrations.faiss import BinaryIndex

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

contract = Contract.of(ModelProfile(name="tests", width=int(sys.argv[3])))
few, many = sys.argv[1:3]
BinaryIndex.import_faiss(few, few + ".index", contract=contract).close()
before = peak()
BinaryIndex.import_faiss(many, many + ".index", contract=contract).close()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_import_takes_the_memory_of_a_few_batches(tmp_path: Path) -> None:
    width = 512
    codes = np.random.default_rng(0).integers(0, 256, (200_000, width), dtype=np.uint8)
    for name, count in (("few", 20_000), ("many", len(codes))):
        index = filled(faiss.IndexBinaryFlat(8 * width), codes[:count])
        faiss.write_index_binary(index, str(tmp_path / name))
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "few"), str(tmp_path / "many"), str(8 * width)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown * 1024 < codes.nbytes / 3
