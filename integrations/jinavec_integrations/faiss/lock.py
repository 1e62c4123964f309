"""WriterLock: at most one writer of an index, whichever process or object it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from jinavec.errors import EngineError, IndexLocked

NAME = "lock.sqlite"
_PATIENCE = 1.0  # seconds: enough for a writer that is just closing


class WriterLock:
    """Held from construction until closed, or until the process dies.

    An exclusive lock on an empty SQLite database: SQLite knows how every system locks files, also against other
    objects of the same process, and the system lets go when a process is killed.

    Raises:
        IndexLocked: someone else writes.
        EngineError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        if not os.access(folder, os.W_OK):
            raise EngineError(f"{folder} is read-only: make it writable, or change a copy of it")
        self._connection = sqlite3.connect(
            folder / NAME, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA journal_mode = MEMORY")  # nothing is ever written, so no journal either
            self._connection.execute("BEGIN EXCLUSIVE")
        except BaseException as error:
            self._connection.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise IndexLocked(f"{folder} is being written by someone else; close that index first") from error
            raise

    def close(self) -> None:
        """Let the next writer in."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
