"""Local folders are checked before qdrant-client opens them: it unpickles their points, and a pickle can run code.

A folder may come from anywhere. It is read here in a way that runs nothing and writes nothing; what passes is data,
which qdrant-client then reads as it always does. Three checks make that true of a pickle:

1. It holds only the opcodes that qdrant-client's points are written with. Those which call something else, take
   objects from registries, or have memory reserved for a number that stands in the file, are not among them.
2. It is loaded by an unpickler that knows a few classes and no function. None of them runs code when it is called with
   data, and none lets a pickle set its attributes: those of ``datetime`` are immutable, the others have
   ``__setstate__``.
3. What comes out is a tree of plain values, no deeper than ``_DEPTH``, and not much larger than its pickle. References
   to what was there before could make a few bytes as large as memory.
"""

from __future__ import annotations

import gc
import io
import json
import pickle
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from jinavec.errors import IndexDamaged

_MODELS = "qdrant_client.http.models.models"
_CLASSES = {
    *((_MODELS, name) for name in ("PointStruct", "SparseVector")),
    *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
    ("uuid", "UUID"),
}
"""What points are made of; qdrant-client before 1.20 stores dates and UUIDs of a payload as they are."""
_POINT = (_MODELS, "PointStruct")
_CONTAINERS = {dict, list, set}
_DEPTH = 100
_BATCH = 20  # points
_LONGEST_POINT = 1 << 26  # bytes
_SCHEMA = [("points", "CREATE TABLE points (id TEXT PRIMARY KEY, point BLOB)"), ("sqlite_autoindex_points_1", None)]
_REFUSED = "not opened, since qdrant-client would unpickle a point that holds more than data"
_UNREADABLE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError),
    pickle.PickleError,
)
"""What unpickling raises; RecursionError from UUIDs that hold UUIDs, when they become members of a set."""
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""Ends a journal that names another file, which SQLite would delete."""


def _prefixed(opcode: bytes, sizes: range) -> bytes:
    """Match an argument that is preceded by its size in one byte."""
    return opcode + b"(?:" + b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in sizes) + b")"


_OPCODES = re.compile(
    b"(?:"
    + b"|".join(
        (
            b"G.{8}" * 32,  # floats, as vectors have them: one step of the loop for many
            b"G.{8}",
            rb"[\x94)\]}(eusaNb\x81\x88\x89\x8f\x90\x93]",  # no argument
            rb"[\x85-\x87]\x94R",  # a tuple only as arguments
            rb"[Kh].|M..|[Jj].{4}|\x95.{8}|\x80[\x04\x05]",  # small integers, memo, frame, protocol
            _prefixed(rb"\x8c", range(256)),  # strings
            _prefixed(rb"\x8a", range(33)),  # large integers
            _prefixed(b"C", range(13)),  # bytes, as dates have them
        )
    )
    + b")*+",
    re.DOTALL,
)
_LONG_STRINGS = {b"X": 4, b"\x8d": 8}
"""Opcodes of the others, and the bytes of their size."""


def check_folder(folder: Path) -> None:
    """Refuse a folder of qdrant-client's local mode that holds more than data; one that is not there holds none.

    Raises:
        IndexDamaged: says what is wrong where; nothing was run and nothing written.
        OSError, sqlite3.Error: it cannot be read.
    """
    meta = folder / "meta.json"
    for path in (meta, folder / "meta.json.tmp", folder / ".lock"):
        _check_file(path)
    if not meta.exists():
        return
    inside = (folder / "collection").resolve()
    for name in _collections(meta):
        collection = (inside / name).resolve()
        if inside not in collection.parents:
            raise IndexDamaged(f"{meta} names a collection outside the folder: {name[:100]!r}")
        _check_collection(collection)


def _collections(meta: Path) -> list[str]:
    try:
        return list(json.loads(meta.read_text("utf-8"))["collections"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise IndexDamaged(f"{meta} cannot be read: {error!r}") from error


def _check_collection(collection: Path) -> None:
    if old := next(collection.glob("storage.dbm*"), None):
        raise IndexDamaged(f"{old} is of qdrant-client before 1.1.7; migrate it with a version of that time")
    database = collection / "storage.sqlite"
    for ending in ("", "-journal", "-wal", "-shm"):
        _check_file(database.with_name(database.name + ending))
    if not database.exists():
        return
    journal = database.with_name("storage.sqlite-journal")
    if journal.exists() and _ends(journal) == _SUPER_JOURNAL:
        raise IndexDamaged(f"{journal} names another file")
    with database.open("rb") as file:
        if 2 in file.read(20)[18:]:
            raise IndexDamaged(f"{database} has a write-ahead log, which qdrant-client does not write")
    # not read-only: what a killed process left half-written is rolled back, here as there
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
        _check_points(connection, database)


def _check_points(connection: sqlite3.Connection, database: Path) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_POINT)
    schema = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    if not schema:
        return
    if schema != _SCHEMA:  # a view could show other points to the next reader, a trigger change them
        raise IndexDamaged(f"{database} has other tables than qdrant-client writes")
    rows = connection.execute("SELECT rowid, point FROM points")
    while batch := rows.fetchmany(_BATCH):
        points = [_read_point(pickled, f"{database}, row {row}") for row, pickled in batch]
        if not _are_trees(points, budget=sum(len(pickled) for _, pickled in batch)):
            raise IndexDamaged(f"{database}, rows {batch[0][0]} to {batch[-1][0]}: {_REFUSED}: it is no tree of values")


def _read_point(pickled: object, where: str) -> object:
    try:
        if not isinstance(pickled, bytes):
            raise pickle.UnpicklingError(f"a {type(pickled).__name__} in place of bytes")
        _check_opcodes(pickled)
        point = _Unpickler(io.BytesIO(pickled)).load()
        if (type(point).__module__, type(point).__name__) != _POINT:
            raise pickle.UnpicklingError(f"it is a {type(point).__name__}")
        return point
    except _UNREADABLE as error:
        raise IndexDamaged(f"{where}: {_REFUSED}: {error}") from error


def _check_opcodes(pickled: bytes) -> None:
    at = 0
    while True:
        at = cast("re.Match[bytes]", _OPCODES.match(pickled, at)).end()
        opcode = pickled[at : at + 1]
        if opcode not in _LONG_STRINGS:
            break
        start = at + 1 + _LONG_STRINGS[opcode]
        at = start + int.from_bytes(pickled[at + 1 : start], "little")
    if pickled[at:] != b".":
        raise pickle.UnpicklingError(f"it has the opcode {opcode!r}" if opcode else "it ends too early")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _CLASSES:
            raise pickle.UnpicklingError(f"it names {module_name[:100]}.{global_name[:100]}")
        return super().find_class(module_name, global_name)


def _are_trees(points: list[object], budget: int) -> bool:
    """Return whether points hold plain values, not too deep, and no more of them than their pickles have bytes.

    In a tree each value takes a byte at least. Python's garbage collector knows what holds what, so that this costs
    little: ``is_tracked`` is false of whatever holds no other object.
    """
    level = points
    for _ in range(_DEPTH):
        tables = [vars(item) if type(item).__module__ == _MODELS else item for item in level]
        if not _CONTAINERS.issuperset(map(type, tables)):
            return False
        held = gc.get_referents(*tables)
        budget -= len(held)
        level = [item for item in filter(gc.is_tracked, held) if not isinstance(item, UUID)]
        if not level or budget < 0:
            return budget >= 0
    return False


def _check_file(path: Path) -> None:
    """Refuse a link, which leads elsewhere, and what is no file, such as a pipe, which would be waited for."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise IndexDamaged(f"{path} is not a regular file")


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_SUPER_JOURNAL)))
        return file.read()
