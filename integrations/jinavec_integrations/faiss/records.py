"""The SQLite part of an index: records and their metadata, and the state that makes an addition or a compaction true.

A record is known by its row number, which it keeps: numbers count additions and are never given again. Where its bits
and int8 copy lie, its place, is the same until a compaction; see ``layout``.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

import numpy as np

from jinavec.errors import InvalidInput, InvalidRecord, brief
from jinavec.filters import In, Range, Value, is_unicode, match
from jinavec.records import Record, same_content
from jinavec_integrations.faiss.filters import Lookup, entries, lookups, read_entry
from jinavec_integrations.faiss.rowfile import Rows

NAME = "records.sqlite"
_SCHEMA = """
CREATE TABLE records (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, metadata TEXT NOT NULL, text TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE fields (
    name TEXT NOT NULL, kind TEXT NOT NULL, value NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (name, kind, value, row)
) WITHOUT ROWID;
CREATE TABLE dead (number INTEGER PRIMARY KEY, row INTEGER NOT NULL);
CREATE TABLE blocks (
    start INTEGER PRIMARY KEY, rows INTEGER NOT NULL, codes INTEGER NOT NULL, vectors INTEGER NOT NULL
);
CREATE TABLE state (
    rows INTEGER NOT NULL, deleted INTEGER NOT NULL, gone INTEGER NOT NULL, generation INTEGER NOT NULL,
    id TEXT NOT NULL
);
"""
_KNOWN_FIELD = "SELECT 1 FROM fields WHERE name = ? AND kind = ? AND value = ? AND row = ?"
_READING = ("PRAGMA query_only = ON", "PRAGMA cell_size_check = ON")
_PARTS = {"records", "sqlite_autoindex_records_1", "fields", "sqlite_autoindex_fields_1", "dead", "blocks", "state"}
_OBJECTS = (
    "SELECT type, name, (SELECT COUNT(*) FROM pragma_table_xinfo(sqlite_master.name) WHERE hidden) FROM sqlite_master"
)
_WRITING = (
    "PRAGMA synchronous = FULL",  # what was acknowledged survives a power cut
    f"PRAGMA journal_size_limit = {64 * 2**20}",
    f"PRAGMA cache_size = -{64 * 2**10}",
)
_PATIENCE = 30.0  # seconds; readers and the writer meet only for moments, when a log is recovered or removed


def create(folder: Path, id: str) -> None:
    """Write a database without records, for the index with an id."""
    with closing(_connect(folder, "mode=rwc", "PRAGMA journal_mode = WAL")) as connection:
        connection.executescript(f"BEGIN; {_SCHEMA} INSERT INTO state VALUES (0, 0, 0, 0, '{UUID(id).hex}'); COMMIT;")


class Snapshot:
    """The index as it was at one moment, whatever is written meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.rows, self.deleted, self.gone, self.generation, self.id = _read_state(connection)
        """Row numbers ever given; those deleted since the last compaction, and before; the number of compactions; the
        id of the index."""

    @property
    def places(self) -> int:
        """The rows in the row files."""
        return self.rows - self.gone

    @property
    def count(self) -> int:
        """The number of records."""
        return self.places - self.deleted

    def dead(self, known: int = 0) -> Rows:
        """Return the rows whose records were replaced or deleted, but for the first ``known`` of them."""
        return self._rows("SELECT row FROM dead WHERE number > ? AND row BETWEEN 0 AND ?", (known, self.rows - 1))

    def find(self, leaf: In | Range) -> Rows:
        """Return the rows that pass a leaf of a filter, in no order."""
        return np.concatenate([np.empty(0, np.int64), *(self._look_up(leaf, lookup) for lookup in lookups(leaf))])

    def by_row(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of rows, in their order.

        Raises:
            sqlite3.DatabaseError: a row has none.
        """
        found = self.existing(rows)
        if len(found) < len(rows):
            raise sqlite3.DatabaseError("a vector has no record")
        return list(found.values())

    def existing(self, rows: Iterable[int]) -> dict[int, Record]:
        """Return the records of those rows that have one, in their order."""
        look_up = "SELECT id, text, metadata FROM records WHERE row = ?"
        return {row: _record(found) for row in rows for found in self._connection.execute(look_up, (row,))}

    def page(self, start: int, count: int) -> dict[int, Record]:
        """Return the first ``count`` records in rows from ``start`` on."""
        select = "SELECT row, id, text, metadata FROM records WHERE row >= ? AND row < ? ORDER BY row LIMIT ?"
        return {row: _record(found) for row, *found in self._connection.execute(select, (start, self.rows, count))}

    def by_id(self, ids: Iterable[str]) -> list[Record]:
        """Return the records of those ids that exist, in their order."""
        look_up = "SELECT id, text, metadata FROM records WHERE id = ?"
        known = filter(is_unicode, ids)
        return [_record(found) for id in known for found in self._connection.execute(look_up, (id,))]

    def unchanged(self, records: Iterable[Record]) -> dict[str, bool]:
        """Return for those of the ids that exist: whether text and metadata are the same."""
        look_up = "SELECT id, text, metadata FROM records WHERE id = ?"
        found = ((record, row) for record in records for row in self._connection.execute(look_up, (record.id,)))
        return {
            record.id: tuple(row[1:]) == (record.text, record.metadata_json()) or same_content(record, _record(row))
            for record, row in found
        }

    def ids(self) -> list[str]:
        """Return the ids of all records, the oldest first."""
        return [id for (id,) in self._connection.execute("SELECT id FROM records ORDER BY row")]

    def rows_by_id(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the rows of those ids that exist."""
        look_up = "SELECT id, row FROM records WHERE id = ? AND row BETWEEN 0 AND ?"
        known = filter(is_unicode, ids)
        return dict(row for id in known for row in self._connection.execute(look_up, (id, self.rows - 1)))

    def numbers_of(self, ids: Sequence[str]) -> Rows:
        """Return the row numbers of ids.

        Raises:
            InvalidInput: an id that is not there.
        """
        known = self.rows_by_id(ids)
        for id in ids:
            if id not in known:
                raise InvalidInput(f"there is no record with the id {brief(id)}")
        return np.array([known[id] for id in ids], np.int64)

    def blocks(self) -> list[tuple[int, int, int, int]]:
        """Return (first place, rows, CRC-32 of codes, CRC-32 of vectors) of each addition since the last compaction."""
        return self._connection.execute("SELECT start, rows, codes, vectors FROM blocks ORDER BY start").fetchall()

    def verify(self) -> Iterator[str]:
        """Read everything and yield what is wrong: malformed pages, changed records, fields that are not theirs."""
        for (problem,) in self._connection.execute("PRAGMA integrity_check"):
            if problem != "ok":
                yield str(problem)
        fields = count = 0
        for row, crc, *parts in self._connection.execute("SELECT row, crc, id, metadata, text FROM records"):
            count += 1
            id, metadata, text = _texts(parts)
            if crc != _crc(id, metadata, text):
                yield f"record {id!r} is not as it was stored"
                continue
            for entry in set(_fields(row, metadata)):
                fields += 1
                if self._connection.execute(_KNOWN_FIELD, entry).fetchone() is None:
                    yield f"the field {entry[0]!r} of record {id!r} cannot be found"
        if count != self.count:
            yield f"{count} records, but the state says {self.count}"
        stored = self._connection.execute("SELECT COUNT(*) FROM fields").fetchone()[0]
        if stored != fields:
            yield f"{stored} fields, but the records have {fields}"

    def _look_up(self, leaf: In | Range, lookup: Lookup) -> Rows:
        where = "FROM fields WHERE name = ? AND kind = ? AND row BETWEEN 0 AND ?"
        bound = (lookup.name, lookup.kind, self.rows - 1)
        if lookup.comparison is not None:
            return self._rows(f"SELECT row {where} AND value {lookup.comparison} ?", (*bound, lookup.value))
        found = self._connection.execute(f"SELECT row, value {where}", bound)
        passing = (row for row, value in found if match(leaf, {leaf.field: _entry(lookup.kind, value)}))
        return np.fromiter(passing, np.int64)

    def _rows(self, statement: str, parameters: Sequence[object]) -> Rows:
        return np.fromiter((row for (row,) in self._connection.execute(statement, parameters)), np.int64)


class Readers:
    """Connections that read, one for each thread that does so at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._idle: list[sqlite3.Connection] = []
        self._closed = self._frozen = False

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        """Look at the index in one read transaction.

        Raises:
            sqlite3.Error: it cannot be read; malformed content counts as that.
        """
        connection = self._take_idle() or self._connect()
        try:
            connection.execute("BEGIN")
            yield Snapshot(connection)
        finally:
            connection.rollback()
            self._idle.append(connection)
            if self._closed or self._frozen:
                self._close_idle()

    def close(self) -> None:
        """Close all connections, those in use when they are given back."""
        self._closed = True
        self._close_idle()

    def _connect(self) -> sqlite3.Connection:
        """Open the database; frozen where nothing can be written, and then not to be kept, since others may write."""
        self._frozen = not os.access(self._folder, os.W_OK)
        if not self._frozen:
            try:
                return _connect(self._folder, "mode=rw", *_READING)
            except sqlite3.OperationalError as error:
                self._frozen = error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
                if not self._frozen:
                    raise
        # SQLite would now fail to make its log; but without a log beside it, the file is whole.
        return _connect(self._folder, "mode=ro" if _has_log(self._folder) else "immutable=1", *_READING)

    def _take_idle(self) -> sqlite3.Connection | None:
        if self._process != os.getpid():  # a forked process needs connections of its own
            self._process, self._idle = os.getpid(), []
        try:
            return self._idle.pop()  # atomic: no other thread gets the same
        except IndexError:
            return None

    def _close_idle(self) -> None:
        while (connection := self._take_idle()) is not None:
            connection.close()


class Writer:
    """The connection that writes; for whoever holds the WriterLock."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        """The process that may write: SQLite's connections and locks do not survive a fork."""
        self._connection = _connect(folder, "mode=rw", *_WRITING)

    @property
    def rows(self) -> int:
        """The rows that count, those of dead records included."""
        return _read_state(self._connection)[0]

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Make everything done inside true at once at the end, or nothing of it on an error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise

    @property
    def places(self) -> int:
        """The rows in the row files."""
        rows, _, gone, *_ = _read_state(self._connection)
        return rows - gone

    @property
    def generation(self) -> int:
        """The number of compactions."""
        return _read_state(self._connection)[3]

    def add(self, records: Sequence[tuple[str, str, str]], codes: int, vectors: int) -> None:
        """Add (id, metadata as JSON, text) in the next rows, in place of the records that have these ids.

        Args:
            records: what to add.
            codes: the CRC-32 of their codes.
            vectors: the CRC-32 of their int8 copies.
        """
        block = (self.places, len(records), codes, vectors)
        self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", block)
        replaced = self._forget("id", (id for id, _, _ in records))
        numbered = list(enumerate(records, start=self.rows))
        self._connection.executemany(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
            ((row, id, metadata, text, _crc(id, metadata, text)) for row, (id, metadata, text) in numbered),
        )
        fields = sorted(entry for row, (_, metadata, _) in numbered for entry in _fields(row, metadata))
        self._connection.executemany("INSERT OR IGNORE INTO fields VALUES (?, ?, ?, ?)", fields)
        self._advance(len(records), replaced)

    def delete(self, ids: Iterable[str]) -> int:
        """Delete the records of those ids that exist, and return how many there were."""
        deleted = self._forget("id", filter(is_unicode, dict.fromkeys(ids)))
        self._advance(0, deleted)
        return deleted

    def delete_rows(self, rows: Iterable[int]) -> int:
        """Delete the records of those rows that have one, and return how many there were."""
        deleted = self._forget("row", rows)
        self._advance(0, deleted)
        return deleted

    def shrink(self) -> None:
        """Give back the memory of what is cached."""
        self._connection.execute("PRAGMA shrink_memory")

    def settle(self, generation: int, gone: int) -> None:
        """Make a generation the one that counts; it has no dead rows, and other places."""
        self._connection.execute("UPDATE state SET deleted = 0, gone = ?, generation = ?", (gone, generation))
        self._connection.execute("DELETE FROM dead")
        self._connection.execute("DELETE FROM blocks")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _forget(self, column: Literal["id", "row"], values: Iterable[object]) -> int:
        look_up = f"SELECT row, metadata FROM records WHERE {column} = ?"
        found = [row for value in values for row in self._connection.execute(look_up, (value,))]
        rows = [(row,) for row, _ in found]
        fields = sorted(entry for row, metadata in found for entry in _fields(row, metadata))
        self._connection.executemany("DELETE FROM records WHERE row = ?", rows)
        self._connection.executemany("DELETE FROM fields WHERE name = ? AND kind = ? AND value = ? AND row = ?", fields)
        self._connection.executemany("INSERT INTO dead (row) VALUES (?)", rows)
        return len(found)

    def _advance(self, rows: int, deleted: int) -> None:
        if rows or deleted:
            self._connection.execute("UPDATE state SET rows = rows + ?, deleted = deleted + ?", (rows, deleted))


def _connect(folder: Path, mode: str, *statements: str) -> sqlite3.Connection:
    """Open the database and run statements; those that read make sure that it can be read."""
    connection = sqlite3.connect(
        f"{(folder / NAME).as_uri()}?{mode}",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # a file from elsewhere brings no code that runs
        for statement in statements:
            connection.execute(statement).fetchone()
        if mode != "mode=rwc":
            _check_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_schema(connection: sqlite3.Connection) -> None:
    """Refuse views, triggers and computed columns: a query of them could take forever, or all memory."""
    found = connection.execute(_OBJECTS).fetchall()
    if {name for _, name, _ in found} - _PARTS or any(kind not in ("table", "index") or n for kind, _, n in found):
        raise sqlite3.DatabaseError("it holds more than the tables of an index")


def _has_log(folder: Path) -> bool:
    log = folder / f"{NAME}-wal"
    return log.exists() and log.stat().st_size > 0


def _read_state(connection: sqlite3.Connection) -> tuple[int, int, int, int, str]:
    state: Any = connection.execute("SELECT rows, deleted, gone, generation, id FROM state").fetchone() or ()
    whole = len(state) == 5 and all(type(number) is int and number >= 0 for number in state[:4])
    if not whole or state[1] + state[2] > state[0]:
        raise sqlite3.DatabaseError(f"the state {state!r} makes no sense")
    return state


# What is read from the file, decoded. A file may hold anything, and what makes no sense is a sqlite3.DatabaseError; all
# else that these functions could raise would be a mistake of ours, and leaves as what it is.


def _texts(parts: Sequence[Any]) -> Sequence[str]:
    """Return columns of a row that are texts."""
    if not all(isinstance(part, str) for part in parts):
        raise sqlite3.DatabaseError(f"a record has {brief(parts)} where there should be texts")
    return parts


def _record(row: Sequence[Any]) -> Record:
    """Return the record of (id, text, metadata as JSON)."""
    id, text, metadata = _texts(row)
    content = _metadata(metadata)
    try:
        return Record(id, text, content)
    except InvalidRecord as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _metadata(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"the metadata of a record are not JSON: {error}") from error
    if not isinstance(content, dict):
        raise sqlite3.DatabaseError(f"the metadata of a record are {brief(content)}, not an object")
    return cast("dict[str, Any]", content)


def _entry(kind: str, value: Any) -> Value:
    try:
        return read_entry(kind, value)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"a field holds {brief(value)} where there should be a number") from error


def _fields(row: int, metadata: Any) -> Iterator[tuple[str, str, Any, int]]:
    """Yield the entries of a record in the index of metadata fields, as rows of ``fields``."""
    (text,) = _texts([metadata])
    for name, kind, value in entries(_metadata(text)):
        if not is_unicode(name) or not is_unicode(value):
            raise sqlite3.DatabaseError("the metadata of a record hold half a surrogate pair")
        yield name, kind, value, row


def _crc(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())
