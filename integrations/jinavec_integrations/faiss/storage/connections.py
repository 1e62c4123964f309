"""Connections to SQLite: kept between uses, made anew after an error, closed before a fork.

SQLite knows in each process which files it has locked. A forked process inherits that knowledge, but not the locks: its
connections would trust in locks that nobody holds, and read what was overwritten long ago
(sqlite.org/howtocorrupt.html, 2.6). The knowledge goes with the last connection to a file, so all that are idle are
closed before a fork, and both processes connect again. One that another thread is using cannot be closed: the child
keeps away from that folder.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from weakref import WeakSet

from jinavec.errors import EngineError, IndexDamaged
from jinavec_integrations.faiss.storage.folder import Folder


class UnknownOutcome(Exception):
    """A COMMIT failed: whether it took place is decided when the database is opened next, or written next."""


def open_database(folder: Folder, name: str, query: str, timeout: float) -> sqlite3.Connection:
    """Open a database of an index.

    Raises:
        IndexDamaged: a rollback journal lies beside it, which no index has: SQLite would delete the file that a forged
            one names (sqlite.org/fileformat2.html, 3).
    """
    if folder.stat(f"{name}-journal") is not None:
        raise IndexDamaged(f"{folder.path / name}-journal is not of a jinavec index: remove it")
    address = f"{(folder.path / name).as_uri()}?{query}"
    return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


class Connections(ABC):
    """Connections to one database, as many as there are threads that use it at the same time."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.used: list[object] = []
        """One object for each use that is going on: to change a list is atomic, to count is not."""
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        _ALL.add(self)

    @abstractmethod
    def connect(self) -> sqlite3.Connection:
        """Return a new connection."""

    def is_kept(self) -> bool:
        """Return whether a connection may be used again."""
        return not self._closed

    def connection(self) -> Use:
        """Use a connection alone, inside a ``with``; what is not committed at the end is rolled back."""
        return Use(self)

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        use = object()
        self.used.append(use)  # to close one is to use SQLite, whose own locks a forked process would find held
        try:
            while (connection := self._take_idle()) is not None:
                connection.close()
        finally:
            self.used.remove(use)

    def close(self) -> None:
        """Close all connections, those in use when they are given back. Idempotent."""
        self._closed = True
        self.close_idle()

    def take(self) -> sqlite3.Connection:
        """Return a connection that nobody else uses."""
        return self._take_idle() or self._connect_here()

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Keep a connection for the next use."""
        self._idle.append(connection)
        if not self.is_kept():
            self.close_idle()

    def _connect_here(self) -> sqlite3.Connection:
        """Return a new connection, which SQLite made by path: what the path leads to now is what it led to then."""
        connection = self.connect()
        try:
            self.folder.check_directory()
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_idle(self) -> sqlite3.Connection | None:
        try:
            return self._idle.pop()  # atomic: no other thread gets the same
        except IndexError:
            return None


class Use:
    """One use of a connection, between ``__enter__`` and ``__exit__``: a search is one, so it is no generator."""

    __slots__ = ("_connection", "_of")

    def __init__(self, connections: Connections) -> None:
        self._of = connections

    def __enter__(self) -> sqlite3.Connection:
        check_fork(self._of.folder)
        self._of.used.append(self)
        try:
            self._connection = self._of.take()
        except BaseException:
            self._of.used.remove(self)
            raise
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if isinstance(error, (sqlite3.Error, UnknownOutcome)):
                self._connection.close()
            else:
                self._connection.rollback()
                self._of.give_back(self._connection)
        finally:
            self._of.used.remove(self)


def was_used_at_fork(folder: Folder) -> bool:
    """Return whether another thread used a folder when this process was forked."""
    return bool(_USED_AT_FORK) and folder.path in _USED_AT_FORK


def check_fork(folder: Folder) -> None:
    """Make sure that no other thread used a folder when this process was forked.

    Raises:
        EngineError: one did.
    """
    if was_used_at_fork(folder):
        raise EngineError(
            f"{folder} was in use by another thread when this process was forked, so SQLite cannot be used here: fork "
            "while no thread uses the index, or start processes by spawn"
        )


_ALL: WeakSet[Connections] = WeakSet()
_USED_AT_FORK: set[Path] = set()


def _before_fork() -> None:
    for connections in list(_ALL):
        connections.close_idle()


def _in_child() -> None:
    _USED_AT_FORK.update(connections.folder.path for connections in list(_ALL) if connections.used)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
