"""Local folders from elsewhere: opening one runs nothing, whatever is in it, and changes nothing if it is refused."""

from __future__ import annotations

import builtins
import copyreg
import functools
import importlib
import json
import operator
import os
import pickle
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import EngineError, IndexDamaged
from jinavec.vectors import normalize

run_in_a_shell: Callable[[str], int] = vars(os)["system"]
CONTRACT = Contract.of(ModelProfile(name="local", width=8))
VECTORS = normalize(np.random.default_rng(3).standard_normal((3, 8)))
MODULE = b"\x8c\x20qdrant_client.http.models.models\x94"
POINT = b"\x80\x04" + MODULE + b"\x8c\x0bPointStruct\x94\x93\x94)\x81\x94}\x94(\x8c\x08__dict__\x94}\x94("
"""The beginning of a point, up to its fields."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("template")
    with open_engine(f"qdrant:{made}/notes", contract=CONTRACT) as index:
        index.add([Record(f"{n}", f"text {n}", {"n": n, "deep": {"a": [[2**70]]}}) for n in range(3)], VECTORS)
    return made


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "folder")


def database(folder: Path) -> Path:
    return folder / "collection" / "notes" / "storage.sqlite"


def store(folder: Path, pickled: object) -> None:
    """Put something in the place of the second point."""
    with closing(sqlite3.connect(database(folder))) as connection, connection:
        connection.execute("UPDATE points SET point = ? WHERE rowid = 2", (pickled,))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.parent.rglob("*")) if path.is_file()}


def assert_refused(folder: Path, match: str = "not opened, since qdrant-client would unpickle a point") -> None:
    before = contents(folder)
    for contract in (None, CONTRACT):
        with pytest.raises(EngineError, match=match):
            open_engine(f"qdrant:{folder}/notes", contract=contract)
    assert contents(folder) == before


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


class Chained:
    """Pickled, it is a call, and a state that is set on what it returns."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], state: object) -> None:
        self.reduced = function, arguments, state

    def __reduce__(self) -> Any:
        return self.reduced


GADGETS: dict[str, Callable[[str], object]] = {
    "os.system": lambda touched: Calls(run_in_a_shell, f"touch {touched}"),
    "eval": lambda touched: Calls(eval, f"open({touched!r}, 'w')"),
    "exec": lambda touched: Calls(exec, f"open({touched!r}, 'w')"),
    "open": lambda touched: Calls(open, touched, "w"),
    "getattr": lambda touched: Calls(getattr, "text", "upper"),
    "partial": lambda touched: Chained(functools.partial, (print,), (print, (touched,), dict[str, Any](), None)),
    "attrgetter": lambda touched: operator.attrgetter("system"),
    "methodcaller": lambda touched: Calls(operator.methodcaller("touch"), Path(touched)),
    "copyreg": lambda touched: Calls(copyreg.constructor, run_in_a_shell),
    "import": lambda touched: Calls(importlib.import_module, "this"),
    "builtin import": lambda touched: Calls(builtins.__import__, "this"),
    "numpy.load": lambda touched: Calls(np.load, touched, None, True),
    "numpy array": lambda touched: np.zeros(3),
    "model_validate": lambda touched: Calls(models.PointStruct.model_validate_json, "{}"),
    "another model": lambda touched: models.Filter(must=[]),
    "bytearray": lambda touched: Calls(bytearray, 1 << 40),
    "a class": lambda touched: models.PointStruct,
    "tuple": lambda touched: ((1, 2), (3, 4, 5, 6)),
}


@pytest.mark.parametrize("inside", ["point", "payload", "id"])
@pytest.mark.parametrize("gadget", GADGETS)
def test_a_point_that_would_run_code(folder: Path, gadget: str, inside: str) -> None:
    touched = folder.parent / "touched"
    bad: Any = GADGETS[gadget](str(touched))
    fields: dict[str, Any] = {"id": 1, "vector": [0.1] * 8, "payload": {}}
    if inside != "point":
        bad = models.PointStruct.model_construct(None, **fields | {inside: [bad]})
    for protocol in (0, 2, 4, 5):
        store(folder, pickle.dumps(bad, protocol))
        assert_refused(folder)
    assert not touched.exists()


def text(value: str) -> bytes:
    """A string, and its place in the memo."""
    return b"\x8c" + bytes([len(value)]) + value.encode() + b"\x94"


def nested_keys(levels: int) -> bytes:
    """A key whose hash takes as long as it has leaves, each level twice as many."""
    doubled = (b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(levels))
    return b"}N\x94" + b"".join(doubled) + b"Ns"


def nested_uuids(levels: int) -> bytes:
    """A set of one UUID that holds a UUID, and so on: each asks the next for its hash."""
    kind = text("uuid") + text("UUID") + b"\x93\x94"
    empty = b"h\x02)\x81}" + text("int")
    return kind + b"\x8f(" + empty * levels + b"K\x01" + b"sb" * levels + b"\x90"


PICKLES: dict[str, object] = {
    "empty": b"",
    "only an end": b".",
    "none": b"\x80\x04N.",
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'true'\no.",
    "os.system": b"\x80\x04" + text("os") + text("system") + b"\x93" + text("true") + b"\x85\x94R.",
    "method of a model": b"\x80\x04" + MODULE + text("PointStruct.model_validate_json") + b"\x93.",
    "class of a model": b"\x80\x04" + MODULE + text("PointStruct.__class__") + b"\x93.",
    "state of a model's class": b"\x80\x04" + MODULE + text("PointStruct") + b"\x93N}" + text("id") + b"Ns\x86b.",
    "state of uuid's class": b"\x80\x04" + text("uuid") + text("UUID") + b"\x93N}" + text("hex") + b"Ns\x86b.",
    "state of a class": b"\x80\x04" + text("uuid") + text("UUID") + b"\x93}" + text("hex") + b"Nsb.",
    "copyreg's registry": b"\x80\x04\x82\x01.",
    "persistent id": b"\x80\x04NQ.",
    "string of an exabyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
    "frame of an exabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "integer of 2 GiB": b"\x80\x04\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"x.",
    "memo of 64 GiB": b"\x80\x04Nr" + struct.pack("<I", 0xFFFFFFFE) + b".",
    "memo of 64 GiB, as text": b"\x80\x04Np4294967294\n.",
    "memo that is not there": b"\x80\x04j" + struct.pack("<I", 0xFFFFFFFE) + b".",
    "hash without end": b"\x80\x04" + nested_keys(60) + b".",
    "hash without end, of UUIDs": b"\x80\x04" + nested_uuids(5000) + b".",
    "lists in lists": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "lists in a point": POINT + text("payload") + b"]" * 100_000 + b"a" * 99_999 + b"uub.",
    "tables in a point": POINT + text("payload") + b"}" + b"N}" * 99_999 + b"s" * 99_999 + b"uub.",
    "a megabyte of half floats": b"G" * 1_000_000,
    "text": "text",
    "number": 7,
    "null": None,
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_no_client_wrote(folder: Path, name: str) -> None:
    store(folder, PICKLES[name])
    assert_refused(
        folder, r"storage.sqlite, (row 2|rows 1 to 3): not opened, since qdrant-client would unpickle a point"
    )


@pytest.mark.parametrize("endless", [False, True])
def test_values_that_hold_the_same_value_many_times(folder: Path, endless: bool) -> None:
    shared: list[Any] = []
    if endless:
        shared.append(shared)
    for _ in range(60):
        shared = [shared, shared]
    point = models.PointStruct.model_construct(id=1, vector=[0.1] * 8, payload={"a": shared})
    store(folder, pickle.dumps(point))
    assert_refused(folder, "no tree of values")


def test_the_classes_of_a_pickle_stay_as_they_are(folder: Path) -> None:
    hexadecimal = UUID.hex
    for name in PICKLES:
        store(folder, PICKLES[name])
        with pytest.raises(IndexDamaged):
            open_engine(f"qdrant:{folder}/notes")
    assert UUID.hex is hexadecimal
    assert models.PointStruct(id=1, vector=[1.0]).model_dump() == {"id": 1, "vector": [1.0], "payload": None}


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER t AFTER INSERT ON points BEGIN DELETE FROM points; END"],
        ["ALTER TABLE points RENAME TO real", "CREATE VIEW points AS SELECT rowid, id, point FROM real"],
        ["CREATE TABLE others (a)"],
        ["PRAGMA journal_mode = wal"],
    ],
)
def test_a_database_that_no_client_made(folder: Path, statements: list[str]) -> None:
    with closing(sqlite3.connect(database(folder))) as connection:
        for statement in statements:
            connection.execute(statement)
    assert_refused(folder, "storage.sqlite")


def test_a_point_larger_than_any(folder: Path) -> None:
    store(folder, bytes(1 << 27))
    assert_refused(folder, "too big")


@pytest.mark.parametrize("name", ["..", "../../other", "/etc", ".", ""])
def test_a_collection_outside_the_folder(folder: Path, name: str) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["collections"][name] = meta["collections"]["notes"]
    (folder / "meta.json").write_text(json.dumps(meta))
    assert_refused(folder, "names a collection outside the folder")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"collections": ' + '{"a":' * 100_000])
def test_metadata_nested_too_deeply(folder: Path, content: str) -> None:
    (folder / "meta.json").write_text(content)
    assert_refused(folder, "meta.json cannot be read")


@pytest.mark.parametrize("name", ["meta.json", "meta.json.tmp", ".lock", "storage.sqlite", "storage.sqlite-journal"])
@pytest.mark.parametrize("target", ["there", "missing", "pipe"])
def test_files_that_lead_elsewhere(folder: Path, name: str, target: str) -> None:
    path = database(folder).with_name(name) if name.startswith("storage") else folder / name
    if target == "pipe":
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    else:
        elsewhere = folder.parent / "elsewhere"
        if path.exists():
            path.rename(elsewhere)
        else:
            elsewhere.touch()
        if target == "missing":
            elsewhere.unlink()
        path.symlink_to(elsewhere)
    assert_refused(folder, "is not a regular file|there is no collection")


def test_a_collection_that_is_a_link_to_elsewhere(folder: Path) -> None:
    (folder / "collection" / "notes").rename(folder.parent / "elsewhere")
    (folder / "collection" / "notes").symlink_to(folder.parent / "elsewhere")
    assert_refused(folder, "outside the folder")


def test_a_journal_that_has_another_file_deleted(folder: Path) -> None:
    """SQLite rolls a journal back and then deletes the file that the journal's end names."""
    victim = folder.parent / "victim"
    victim.touch()
    name = str(victim).encode()
    end = struct.pack(">I", len(name)) + struct.pack(">I", sum(name)) + bytes.fromhex("d9d505f920a163d7")
    Path(f"{database(folder)}-journal").write_bytes(bytes(512) + name + end)
    assert_refused(folder, "names another file")
    assert victim.exists()


def test_a_storage_of_an_old_client(folder: Path) -> None:
    database(folder).with_name("storage.dbm.dat").write_bytes(pickle.dumps(Calls(run_in_a_shell, "true")))
    assert_refused(folder, "before 1.1.7")


def test_what_a_killed_process_left_is_rolled_back(folder: Path) -> None:
    """A journal beside a database half-written, as after a kill: made here by copies taken within a transaction."""
    copy = folder.parent / "copy"
    with closing(sqlite3.connect(database(folder))) as connection:
        connection.execute("PRAGMA cache_spill = 1")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE points SET point = zeroblob(100000)")  # more than the cache: it reaches the file
        shutil.copytree(folder, copy)
        connection.rollback()
    assert database(copy).with_name("storage.sqlite-journal").stat().st_size
    with open_engine(f"qdrant:{copy}/notes") as index:
        assert [record.id for record in index.get(["0", "1", "2"])] == ["0", "1", "2"]


def test_everything_that_a_client_stores_is_opened(tmp_path: Path) -> None:
    """Points of every kind, as qdrant-client writes them, and payloads as those before 1.20 did."""
    client = QdrantClient(path=str(tmp_path / "folder"))
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    params = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection("plain", params)
    client.create_collection(
        "named",
        {"a": params, "b": models.VectorParams(size=2, distance=models.Distance.DOT, multivector_config=several)},
        sparse_vectors_config={"s": models.SparseVectorParams()},
    )
    payload: dict[str, Any] = {
        "texts": ["", "h(" * 200_000, "\ud83d\ude00" * 80, "\u00e4" * 300],
        "numbers": [0, -1, 255, 65536, 2**31, -(2**63), 2**64, 0.1, float("inf")],
        "others": [True, False, None, {"a": {"b": [[], {}, [{"c": [1]}]]}}, list(range(5000))],
        "time": datetime(2024, 2, 3, tzinfo=UTC),
        "id": uuid4(),
    }
    dense, sparse = [0.1, 0.2, 1.0, 0.0], models.SparseVector(indices=[3, 9], values=[0.1, 0.2])
    vectors: Any = {"a": dense, "b": [[0.5, 1.0]] * 3, "s": sparse}
    ids: list[Any] = [1, 2**60, str(uuid4()), uuid4()]
    client.upsert("plain", [models.PointStruct(id=id, vector=dense, payload=payload) for id in ids])
    client.upsert("named", [models.PointStruct(id=id, vector=vectors, payload=payload) for id in ids])
    client.upsert("named", [models.PointStruct(id=2, vector={}), models.PointStruct(id=3, vector={"s": sparse})])
    client.set_payload("named", {"more": [1]}, [1])
    client.delete_vectors("named", ["a"], [1])
    client.delete("named", [2])
    client.close()
    dates: list[Any] = [date(2024, 2, 3), timedelta(3, 4, 5), datetime(2024, 2, 3), payload["time"]]
    with closing(sqlite3.connect(tmp_path / "folder/collection/plain/storage.sqlite")) as connection, connection:
        for protocol in (4, 5):
            values: dict[str, Any] = {"id": uuid4(), "vector": dense, "payload": {"dates": dates, "ids": [uuid4()]}}
            old = pickle.dumps(models.PointStruct.model_construct(None, **values), protocol)
            connection.execute("INSERT INTO points VALUES (?, ?)", (f"old {protocol}", old))
    with pytest.raises(IndexDamaged, match="not made by jinavec"):  # it was read, as a collection of another tool
        open_engine(f"qdrant:{tmp_path}/folder/plain")


def test_a_folder_of_many_collections_is_checked_as_a_whole(folder: Path) -> None:
    """The client opens every collection of a folder, whichever is asked for."""
    with open_engine(f"qdrant:{folder}/other", contract=CONTRACT) as index:
        index.add([Record("1", "text")], VECTORS[:1])
    store(folder, pickle.dumps(Calls(run_in_a_shell, "true")))
    with pytest.raises(IndexDamaged, match=r"notes/storage.sqlite, row 2: .*names posix.system"):
        open_engine(f"qdrant:{folder}/other")


@pytest.mark.parametrize("payload", ["a string", ["a list"], 5])
def test_a_payload_that_is_no_object(folder: Path, payload: object) -> None:
    named = {f"jinavec-{CONTRACT.digest}": [0.1] * 8}
    store(folder, pickle.dumps(models.PointStruct.model_construct(id=1, vector=named, payload=payload), 4))
    with open_engine(f"qdrant:{folder}/notes") as index:
        for use in (lambda: list(index.iterate()), lambda: index.search(VECTORS[0])):
            with pytest.raises(IndexDamaged, match="is damaged|was not written by jinavec"):
                use()
