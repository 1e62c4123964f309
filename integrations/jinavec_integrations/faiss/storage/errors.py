"""What the disk and SQLite report, told in jinavec's own errors: once, here."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from jinavec.errors import EngineError, IndexDamaged, IndexLocked
from jinavec_integrations.faiss.storage.connections import UnknownOutcome
from jinavec_integrations.faiss.storage.folder import HOLDER, RECORDS

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PAGE = 8192
"""Bytes that SQLite writes at once, and some more."""
_UNKNOWN = "whether this call was stored is unknown until the index is opened again or written next"
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_FAILED = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_TOOBIG,
}


class reported:
    """Raise an EngineError in place of what the system or SQLite raises, inside a ``with``.

    A class, not a generator: a search passes here, and this costs a fraction.
    """

    __slots__ = ("_folder", "_undone")

    def __init__(self, folder: Path, undone: str = "") -> None:
        """Take the path of the index and, for the message, what did not happen."""
        self._folder, self._undone = folder, undone

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate an error.

        Raises:
            IndexDamaged: SQLite finds the file malformed.
            IndexLocked: another connection holds on to it.
            EngineError: no space, no permission, or any other failure.
        """
        if isinstance(error, UnknownOutcome):
            raise _failed(self._folder, f"{RECORDS}: {error}", no_space=False, undone=_UNKNOWN) from error
        if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):  # the latter where a message quotes a damaged file
            raise _from_sqlite(self._folder, error, self._undone) from error
        if isinstance(error, OSError):
            no_space = error.errno in _NO_SPACE
            raise _failed(self._folder, str(error), no_space=no_space, undone=self._undone) from error


def is_no_space(folder: Path, error: Exception) -> bool:
    """Return whether SQLite found no space: on the disk, or below the limit that this process has for a file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE):  # the number of the system's error is lost
        limit = _largest_file()
        return any(path.stat().st_size + _PAGE > limit for path in folder.glob(f"{RECORDS}*"))
    return code == sqlite3.SQLITE_FULL


def _largest_file() -> float:
    try:
        import resource
    except ImportError:
        return float("inf")
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft


def _from_sqlite(folder: Path, error: Exception, undone: str) -> EngineError:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # errors of the module itself have none
    no_space = is_no_space(folder, error) or (code == sqlite3.SQLITE_IOERR_SHMSIZE and _is_full(folder))
    if no_space or code & 0xFF in _SQLITE_FAILED:
        return _failed(folder, f"{RECORDS}: {error}", no_space=no_space, undone=undone)
    if code & 0xFF in _SQLITE_BUSY:
        try:
            require_locks(folder)
        except OSError as without_locks:
            return _failed(folder, str(without_locks), no_space=False, undone=undone)
        return IndexLocked(f"{folder} is held by another process for too long: {RECORDS}: {error}")
    return IndexDamaged(f"{folder} is damaged: {RECORDS}: {error}")


def require_locks(folder: Path) -> None:
    """Make sure that files can be locked here: SQLite tells a system without locks as a lock that somebody holds.

    Raises:
        OSError: they cannot.
    """
    try:
        import fcntl
    except ImportError:
        return
    if not os.access(folder, os.W_OK):
        return
    with (folder / HOLDER).open("ab") as file:  # SQLite has no lock on this file, which to close it here would drop
        with suppress(BlockingIOError):  # somebody else is asking the same
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_full(folder: Path) -> bool:
    while not folder.exists():  # what was made is removed already
        folder = folder.parent
    if not hasattr(os, "statvfs"):
        return False
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < 2**16


def _failed(folder: Path, what: str, *, no_space: bool, undone: str) -> EngineError:
    head = f"no space left in {folder} ({what}); free some and try again" if no_space else f"{folder}: {what}"
    return EngineError(f"{head}: {undone}" if undone else head)
