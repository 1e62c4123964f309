"""What the disk and SQLite report, told in jinavec's own errors: once, here."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from jinavec.errors import EngineError, IndexDamaged, IndexLocked

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SQLITE_NO_SPACE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
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


@contextmanager
def reported(folder: Path, undone: str = "") -> Generator[None]:
    """Raise an EngineError in place of what the system or SQLite raises.

    Args:
        folder: the index.
        undone: what did not happen, for the message.

    Raises:
        IndexDamaged: SQLite finds the file malformed.
        IndexLocked: another connection holds on to it.
        EngineError: no space, no permission, or any other failure.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite's message quotes a damaged file
        raise _from_sqlite(folder, error, undone) from error
    except OSError as error:
        raise _failed(folder, str(error), error.errno in _NO_SPACE, undone) from error


def _from_sqlite(folder: Path, error: Exception, undone: str) -> EngineError:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # errors of the module itself have none
    if code in _SQLITE_NO_SPACE or code & 0xFF in _SQLITE_FAILED:
        return _failed(folder, f"records.sqlite: {error}", code in _SQLITE_NO_SPACE, undone)
    if code & 0xFF in _SQLITE_BUSY:
        return IndexLocked(f"{folder} is held by another process for too long: records.sqlite: {error}")
    return IndexDamaged(f"{folder} is damaged: records.sqlite: {error}")


def _failed(folder: Path, what: str, no_space: bool, undone: str) -> EngineError:
    head = f"no space left in {folder} ({what}); free some and try again" if no_space else f"{folder}: {what}"
    return EngineError(f"{head}: {undone}" if undone else head)
