"""Distinct: the records of one run, each id once; ids are kept on disk, so that memory does not grow with them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from typing import Self

from jinavec.errors import JinavecError
from jinavec_adapters.cli.sources.fields import Item
from jinavec_adapters.cli.sources.rejects import Rejects

_TABLE = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;
CREATE TABLE places (key BLOB PRIMARY KEY, place BLOB) WITHOUT ROWID; BEGIN
"""


class Distinct:
    """Items without duplicates: a repeated id is rejected; a repeated text without an id is counted and left out.

    As a context, it deletes its temporary database at the end.
    """

    def __init__(self, items: Iterable[Item], rejects: Rejects) -> None:
        self._items = items
        self._rejects = rejects
        self.repeated = 0
        """Texts left out because they came before."""
        self._db = sqlite3.connect("", isolation_level=None)  # a temporary file
        self._db.executescript(_TABLE)

    def __iter__(self) -> Iterator[Item]:
        """Yield each id once; raises InvalidRecord as ``Rejects`` does.

        Afterwards, ``in`` tells which ids were given.
        """
        for item in self._items:
            if self._remember(item):
                yield item
            elif item.derived:
                self.repeated += 1
            else:
                id = item.record.id
                self._rejects(item.place, f"the id {id!r} was already given at {self.place(id)}")

    def __contains__(self, id: str) -> bool:
        """Return whether an id was given so far."""
        return self._db.execute("SELECT 1 FROM places WHERE key = ?", (_key(id),)).fetchone() is not None

    def place(self, id: str) -> str:
        """Return where the record of an id stood, such as ``notes.jsonl:3``."""
        return os.fsdecode(self._db.execute("SELECT place FROM places WHERE key = ?", (_key(id),)).fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def _remember(self, item: Item) -> bool:
        """Note the place of an id; return False if it was noted before."""
        row = _key(item.record.id), os.fsencode(item.place)  # a file's name may be no Unicode
        try:
            return self._db.execute("INSERT OR IGNORE INTO places VALUES (?, ?)", row).rowcount == 1
        except sqlite3.Error as error:
            raise JinavecError(f"cannot note the ids of this run in {tempfile.gettempdir()}: {error}") from error


def _key(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=16).digest()
