"""Seen: the ids of one run, kept on disk so that memory does not grow with the corpus."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile

from jinavec.errors import JinavecError


class Seen:
    """Remembers every id of a run and where it stood, in a temporary database that vanishes on close."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;"
            " CREATE TABLE seen (key BLOB PRIMARY KEY, place TEXT) WITHOUT ROWID; BEGIN"
        )

    def earlier(self, id: str, place: str) -> str | None:
        """Return where the id stood before, or None and remember it.

        Raises:
            JinavecError: the temporary folder is full.
        """
        key = hashlib.blake2b(id.encode(), digest_size=16).digest()
        try:
            if self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, place)).rowcount:
                return None
            return self._db.execute("SELECT place FROM seen WHERE key = ?", (key,)).fetchone()[0]
        except sqlite3.Error as error:
            raise JinavecError(f"cannot note the ids of this run in {tempfile.gettempdir()}: {error}") from error

    def close(self) -> None:
        """Forget everything."""
        self._db.close()
