"""The SQLite part of an index: records and their metadata, and the state that makes an addition or a compaction true.

A record is known by its docid, which it keeps: docids count additions and are never given again. Where its bits and
int8 vector lie, its slot, is the same until a compaction; see ``layout``. The columns named ``row`` hold docids.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, Literal
from uuid import UUID

import numpy as np

from jinavec.errors import IndexDamaged, InvalidInput, brief
from jinavec.filters import In, Range, Value, is_unicode, match
from jinavec.records import Record, parse_metadata, same_content, stored_record
from jinavec_integrations.faiss.storage.connections import Connections, UnknownOutcome, open_database
from jinavec_integrations.faiss.storage.errors import is_no_space
from jinavec_integrations.faiss.storage.filters import Lookup, entries, lookups, read_entry
from jinavec_integrations.faiss.storage.folder import RECORDS, Folder
from jinavec_integrations.faiss.storage.manifest import Manifest
from jinavec_integrations.faiss.types import DocIds

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
_VARIABLES = 999
"""Values of one statement: the least that SQLite is ever built for."""
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


def create(folder: Folder, id: str) -> None:
    """Write a database without records, for the index with an id."""
    with closing(_connect(folder, "mode=rwc", "PRAGMA journal_mode = WAL")) as connection:
        connection.executescript(f"BEGIN; {_SCHEMA} INSERT INTO state VALUES (0, 0, 0, 0, '{UUID(id).hex}'); COMMIT;")


class Snapshot:
    """The index as it was at one moment, whatever is written meanwhile: a read transaction of a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("BEGIN")
        self.docids, self.deleted, self.purged, self.generation, self.id = _read_state(connection)
        """Docids ever given; those deleted since the last compaction, and purged by compactions; the number of
        compactions; the id of the index."""

    @property
    def slots(self) -> int:
        """The rows in the row files."""
        return self.docids - self.purged

    @property
    def count(self) -> int:
        """The number of records."""
        return self.slots - self.deleted

    def deleted_docids(self, known: int = 0) -> DocIds:
        """Return the docids whose records were replaced or deleted, but for the first ``known`` of them."""
        return self._docids("SELECT row FROM dead WHERE number > ? AND row BETWEEN 0 AND ?", (known, self.docids - 1))

    def find(self, leaf: In | Range) -> DocIds:
        """Return the docids that pass a leaf of a filter, in no order."""
        return np.concatenate([np.empty(0, np.int64), *(self._look_up(leaf, lookup) for lookup in lookups(leaf))])

    def by_docid(self, docids: Sequence[int]) -> list[Record]:
        """Return the records of docids, in their order.

        Raises:
            sqlite3.DatabaseError: a docid has none.
        """
        found = self._found(docids)
        if len(found) < len(docids):
            raise sqlite3.DatabaseError("a vector has no record")
        return [found[docid] for docid in docids]

    def ids_of(self, docids: Sequence[int]) -> list[str]:
        """Return the ids of docids, in their order.

        Raises:
            sqlite3.DatabaseError: a docid has none.
        """
        found = dict(self._rows("row, id", docids))
        if len(found) < len(docids):
            raise sqlite3.DatabaseError("a vector has no record")
        return list(_texts([found[docid] for docid in docids]))

    def existing(self, docids: Iterable[int]) -> dict[int, Record]:
        """Return the records of those docids that have one, in their order."""
        asked = list(docids)
        found = self._found(asked)
        return {docid: found[docid] for docid in asked if docid in found}

    def _found(self, docids: Sequence[int]) -> dict[int, Record]:
        """Return the records of those docids that have one, in no order."""
        rows = self._rows("row, id, text, metadata", docids)
        return {docid: _record(id, text, metadata) for docid, id, text, metadata in rows}

    def _rows(self, columns: str, docids: Sequence[int]) -> Iterable[tuple[Any, ...]]:
        """Return columns of those docids that have a record, in no order."""
        if len(docids) > _VARIABLES:
            parts = (docids[start : start + _VARIABLES] for start in range(0, len(docids), _VARIABLES))
            return chain.from_iterable(self._rows(columns, part) for part in parts)
        look_up = f"SELECT {columns} FROM records WHERE row IN ({','.join('?' * len(docids))})"
        return self._connection.execute(look_up, docids)

    def page(self, start: int, count: int) -> dict[int, Record]:
        """Return the first ``count`` records with docids from ``start`` on."""
        select = "SELECT row, id, text, metadata FROM records WHERE row >= ? AND row < ? ORDER BY row LIMIT ?"
        limits = start, self.docids, min(count, self.docids)
        return {row: _record(*found) for row, *found in self._connection.execute(select, limits)}

    def by_id(self, ids: Iterable[str]) -> list[Record]:
        """Return the records of those ids that exist, in their order."""
        look_up = "SELECT id, text, metadata FROM records WHERE id = ?"
        known = filter(is_unicode, ids)
        return [_record(*found) for id in known for found in self._connection.execute(look_up, (id,))]

    def unchanged(self, records: Iterable[Record]) -> dict[str, bool]:
        """Return for those of the ids that exist: whether text and metadata are the same."""
        look_up = "SELECT id, text, metadata FROM records WHERE id = ?"
        found = ((record, row) for record in records for row in self._connection.execute(look_up, (record.id,)))
        return {
            record.id: tuple(row[1:]) == (record.text, record.metadata_json()) or same_content(record, _record(*row))
            for record, row in found
        }

    def ids(self) -> list[str]:
        """Return the ids of all records, the oldest first."""
        return [id for (id,) in self._connection.execute("SELECT id FROM records ORDER BY row")]

    def docids_by_id(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the docids of those ids that exist."""
        look_up = "SELECT id, row FROM records WHERE id = ? AND row BETWEEN 0 AND ?"
        known = filter(is_unicode, ids)
        return dict(row for id in known for row in self._connection.execute(look_up, (id, self.docids - 1)))

    def docids_of(self, ids: Sequence[str]) -> DocIds:
        """Return the docids of ids.

        Raises:
            InvalidInput: an id that is not there.
        """
        known = self.docids_by_id(ids)
        for id in ids:
            if id not in known:
                raise InvalidInput(f"there is no record with the id {brief(id)}")
        return np.array([known[id] for id in ids], np.int64)

    def blocks(self) -> list[tuple[int, int, int, int]]:
        """Return (first slot, rows, CRC-32 of codes, CRC-32 of vectors) of each addition since the last compaction."""
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

    def _look_up(self, leaf: In | Range, lookup: Lookup) -> DocIds:
        where = "FROM fields WHERE name = ? AND kind = ? AND row BETWEEN 0 AND ?"
        bound = (lookup.name, lookup.kind, self.docids - 1)
        if lookup.comparison is not None:
            return self._docids(f"SELECT row {where} AND value {lookup.comparison} ?", (*bound, lookup.value))
        found = self._connection.execute(f"SELECT row, value {where}", bound)
        passing = (row for row, value in found if match(leaf, {leaf.field: _entry(lookup.kind, value)}))
        return np.fromiter(passing, np.int64)

    def _docids(self, statement: str, parameters: Sequence[object]) -> DocIds:
        return np.fromiter((row for (row,) in self._connection.execute(statement, parameters)), np.int64)


class Readers(Connections):
    """Connections that read."""

    _frozen = False

    def connect(self) -> sqlite3.Connection:
        """Open the database; frozen where nothing can be written, and then not to be kept, since others may write."""
        self._frozen = not os.access(self.folder.path, os.W_OK)
        if not self._frozen:
            try:
                return _connect(self.folder, "mode=rw", *_READING)
            except sqlite3.OperationalError as error:
                self._frozen = error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
                if not self._frozen:
                    raise
        # SQLite would now fail to make its log; but without a log beside it, the file is whole.
        has_log = self.folder.size(f"{RECORDS}-wal") > 0
        return _connect(self.folder, "mode=ro" if has_log else "immutable=1", *_READING)

    def is_kept(self) -> bool:
        """Return whether a connection may be used again."""
        return super().is_kept() and not self._frozen


class Writer(Connections):
    """The connection that writes; for who holds the write lock."""

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """Make everything done inside true at once at the end, or nothing of it on an error.

        Raises:
            UnknownOutcome: the COMMIT failed.
        """
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection, self.folder)
            yield transaction
            transaction.commit()

    def connect(self) -> sqlite3.Connection:
        """Open the database."""
        return _connect(self.folder, "mode=rw", *_WRITING)


class Transaction:
    """What can be changed in one transaction."""

    def __init__(self, connection: sqlite3.Connection, folder: Folder) -> None:
        self._connection, self._folder = connection, folder
        self._read_state()

    def _read_state(self) -> None:
        self.docids, self.deleted, self.purged, self.generation, self.id = _read_state(self._connection)

    @property
    def slots(self) -> int:
        """The rows in the row files."""
        return self.docids - self.purged

    def commit(self) -> None:
        """Make true what was done.

        Where SQLite finds no space it has not written the last frame of the log, which alone makes a transaction count
        (sqlite.org/fileformat2.html, 4.1). Of any other failure, one to flush the log above all, that cannot be said.

        Raises:
            sqlite3.Error: there is no space, and nothing was done.
            UnknownOutcome: any other failure.
        """
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if is_no_space(self._folder.path, error):
                raise
            raise UnknownOutcome(str(error)) from error

    def supersede(self) -> None:
        """Commit a change without a meaning, and go on in a new transaction.

        A transaction whose COMMIT failed, in a process that was killed then, may stand in the log and come true when
        the log is read next. It no longer can once another one was written over it and flushed. So before anything in
        the files is undone because the state does not count it, this makes sure that the state never will.
        """
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        self._connection.execute(f"PRAGMA user_version = {(version + 1) % 2**31}")
        self.commit()
        self._connection.execute("BEGIN IMMEDIATE")
        self._read_state()

    def add(self, records: Sequence[tuple[str, str, str]], codes: int, vectors: int) -> None:
        """Add (id, metadata as JSON, text) with the next docids, in place of the records that have these ids.

        Args:
            records: what to add.
            codes: the CRC-32 of their codes.
            vectors: the CRC-32 of their int8 copies.
        """
        block = (self.slots, len(records), codes, vectors)
        self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", block)
        replaced = self._forget("id", (id for id, _, _ in records))
        numbered = list(enumerate(records, start=self.docids))
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

    def delete_docids(self, docids: Iterable[int]) -> int:
        """Delete the records of those docids that have one, and return how many there were."""
        deleted = self._forget("row", docids)
        self._advance(0, deleted)
        return deleted

    def compact(self, manifest: Manifest, slots: int, known: int) -> None:
        """Make a generation the one that counts.

        Args:
            manifest: of the generation.
            slots: the rows that were compacted; what was added meanwhile follows those that are left.
            known: the deletions that the compaction knows; those made meanwhile stay deleted rows.
        """
        deleted = self._connection.execute("SELECT row FROM dead WHERE number > ? ORDER BY number", (known,)).fetchall()
        added = "SELECT start - ?, rows, codes, vectors FROM blocks WHERE start >= ?"
        blocks = self._connection.execute(added, (slots - manifest.compacted, slots)).fetchall()
        self._connection.execute("DELETE FROM dead")
        self._connection.execute("DELETE FROM blocks")
        self._connection.executemany("INSERT INTO dead (row) VALUES (?)", deleted)
        self._connection.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?)", blocks)
        state = (len(deleted), manifest.purged, manifest.generation)
        self._connection.execute("UPDATE state SET deleted = ?, gone = ?, generation = ?", state)

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
            self.docids += rows
            self.deleted += deleted


def _connect(folder: Folder, mode: str, *statements: str) -> sqlite3.Connection:
    """Open the database and run statements; those that read make sure that it can be read."""
    connection = open_database(folder, RECORDS, mode, _PATIENCE)
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


def _read_state(connection: sqlite3.Connection) -> tuple[int, int, int, int, str]:
    state: Any = connection.execute("SELECT rows, deleted, gone, generation, id FROM state").fetchone() or ()
    kinds = int, int, int, int, str
    if tuple(map(type, state)) != kinds or min(state[:4]) < 0 or state[1] + state[2] > state[0]:
        raise sqlite3.DatabaseError(f"the state {state!r} makes no sense")
    return state


# What is read from the file, decoded. A file may hold anything, and what makes no sense is a sqlite3.DatabaseError; all
# else that these functions could raise would be a mistake of ours, and leaves as what it is.


def _texts(parts: Sequence[Any]) -> Sequence[str]:
    """Return columns of a row that are texts."""
    if not all(isinstance(part, str) for part in parts):
        raise sqlite3.DatabaseError(f"a record has {brief(parts)} where there should be texts")
    return parts


def _record(id: Any, text: Any, metadata: Any) -> Record:
    """Return the record of an id, a text, and metadata as JSON, which are parsed when they are looked at."""
    if not (type(id) is type(text) is type(metadata) is str and id):
        raise sqlite3.DatabaseError(f"a record has {brief((id, text, metadata))} where there should be an id and texts")
    return stored_record(id, text, metadata)


def _entry(kind: str, value: Any) -> Value:
    try:
        return read_entry(kind, value)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"a field holds {brief(value)} where there should be a number") from error


def _fields(row: int, metadata: Any) -> Iterator[tuple[str, str, Any, int]]:
    """Yield the entries of a record in the index of metadata fields, as rows of ``fields``."""
    (text,) = _texts([metadata])
    try:
        metadata = parse_metadata(text)
    except IndexDamaged as error:
        raise sqlite3.DatabaseError(str(error)) from error
    for name, kind, value in entries(metadata):
        if not is_unicode(name) or not is_unicode(value):
            raise sqlite3.DatabaseError("the metadata of a record hold half a surrogate pair")
        yield name, kind, value, row


def _crc(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())
