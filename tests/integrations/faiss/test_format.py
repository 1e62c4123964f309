"""FORMAT.md is true: a reader written from it alone finds what BinaryIndex finds, and checksums are as it says."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, ModelProfile, Record
from jinavec.errors import EngineError
from jinavec.vectors import Bits, normalize
from jinavec_integrations import faiss as package
from jinavec_integrations.faiss import BinaryIndex

from . import reader
from .child import CONTRACT, add, vector
from .format3.write import KINDS
from .test_format3 import unpack

PACKAGE = Path(str(package.__file__)).parent
WIDE = Contract.of(ModelProfile(name="tests", width=64))


# indexes of every kind


def changed(index: BinaryIndex) -> None:
    add(index, {str(id): 2 for id in range(5, 15)}, "größer, 蓝: ")
    index.delete(["1", "7", "30"])


def compacted(index: BinaryIndex) -> None:
    changed(index)
    index.compact()


def appended(index: BinaryIndex) -> None:
    compacted(index)
    add(index, {str(id): 3 for id in range(12, 50)})
    index.delete(["2", "13"])


def compacted_twice(index: BinaryIndex) -> None:
    appended(index)
    index.compact()
    index.delete(["3"])


def emptied(index: BinaryIndex) -> None:
    index.delete(index.ids())
    index.compact()
    add(index, {"5": 4, "8": 4})


def untouched(_: BinaryIndex) -> None:
    """Leaves it as it is."""


CASES: dict[str, tuple[Contract, dict[str, Any], Callable[[BinaryIndex], None]]] = {
    "flat": (WIDE, {}, untouched),
    "odd dimension": (CONTRACT, {}, untouched),
    "changed": (CONTRACT, {}, changed),
    "compacted": (CONTRACT, {}, compacted),
    "appended": (CONTRACT, {}, appended),
    "lists": (CONTRACT, {"nlist": 4}, appended),
    "lists, wide": (WIDE, {"nlist": 3}, appended),
    "compacted twice": (CONTRACT, {"nlist": 4}, compacted_twice),
    "bits only": (CONTRACT, {"vectors": "none"}, changed),
    "bits only, lists": (WIDE, {"vectors": "none", "nlist": 4}, appended),
    "emptied": (CONTRACT, {}, emptied),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of every kind, in a folder of its name."""
    folder = tmp_path_factory.mktemp("built")
    for name, (contract, options, change) in CASES.items():
        with BinaryIndex.create(folder / name, contract, options=options) as index:
            add(index, {str(id): 1 for id in range(40)})
            change(index)
    return folder


@pytest.fixture(params=CASES)
def folder(request: pytest.FixtureRequest, built: Path, tmp_path: Path) -> Path:
    """A copy of one of them."""
    return shutil.copytree(built / request.param, tmp_path / "index")


def check(folder: Path) -> None:
    """The reader finds the records of an index, their bits and vectors, and the best by an exact search."""
    with BinaryIndex.open(folder) as index:
        rows = list(reader.read(folder))
        ids = [id for id, *_ in rows]
        assert ids == index.ids()
        assert [Record(id, text, metadata) for id, text, metadata, *_ in rows] == index.get(ids)
        np.testing.assert_array_equal([bits for *_, bits, _ in rows], index.reconstruct(ids))
        stored = index.vectors(ids)
        has_bits_only = index.vector_precision == "bits"
        for id, *_, bits, int8 in rows:
            assert (int8 is None) == has_bits_only
            signs = np.unpackbits(bits)[: index.contract.dimension] * 2.0 - 1
            np.testing.assert_allclose(normalize(signs if int8 is None else int8), stored[id], atol=1e-6)
            if int8 is not None:
                assert np.abs(int8.astype(int)).max() == 127
            assert not np.unpackbits(bits)[index.contract.dimension :].any()
        for seed in range(3):
            query = vector("1000", seed, index.contract.dimension)
            hits = index.search(query, 10)
            expected = reader.search(folder, query, 10)
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-5)
            assert [hit.record.id for hit in hits] == [id for id, _ in expected]


def test_a_reader_written_from_the_page_finds_the_same(folder: Path) -> None:
    check(folder)


@pytest.mark.parametrize("name", KINDS)
def test_it_reads_version_3(name: str, tmp_path: Path) -> None:
    check(unpack(name, tmp_path / name))


def test_the_reader_is_short_and_knows_nothing_of_jinavec() -> None:
    source = Path(reader.__file__).read_text("utf-8")
    assert len(source.splitlines()) <= 60
    assert re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE) == [
        *("hashlib", "json", "sqlite3", "collections", "contextlib", "pathlib", "typing", "numpy")
    ]


# a compaction that is going on, or was killed at its end


def test_the_reader_reads_beside_a_compaction(folder: Path) -> None:
    with BinaryIndex.open(folder) as index:
        seen: list[list[str]] = []
        index.compact(lambda _: seen.append([id for id, *_ in reader.read(folder)]))
        assert seen
        assert all(ids == index.ids() for ids in seen)


@pytest.mark.parametrize("commits", [False, True])
def test_a_compaction_killed_before_the_manifest_is_renamed(folder: Path, commits: bool) -> None:
    """Every file of the next generation is there; whether it counts, SQLite says."""
    saved = folder.with_name("saved")
    shutil.copytree(folder, saved)
    with BinaryIndex.open(saved) as index:
        before = json.loads((folder / "manifest.json").read_bytes())["generation"]
        index.compact()
        expected = index.ids()
    for path in saved.iterdir():
        if re.search(rf"\.{before + 1}\.", path.name) or (commits and path.name.startswith("records.sqlite")):
            shutil.copy(path, folder)
    shutil.copy(saved / "manifest.json", folder / "manifest.json.next")
    assert [id for id, *_ in reader.read(folder)] == expected
    check(folder)
    with BinaryIndex.open(folder) as index:
        index.verify()
        index.delete(expected[:1])  # the first write brings the compaction to its end, or undoes it
    assert not (folder / "manifest.json.next").exists()
    assert json.loads((folder / "manifest.json").read_bytes())["generation"] == before + commits
    assert [id for id, *_ in reader.read(folder)] == expected[1:]
    check(folder)


# checksums, header and tables, as the page says


def test_every_checksum_can_be_computed_as_the_page_says(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_bytes())
    checksum, contract = content.pop("checksum"), content["contract"]
    assert checksum == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    suffix = f".{content['generation']}" if content["generation"] else ""
    compacted, width = content["counts"]["compacted"], -(-contract["dimension"] // 8)
    row_files = {f"codes{suffix}.faiss": (33, width), f"vectors{suffix}.int8": (4096, contract["dimension"])}
    if content["vectors"] == "none":
        row_files.popitem()
    for name, crc in content["checksums"].items():
        start, size = row_files.get(name, (0, 0))
        stored = (folder / name).read_bytes()
        assert zlib.crc32(stored[start : start + compacted * size] if size else stored) == crc
    with closing(sqlite3.connect(folder / "records.sqlite")) as database:
        ((docids, deleted, gone, generation, id),) = database.execute("SELECT * FROM state")
        assert (generation, id, gone) == (content["generation"], content["id"], content["counts"]["purged"])
        assert database.execute("SELECT COUNT(*) FROM dead").fetchone() == (deleted,)
        assert database.execute("SELECT number FROM dead").fetchall() == [(n + 1,) for n in range(deleted)]
        covered = compacted
        for start, rows, *crcs in database.execute("SELECT start, rows, codes, vectors FROM blocks ORDER BY start"):
            assert start == covered
            covered += rows
            for (name, (header, size)), crc in zip(row_files.items(), crcs, strict=False):
                stored = (folder / name).read_bytes()
                assert zlib.crc32(stored[header + start * size : header + covered * size]) == crc
            assert len(row_files) == 2 or crcs[1] == 0
        assert covered == docids - gone
        records = database.execute("SELECT row, id, metadata, text, crc FROM records").fetchall()
        assert len(records) == docids - gone - deleted
        for _, id, metadata, text, crc in records:
            assert zlib.crc32(f"{id}\0{metadata}\0{text}".encode()) == crc


def test_a_manifest_of_every_kind_of_text_has_the_checksum_of_the_page(index: BinaryIndex) -> None:
    odd = {
        "text": 'é 蓝 \U0001f600 "\\/\b\f\n\r\t\x00\x7f',
        "floats": [0.1, 1e16, 1e-5, 1.0, -0.0],
        "ü": {"a": None, "B": True},
    }
    path = index.folder / "manifest.json"
    write_manifest(path, members={"odd": {"writers": "may ignore", **odd}})
    with BinaryIndex.open(index.folder) as opened:
        add(opened, {"1": 1})
        opened.calibrate(sample=1)  # writes it again
    kept = reader.read_manifest(path)["members"]["odd"]
    assert kept == {"writers": "may ignore", **odd}
    line = json.dumps(kept["text"])
    assert line == r'"\u00e9 \u84dd \ud83d\ude00 \"\\/\b\f\n\r\t\u0000\u007f"'


METADATA: dict[str, Any] = {
    "list": ["x", 1, 1.0, True, None, [2], {"a": 3}, "x"],
    "big": 2**63,
    "small": [-(2**63), -(2**63) - 1, 2**63 - 1],
    "half": 0.5,
    "text": "蓝 \U0001f600",
    "no": False,
    "null": None,
    "object": {"a": 1},
}
FIELDS = {
    ("list", "string", "x"),
    ("list", "number", 1),
    ("list", "boolean", 1),
    ("big", "big", "9223372036854775808"),
    ("small", "number", -(2**63)),
    ("small", "big", "-9223372036854775809"),
    ("small", "number", 2**63 - 1),
    ("half", "number", 0.5),
    ("text", "string", "蓝 \U0001f600"),
    ("no", "boolean", 0),
}


def test_metadata_are_indexed_as_the_page_says(index: BinaryIndex) -> None:
    index.add([Record("1", "", METADATA), Record("2", "", {"text": "old"})], [vector("1", 1), vector("2", 1)])
    index.add([Record("2", "", {"text": ["new"]})], [vector("2", 2)])
    with closing(sqlite3.connect(index.folder / "records.sqlite")) as database:
        found = database.execute("SELECT name, kind, value, row FROM fields").fetchall()
        assert len(found) == len(set(found))
        assert set(found) == {(*field, 0) for field in FIELDS} | {("text", "string", "new", 2)}
        kinds = dict(database.execute("SELECT kind, typeof(value) FROM fields WHERE value != 0.5").fetchall())
        assert kinds == {"string": "text", "number": "integer", "boolean": "integer", "big": "text"}
        assert database.execute("SELECT number, row FROM dead").fetchall() == [(1, 1)]


def test_the_page_names_every_column_and_every_key(index: BinaryIndex) -> None:
    page = (PACKAGE / "FORMAT.md").read_text("utf-8")
    named = {word for text in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"\w+", text)}
    manifest = json.loads((index.folder / "manifest.json").read_bytes())
    wanted = {*manifest, *manifest["contract"], *manifest["plan"], *manifest["counts"], *manifest["bits"]}
    with closing(sqlite3.connect(index.folder / "records.sqlite")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            wanted |= {table, *(name for (name,) in database.execute(f"SELECT name FROM pragma_table_info('{table}')"))}
    assert wanted <= named
    add(index, {"1": 1, "2": 1})
    with BinaryIndex.open(index.folder, options={"nlist": 1}) as opened:
        opened.compact()
    for path in index.folder.iterdir():
        stem, _, suffix = path.name.replace(".1.", ".").partition(".")
        assert {stem, *suffix.split("-")[:1]} - {"records", "sqlite"} <= named, path.name


# FAISS


def codes_in_file(folder: Path) -> Bits:
    faiss: Any = import_module("faiss")
    (path,) = folder.glob("codes*.faiss")
    index = faiss.read_index_binary(str(path))
    return faiss.vector_to_array(index.xb).reshape(index.ntotal, index.code_size)


def test_faiss_opens_the_codes(folder: Path) -> None:
    slots = {id: n for n, id in enumerate(ids_by_slot(folder)) if id is not None}
    with BinaryIndex.open(folder) as index:
        assert sorted(slots) == sorted(index.ids())
        np.testing.assert_array_equal(codes_in_file(folder)[list(slots.values())], index.reconstruct(list(slots)))
        index.compact()
        assert len(codes_in_file(folder)) == index.count()
        compacted = {id: n for n, id in enumerate(ids_by_slot(folder)) if id is not None}
        np.testing.assert_array_equal(
            codes_in_file(folder)[list(compacted.values())], index.reconstruct(list(compacted))
        )
        add(index, {"77": 1})
        np.testing.assert_array_equal(codes_in_file(folder)[-1], index.reconstruct("77"))


def ids_by_slot(folder: Path) -> list[str | None]:
    """The id of the record at each slot, computed as the page says; None: deleted."""
    manifest = reader.read_manifest(folder / "manifest.json")
    compacted, purged = manifest["counts"]["compacted"], manifest["counts"]["purged"]
    order = np.arange(0)
    if manifest["generation"]:
        order = np.fromfile(folder / f"order.{manifest['generation']}.int64", "<i8")
    assert len(order) == compacted
    with closing(sqlite3.connect(folder / "records.sqlite")) as database:
        ids = dict(database.execute("SELECT row, id FROM records").fetchall())
        ((slots,),) = database.execute("SELECT rows - gone FROM state").fetchall()
    return [ids.get(int(order[slot]) if slot < compacted else slot + purged) for slot in range(slots)]


@pytest.mark.parametrize(("bytes_more", "counted"), [(1, False), (21, False), (21, True)])
@pytest.mark.parametrize("folder", ["changed", "lists, wide", "bits only"], indirect=True)
def test_what_a_killed_writer_left_is_not_read_and_is_cut(folder: Path, bytes_more: int, counted: bool) -> None:
    """Rows behind those that count, whole or not, with a header that knows them or not."""
    (path,) = folder.glob("codes*.faiss")
    sound = path.read_bytes()
    width = len(codes_in_file(folder)[0])
    ntotal = len(codes_in_file(folder)) + (bytes_more // width if counted else 0)
    header = sound[:12] + ntotal.to_bytes(8, "little") + sound[20:25] + (ntotal * width).to_bytes(8, "little")
    path.write_bytes(header + sound[33:] + b"\xff" * bytes_more)
    check(folder)
    assert path.stat().st_size == len(sound) + bytes_more
    with BinaryIndex.open(folder) as index:
        index.delete(["no such id"])
    assert path.read_bytes() == sound
    with BinaryIndex.open(folder) as index:
        add(index, {"77": 1})
        np.testing.assert_array_equal(codes_in_file(folder)[-1], index.reconstruct("77"))
    check(folder)


# members


def write_manifest(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_bytes())
    del content["checksum"]
    content |= changes
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))


OPTIONAL = {"writers": "may ignore", "value": {"deep": [1.5, "ü", None]}, "more": 1}


def test_a_member_that_writers_may_ignore_is_kept(folder: Path) -> None:
    write_manifest(folder / "manifest.json", members={"later": OPTIONAL})
    with BinaryIndex.open(folder) as index:
        before = {hit.record.id for hit in index.search(vector("1", 1, index.contract.dimension), 5)}
        add(index, {"60": 1})
        index.delete(["60"])
        index.calibrate(0.5, sample=2)
        assert reader.read_manifest(folder / "manifest.json")["members"]["later"] == OPTIONAL
        index.compact()
        assert reader.read_manifest(folder / "manifest.json")["members"]["later"] == OPTIONAL
        assert {hit.record.id for hit in index.search(vector("1", 1, index.contract.dimension), 5)} == before
    members = reader.read_manifest(folder / "manifest.json")["members"]
    assert members.keys() == {"later", "search_parameters"}
    assert members["search_parameters"]["writers"] == "may ignore"
    check(folder)


WRITES: list[Callable[[BinaryIndex], object]] = [
    lambda index: add(index, {"60": 1}),
    lambda index: index.delete(["2"]),
    lambda index: index.delete(filter={"revision": 1}),
    lambda index: index.calibrate(sample=2),
    lambda index: index.compact(),
]


@pytest.mark.parametrize("member", [{"writers": "must understand"}, {"writers": "may think"}, {}], ids=str)
def test_a_member_that_writers_must_understand_forbids_every_write(tmp_path: Path, member: dict[str, Any]) -> None:
    folder = tmp_path / "index"
    with BinaryIndex.create(folder, CONTRACT) as index:
        add(index, {str(id): 1 for id in range(10)})
    write_manifest(folder / "manifest.json", members={"later": OPTIONAL, "word_index": member})
    with BinaryIndex.open(folder) as index:
        for write in WRITES:
            with pytest.raises(EngineError, match=r"word_index.*upgrade"):
                write(index)
        index.verify()
    assert reader.read_manifest(folder / "manifest.json")["members"] == {"later": OPTIONAL, "word_index": member}
    check(folder)


def test_an_index_that_cannot_be_written_can_be_merged_into_another(tmp_path: Path) -> None:
    with BinaryIndex.create(tmp_path / "index", CONTRACT) as index:
        add(index, {str(id): 1 for id in range(10)})
    write_manifest(tmp_path / "index/manifest.json", members={"word_index": {"writers": "must understand"}})
    with BinaryIndex.create(tmp_path / "other", CONTRACT) as other, BinaryIndex.open(tmp_path / "index") as index:
        assert other.merge(index) == 10
        with pytest.raises(EngineError, match=r"word_index.*upgrade"):
            index.merge(other)


# storage knows no FAISS

WITHOUT_FAISS = """
import sys
from jinavec import Record
from jinavec_integrations.faiss import BinaryIndex

with BinaryIndex.open(sys.argv[1]) as index:
    index.add([Record("new", "text", {"revision": 3})], [[1.0] * index.contract.dimension])
    assert index.get(["new"])[0].text == "text"
    assert index.count() == len(index.ids()) == sum(len(page) for page in index.iterate(7, vectors=True))
    assert index.delete(["new"]) == index.delete(filter={"revision": 2}) == 1
    index.verify()
sys.exit("faiss" in sys.modules and "faiss was imported")
"""


def test_faiss_is_not_loaded_until_a_search(tmp_path: Path) -> None:
    with BinaryIndex.create(tmp_path / "index", CONTRACT, options={"nlist": 2}) as index:
        add(index, {str(id): 1 for id in range(20)} | {"3": 2})
        index.compact()
    subprocess.run([sys.executable, "-c", WITHOUT_FAISS, tmp_path / "index"], check=True)


def test_faiss_is_imported_by_search_alone() -> None:
    importing = re.compile(r"""^\s*(?:import|from) faiss\b|import_module\(['"]faiss\b|__import__\(['"]faiss\b""", re.M)
    found = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if importing.search(path.read_text())}
    assert found == {"search"}
