"""Locks of an index: one for a write, one for a compaction; whichever process or object takes them.

An exclusive lock on an empty SQLite database: SQLite knows how every system locks files, also against other objects of
the same process, and the system lets go when a process is killed. A forked process does not inherit it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from jinavec.errors import EngineError, IndexLocked
from jinavec_integrations.faiss.storage.connections import Connections, open_database
from jinavec_integrations.faiss.storage.errors import require_locks
from jinavec_integrations.faiss.storage.folder import HOLDER, WRITE_LOCK, Folder, write_all


class Lock(Connections):
    """A lock of a folder."""

    def __init__(self, folder: Folder, name: str, timeout: float) -> None:
        """Take a lock by name, and the seconds to wait for who holds it."""
        super().__init__(folder)
        self._name = name
        self._timeout = timeout
        self._signed: tuple[int, tuple[int, int] | None] | None = None

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock for as long as the context lasts.

        Raises:
            IndexLocked: somebody else held it all the time; the message names the process.
            EngineError: the folder cannot be written, or is another one.
        """
        if not os.access(self.folder.path, os.W_OK):
            self.folder.check()
            raise EngineError(f"{self.folder} is read-only: make it writable, or change a copy of it")
        with ExitStack() as stack:
            try:
                stack.enter_context(self.connection()).execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                raise _locked(self.folder, self._name, self._timeout) from error
            if self._name == WRITE_LOCK:
                self._sign()
            yield

    def connect(self) -> sqlite3.Connection:
        """Open the database, which stays empty: nothing is ever written, so it needs no journal on the disk either."""
        connection = open_database(self.folder, self._name, "mode=rwc", self._timeout)
        try:
            connection.execute("PRAGMA journal_mode = MEMORY")
        except BaseException:
            connection.close()
            raise
        return connection

    def _sign(self) -> None:
        """Write down which process writes: nothing but an error message rests on it, so it may fail."""
        if self._signed == (os.getpid(), self.folder.changed(HOLDER)):
            return  # nobody else has signed since; to write would take as long as to flush a file
        with suppress(OSError):
            with self.folder.open(HOLDER, "ab") as file:
                file.truncate(0)
                write_all(file, b"%d\n" % os.getpid())
            self._signed = os.getpid(), self.folder.changed(HOLDER)


def _locked(folder: Folder, name: str, timeout: float) -> EngineError:
    require_locks(folder.path)
    waited = f"waited {timeout:g} s (option lock_timeout)"
    if name != WRITE_LOCK:
        return IndexLocked(f"{folder} is being compacted by another process or object; {waited}")
    return IndexLocked(f"{folder} is being written by {_holder(folder)}; {waited}")


def _holder(folder: Folder) -> str:
    try:
        with folder.open(HOLDER) as file:
            pid = int(file.read(32))
    except (OSError, ValueError):
        return "another process"
    return "another thread or object of this process" if pid == os.getpid() else f"process {pid}"
