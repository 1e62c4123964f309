"""SqliteEngine: an engine of one's own, in one SQLite file; exact, for some thousands of records.

open_engine("sqlite:notes.db", encoder=encoder)      jinavec index notes.jsonl --to sqlite:notes.db
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

from jinavec import Contract, Encoder, Engine, Hit, Page, Record
from jinavec.errors import EngineError, IndexNotFound, InvalidInput
from jinavec.filters import Filter, match
from jinavec.options import read_options
from jinavec.vectors import Float32

_SCHEMA = """
CREATE TABLE contract (json TEXT NOT NULL);
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, metadata TEXT NOT NULL,
    vector BLOB NOT NULL
);
"""


@dataclass(frozen=True, kw_only=True)
class SqliteOptions:
    """Options of the engine; ``--option`` on the command line, whose help shows what follows.

    Attributes:
        timeout: Seconds to wait for another process that writes.
    """

    timeout: float = 5.0


class SqliteEngine(Engine):
    """Records and vectors in one SQLite file; each batch is one transaction."""

    name = "sqlite"
    options_type = SqliteOptions

    def __init__(self, path: Path, contract: Contract | None, encoder: Encoder | None, options: SqliteOptions) -> None:
        """Open the file, or create it where there is a contract."""
        if not path.exists() and contract is None:
            raise IndexNotFound(f"there is no index at {path}")
        self._created = not path.exists()
        self._closed = False
        self._lock = Lock()  # an ingest stores from several threads
        self._path = path
        self._db = sqlite3.connect(path, timeout=options.timeout, isolation_level=None, check_same_thread=False)
        if contract is not None and self._created:
            self._db.executescript(_SCHEMA)
            self._db.execute("INSERT INTO contract VALUES (?)", (json.dumps(contract.to_json()),))
        self.contract = Contract.from_json(json.loads(self._db.execute("SELECT json FROM contract").fetchone()[0]))
        self.encoder = encoder

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open ``sqlite:FILE``; the contract inside is compared with the one that is expected."""
        engine = cls(Path(location), contract, encoder, read_options(SqliteOptions, options))
        if contract is not None:
            engine.contract.check(contract)
        return engine

    def close(self) -> None:
        """Release resources. Idempotent."""
        self._closed = True
        self._db.close()

    def _store(self, records: list[Record], vectors: Float32) -> Mapping[str, str]:
        rows = [
            (record.id, record.text, record.metadata_json(), vector.tobytes())
            for record, vector in zip(records, vectors, strict=True)
        ]
        with self._lock, self._open_db() as db:  # a transaction: all of the batch or nothing
            db.execute("BEGIN IMMEDIATE")
            db.executemany("REPLACE INTO records (id, text, metadata, vector) VALUES (?, ?, ?, ?)", rows)
        return {}

    def _delete(self, ids: list[str]) -> int:
        with self._lock, self._open_db() as db:
            db.execute("BEGIN IMMEDIATE")
            return sum(db.execute("DELETE FROM records WHERE id = ?", (_stored(id),)).rowcount for id in ids)

    def _get(self, ids: list[str]) -> list[Record]:
        select = "SELECT id, text, metadata FROM records WHERE id = ?"
        return [_record(*row) for id in ids for row in self._open_db().execute(select, (_stored(id),))]

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        hits = [
            Hit(record, max(-1.0, min(1.0, float(vector @ query))))
            for page in self._iterate(1000, True, condition, None)
            if page.vectors is not None
            for record, vector in zip(page, page.vectors, strict=True)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:k]

    def _iterate(self, batch_size: int, vectors: bool, condition: Filter | None, after: str | None) -> Iterator[Page]:
        """Yield pages in the order of numbers, which are never given again; so nothing comes twice."""
        number = -1 if after is None else _number(after)
        last = self._open_db().execute("SELECT max(number) FROM records").fetchone()[0] or 0
        select = "SELECT number, id, text, metadata, vector FROM records WHERE number > ? AND number <= ? LIMIT ?"
        while rows := self._open_db().execute(select, (number, last, batch_size)).fetchall():
            number = rows[-1][0]
            found = [(_record(*row[1:4]), row[4]) for row in rows]
            kept = [row for row in found if condition is None or match(condition, row[0].metadata)]
            if kept:
                stacked = np.stack([np.frombuffer(vector, np.float32) for _, vector in kept]) if vectors else None
                yield Page([record for record, _ in kept], str(number), stacked)

    def _open_db(self) -> sqlite3.Connection:
        if self._closed:
            raise EngineError(f"the index {self._path} is closed; open it again")
        return self._db


def _record(id: str, text: str, metadata: str) -> Record:
    return Record(id, text, json.loads(metadata))


def _stored(id: str) -> Any:
    """Return an id as SQLite takes it; half a surrogate pair is in no record."""
    return id if id.isascii() or id.encode(errors="replace").decode() == id else None


def _number(cursor: str) -> int:
    if not cursor.isdecimal():
        raise InvalidInput(f"{cursor!r} is no cursor of this engine")
    return int(cursor)
