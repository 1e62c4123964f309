"""A folder made to do harm, or damaged by chance: an error, never a crash, an endless wait or all of the memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jinavec.errors import EngineError, IndexDamaged, InvalidInput
from jinavec_integrations.faiss import BinaryIndex, FaissOptions

from .child import add, make_sound, use, vector
from .conftest import Start

ROUNDS = int(os.environ.get("JINAVEC_TORTURE", "40"))
SEED = int(os.environ.get("JINAVEC_TORTURE_SEED", "1"))


@pytest.fixture(scope="module", params=["flat", "lists", "bits"])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "index"
    make_sound(folder, request.param)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "index")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_damaged_in_every_way_in_a_process_of_its_own(tmp_path: Path, start: Start) -> None:
    process = start("fuzz", tmp_path, SEED, ROUNDS * 2)
    output, _ = process.communicate(timeout=280)
    assert (process.returncode, output.split()[:1]) == (0, ["done"])
    assert int(output.split()[1]) > ROUNDS / 2


@pytest.mark.parametrize("number", [-1, 320, -(2**56)])
def test_an_order_of_rows_that_were_never_there(tmp_path: Path, number: int) -> None:
    make_sound(tmp_path / "index", "lists")
    (path,) = (tmp_path / "index").glob("order.*.int64")
    with path.open("r+b") as file:
        file.seek(8 * 100)
        file.write(number.to_bytes(8, "little", signed=True))
    with BinaryIndex.open(tmp_path / "index") as index:
        for search in (
            lambda: index.range_search(vector("5", 1), 12),
            lambda: index.range_search(vector("5", 1), 0, {"revision": 1}),
            lambda: index.search(vector("5", 1), 400),
        ):
            with pytest.raises(IndexDamaged, match="never there"):
                search()


ABSURD: list[tuple[str, Any]] = [
    ("generation", 10**18),
    ("generation", -1),
    ("generation", 1.5),
    ("generation", True),
    ("counts.compacted", 10**18),
    ("counts.compacted", 10**40),
    ("counts.compacted", -1),
    ("counts.purged", 10**12),
    ("counts.purged", 10**40),
    ("counts.purged", "many"),
    ("plan.nlist", 10**12),
    ("plan.nlist", 2**19),
    ("plan.nlist", -5),
    ("plan.nlist", "x"),
    ("plan.asked", "x"),
    ("plan.seed", None),
    ("plan", []),
    ("plan", {"nlist": 0, "seed": 0, "asked": False, "more": 1}),
    ("members.search_parameters.value", {"nprobe": "x", "candidates": 1, "rescore": 1}),
    ("members.search_parameters.value", {"nprobe": 1, "candidates": -1, "rescore": 1}),
    ("members.search_parameters.value", {"nprobe": 1}),
    ("members", []),
    ("members.tuned", 5),
    ("vectors", "pickle"),
    ("bits", {"order": "lsb", "one": "> 0"}),
    ("vectors", ["int8"]),
    ("checksums", {"../../../etc/passwd": 1}),
    ("checksums", {"/dev/zero": 1}),
    ("checksums", []),
    ("contract.dimension", 10**12),
    ("contract.dimension", 2**31),
    ("contract.dimension", 0),
    ("contract.dimension", 11.5),
    ("contract.model", 7),
    ("contract", None),
    ("encoder", "x"),
    ("encoder", {}),
]


@pytest.mark.parametrize(("name", "value"), ABSURD)
def test_a_manifest_that_is_signed_but_absurd(folder: Path, name: str, value: Any) -> None:
    sign(folder / "manifest.json", name, value)
    found = use(folder)
    assert found
    assert all("manifest" in str(error) or "damaged" in str(error) for error in found)


def sign(path: Path, name: str, value: Any) -> None:
    """Change a value in a manifest and make its checksum again, as whoever wants to harm would."""
    content = json.loads(path.read_text())
    del content["checksum"]
    inner, *names = content, *name.split(".")
    for outer in names[:-1]:
        inner = inner.setdefault(outer, {})
    inner[names[-1]] = value
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content))


def test_great_efforts_and_huge_manifests(folder: Path) -> None:
    sign(
        folder / "manifest.json",
        "members.search_parameters.value",
        {"nprobe": 10**15, "candidates": 10**15, "rescore": 10**15},
    )
    assert use(folder) == []
    with (folder / "manifest.json").open("ab") as file:
        file.truncate(2**40)
    with pytest.raises(IndexDamaged, match="too large"):
        BinaryIndex.open(folder)


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE state RENAME TO old; CREATE VIEW state AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT"
        " i + 1 FROM n) SELECT MAX(i) AS rows, 0 AS deleted, 0 AS gone, 0 AS generation FROM n",
        "DROP TABLE records; CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT, metadata TEXT, crc INTEGER,"
        " text AS (printf('%.*c', 1000000000, 'x')))",
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END",
        "CREATE INDEX i ON records (length(printf('%.*c', 1000000000, 'x')))",
        "CREATE TABLE more (x)",
    ],
)
def test_a_database_with_a_foreign_schema(folder: Path, statements: str) -> None:
    with closing(sqlite3.connect(folder / "records.sqlite")) as connection:
        connection.executescript(statements.replace("CREATE INDEX", "DELETE FROM records; CREATE INDEX"))
    with pytest.raises(IndexDamaged, match="records.sqlite"):
        BinaryIndex.open(folder)


def test_numbers_that_no_folder_holds(folder: Path) -> None:
    """The rows in the files are as many as ever, but more numbers are said to be gone than memory could hold."""
    with closing(sqlite3.connect(folder / "records.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE state SET rows = rows + 1000000000000000, gone = gone + 1000000000000000")
    with pytest.raises(IndexDamaged):
        BinaryIndex.open(folder)


def test_another_database(folder: Path) -> None:
    (folder / "records.sqlite").unlink()
    with closing(sqlite3.connect(folder / "records.sqlite")) as connection:
        connection.executescript("CREATE TABLE notes (x); INSERT INTO notes VALUES (1)")
    with pytest.raises(IndexDamaged, match="records.sqlite"):
        BinaryIndex.open(folder)


def test_files_of_an_index_of_the_same_shape(folder: Path, tmp_path: Path) -> None:
    """What opening cannot know, verify finds."""
    other = shutil.copytree(folder, tmp_path / "other")
    with BinaryIndex.open(other) as index:
        add(index, {str(id): 7 for id in range(1, 250)})
        index.compact()
    with BinaryIndex.open(folder) as index:
        add(index, {str(id): 8 for id in range(1, 250)})
        index.compact()
    for path in folder.iterdir():
        if path.suffix in (".faiss", ".int8"):
            content = path.read_bytes()
            if content == (other / path.name).read_bytes():
                continue
            shutil.copy(other / path.name, path)
            with BinaryIndex.open(folder) as index, pytest.raises(IndexDamaged):
                index.verify()
            path.write_bytes(content)
    with BinaryIndex.open(folder) as index:
        index.verify()


def test_links_lead_nothing_elsewhere(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("manifest.json.new", "manifest.json.next", "manifest.json.next.new", "codes.1.faiss", "order.2.int64"):
        (folder / name).unlink(missing_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to(precious)
    found: list[EngineError] = []
    try:
        with BinaryIndex.open(folder, options=FaissOptions(nlist=3)) as index:
            index.calibrate(0.5, sample=3)
            index.compact()
            index.verify()
    except EngineError as error:
        found.append(error)
    assert precious.read_text() == "mine"


def test_dimensions_and_lists_that_no_model_has(tmp_path: Path) -> None:
    from .test_index import contract

    with pytest.raises(InvalidInput, match="dimension"):
        BinaryIndex.create(tmp_path / "index", contract(10**9))
    assert not (tmp_path / "index").exists()
    with pytest.raises(InvalidInput, match="nlist"):
        FaissOptions(nlist=10**9)


@pytest.mark.parametrize("name", ["records.sqlite", "lock.sqlite"])
def test_a_forged_journal_names_no_file_to_delete(folder: Path, tmp_path: Path, name: str) -> None:
    """SQLite deletes the file that the end of a rollback journal names."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = bytes(victim)
    end = struct.pack(">I", 2**31 // 4096 + 1) + path + struct.pack(">II", len(path), sum(path)) + JOURNAL
    (folder / f"{name}-journal").write_bytes(JOURNAL.ljust(512, b"\0") + end)
    found = use(folder)
    assert found
    assert all("journal" in str(error) for error in found)
    assert victim.read_text() == "mine"


JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""What a rollback journal begins and ends with."""
