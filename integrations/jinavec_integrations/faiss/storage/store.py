"""Store: an index on disk, read by many and written by one at a time.

SQLite says what counts: how many rows there are, which of them are deleted, and which generation of the files is the
one to read. So a write goes first to the row files, where nobody looks beyond the rows that count, and becomes true
with one COMMIT. FORMAT.md tells the order of writes, and why a crash at any point does no harm.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jinavec.errors import EngineError, IndexDamaged, IndexLocked
from jinavec.records import Record
from jinavec.vectors import Bits, Int8
from jinavec_integrations.faiss.storage.connections import UnknownOutcome, check_fork, was_used_at_fork
from jinavec_integrations.faiss.storage.create import require_index
from jinavec_integrations.faiss.storage.errors import reported
from jinavec_integrations.faiss.storage.folder import COMPACTION_LOCK, MANIFEST, RECORDS, WRITE_LOCK, Folder
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.lock import Lock
from jinavec_integrations.faiss.storage.manifest import DRAFT, Manifest, read_manifest
from jinavec_integrations.faiss.storage.records import Readers, Snapshot, Transaction, Writer
from jinavec_integrations.faiss.storage.rowfile import MappedFile
from jinavec_integrations.faiss.types import Mask

_ATTEMPTS = 10
"""Looks at an index that is being compacted again and again."""


@dataclass(frozen=True)
class _Opened:
    """The layout of one generation, and the manifest file that it was opened by."""

    layout: Layout
    file: MappedFile
    """Kept open, so that no other file can get its inode."""
    inode: tuple[int, int]
    changed: int
    """When the file was changed last: jinavec never changes one, it puts another in its place."""
    is_current: bool = True
    """Whether no other manifest has been put in its place since."""


class Store:
    """The files of one index, opened."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        """Open an index; the work does not grow with its size.

        Args:
            path: an absolute path.
            lock_timeout: seconds to wait for another writer.

        Raises:
            IndexNotFound: nothing is there.
            IndexDamaged: it is no index, or not a whole one; the message names the file.
        """
        with reported(path):
            require_index(path)
        self.path = path
        self._writing = threading.RLock()
        _ALL.add(self)
        self._alive = 0, np.empty(0, np.bool_), 0  # in a generation: the docids with records, as of so many deletions
        self._is_swept = False
        self._opened: _Opened | None = None
        resources = ExitStack()
        self._finalizer = weakref.finalize(self, resources.close)  # also where nobody closes the index
        try:
            with reported(path):
                self.folder = Folder(path)
                resources.callback(self.folder.close)
                self._readers = resources.enter_context(closing(Readers(self.folder)))
                self._writer = resources.enter_context(closing(Writer(self.folder)))
                self._write_lock = resources.enter_context(closing(Lock(self.folder, WRITE_LOCK, lock_timeout)))
                self._compaction_lock = resources.enter_context(
                    closing(Lock(self.folder, COMPACTION_LOCK, lock_timeout))
                )
                if not (path / RECORDS).is_file():
                    raise IndexDamaged(f"{path / RECORDS} is missing")
                Manifest.read(self.folder)
            with self.read() as (snapshot, layout):
                self.folder.remember_database()  # only now: to open it may copy it, where the file system has layers
                layout.check(snapshot.slots)
        except BaseException:
            self._finalizer()
            raise

    @property
    def manifest(self) -> Manifest:
        """The manifest as of the last look at the index."""
        return self._known.layout.manifest

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        """Look at the records as of one moment.

        Raises:
            EngineError: the folder was replaced, or cannot be read.
        """
        self._check_open()
        with reported(self.path):
            self._check_folder()
            with self._readers.connection() as connection:
                yield Snapshot(connection)

    def read(self) -> Reading:
        """Look at one moment of the index, inside a ``with``; when a compaction has just ended, at its files."""
        self._check_open()
        return Reading(self.path, self._readers, self._begin)

    def _begin(self, connection: sqlite3.Connection) -> tuple[Snapshot, Layout]:
        self._check_folder()
        snapshot = Snapshot(connection)
        layout = self._layout_of(snapshot)
        layout.check_sizes(snapshot.slots)
        return snapshot, layout

    @contextmanager
    def write(self) -> Generator[tuple[Transaction, Layout]]:
        """Write under the lock: everything inside becomes true at once when SQLite commits, or nothing on an error.

        Raises:
            IndexLocked: another writer was busy all the time.
            EngineError: nothing of it was stored, or that is unknown: the message tells which.
        """
        self._check_open()
        with self._writing, reported(self.path, "nothing of this call was stored"):
            self._check_open()
            with self._write_lock.held():
                self._check_folder()
                prepared = False  # before it is, rows behind those that count may be of a COMMIT of unknown outcome
                try:
                    with self._writer.transaction() as transaction:
                        layout = self._prepare(transaction)
                        prepared = True
                        yield transaction, layout
                except BaseException as error:
                    self._is_swept = False
                    if prepared and not isinstance(error, UnknownOutcome):  # else what is in the files may count
                        with suppress(OSError, sqlite3.Error, EngineError):  # else the next write does it
                            self._undo()
                    raise

    def append(self, records: Sequence[Record], codes: Iterable[Bits], vectors: Iterable[Int8]) -> None:
        """Store records with their bits and int8 vectors, which may be read and made while they are written."""
        entries = [(record.id, record.metadata_json(), record.text) for record in records]
        with self.write() as (transaction, layout):
            start = transaction.slots
            code_crc = layout.codes.append(start, codes)
            vector_crc = 0 if layout.vectors is None else layout.vectors.append(start, vectors)
            transaction.add(entries, code_crc, vector_crc)

    def change_manifest(self, **changes: Any) -> None:
        """Replace parts of the manifest."""
        with self.write() as (_, layout):
            replace(layout.manifest, **changes).write(self.folder)

    @contextmanager
    def compacting(self) -> Generator[None]:
        """Hold the lock of compactions, beside others that read and write."""
        self._check_open()
        self._writer.close_idle()  # and gives back the memory of what it cached
        with reported(self.path, "nothing was compacted"):
            with self._compaction_lock.held():
                self.sweep()
                yield

    def sweep(self) -> None:
        """Bring to its end, or undo, what a compaction has left; for who holds the lock of compactions."""
        with self.write() as (transaction, _):
            self._sweep(transaction)

    def alive(self, snapshot: Snapshot, layout: Layout) -> Mask:
        """Return which docids have a record."""
        generation, alive, deleted = self._alive
        if generation != snapshot.generation or len(alive) > snapshot.docids or deleted > snapshot.deleted:
            alive, deleted = layout.not_purged(snapshot.docids), 0
        if (generation, len(alive), deleted) != (snapshot.generation, snapshot.docids, snapshot.deleted):
            alive = np.append(alive, np.ones(snapshot.docids - len(alive), np.bool_))
            alive[snapshot.deleted_docids(deleted)] = False
            self._alive = snapshot.generation, alive, snapshot.deleted
        return alive

    def file_sizes(self) -> dict[str, int]:
        """Return the bytes of each file of the index."""
        names = [MANIFEST, *(f"{RECORDS}{suffix}" for suffix in ("", "-journal", "-wal", "-shm"))]
        names += self.folder.generation_files(self.manifest.generation)
        return {name: size for name in names if (size := self.folder.size(name))}

    def close(self) -> None:
        """Release files. Idempotent."""
        if was_used_at_fork(self.folder):
            return  # a lock of threads may be held here for ever
        with self._writing:
            self._finalizer()
            if self._opened is not None:
                self._opened.layout.close()
                self._opened = None  # and so its files, as soon as no thread reads them

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise EngineError(f"the index {self.path} is closed; open it again")
        check_fork(self.folder)  # before a lock of threads is waited for, which nobody here can release

    def _check_folder(self) -> None:
        """Make sure that the path still leads to the folder that was opened, and that it is not written over.

        Raises:
            EngineError: it does not, or it is.
        """
        self.folder.check()
        opened, found = self._opened, self.folder.stat(MANIFEST)
        if opened is None:
            return
        if found is None or (found.st_dev, found.st_ino) != opened.inode:
            self._opened = replace(opened, is_current=False)
        elif found.st_ctime_ns != opened.changed:
            raise EngineError(f"{self.path / MANIFEST} was written over or got other permissions; reopen the index")

    @property
    def _known(self) -> _Opened:
        opened = self._opened
        if opened is None:
            raise EngineError(f"the index {self.path} is closed; open it again")
        return opened

    def _layout_of(self, state: Snapshot | Transaction) -> Layout:
        """Return the layout of a generation.

        Raises:
            IndexDamaged: its files are not there, or not those of this index.
            EngineError: the manifest was written over.
        """
        opened = self._opened  # read once: another thread may replace it
        if opened is not None and opened.is_current and opened.layout.manifest.generation == state.generation:
            return opened.layout
        file = MappedFile(self.folder, MANIFEST)
        manifest = read_manifest(self.folder, state.generation)
        if manifest.id != state.id:
            raise IndexDamaged(f"{self.folder} is damaged: {RECORDS} is another index's")
        if manifest.purged != state.purged:
            raise IndexDamaged(f"{self.folder} is damaged: its manifest and {RECORDS} count differently")
        if opened is not None and opened.layout.manifest.generation == manifest.generation:
            layout = replace(opened.layout, manifest=manifest)
        else:
            layout = Layout.open(self.folder, manifest)
        status = file.status
        self._opened = _Opened(layout, file, (status.st_dev, status.st_ino), status.st_ctime_ns)
        return layout

    def _prepare(self, transaction: Transaction) -> Layout:
        """Return the layout to write to, with nothing in its row files beyond the rows that count."""
        layout = self._layout_of(transaction)
        layout.manifest.check_writable(self.folder)
        slots = transaction.slots
        if any(file.size > file.offset(slots) for file in layout.row_files):
            transaction.supersede()
            layout.truncate(slots)
        if not self._is_swept:
            with suppress(IndexLocked), closing(Lock(self.folder, COMPACTION_LOCK, 0)) as lock, lock.held():
                self._sweep(transaction)  # where the lock is held, it is the work of a compaction that goes on
            self._is_swept = True
        return layout

    def _sweep(self, transaction: Transaction) -> None:
        files = self.folder.leftovers(transaction.generation)
        if not files and self.folder.stat(DRAFT) is None:
            return
        transaction.supersede()
        if Manifest.read(self.folder).generation != transaction.generation:
            self.folder.rename(DRAFT, MANIFEST)
            self.folder.sync()  # before its files count, and before the others go
        self.folder.unlink(DRAFT, *files)

    def _undo(self) -> None:
        """Cut off what a call wrote that has failed; what counts now is read again."""
        layout = self._known.layout
        with self._readers.connection() as connection:
            snapshot = Snapshot(connection)
            if snapshot.generation == layout.manifest.generation:
                layout.truncate(snapshot.slots)

    def renew_lock(self) -> None:
        """Let go, in a forked process, of what a thread held that is not there: it used no connection yet."""
        self._writing = threading.RLock()


class Reading:
    """A look at one moment of an index, until ``__exit__``; a search is one, so it is no generator."""

    __slots__ = ("_begin", "_path", "_readers", "_use")

    def __init__(
        self, path: Path, readers: Readers, begin: Callable[[sqlite3.Connection], tuple[Snapshot, Layout]]
    ) -> None:
        self._path, self._readers, self._begin = path, readers, begin

    def __enter__(self) -> tuple[Snapshot, Layout]:
        with reported(self._path):
            for _ in range(_ATTEMPTS - 1):
                with suppress(IndexDamaged):  # a compaction may have removed the files meanwhile
                    return self._attempt()
            return self._attempt()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with reported(self._path):
            self._use.__exit__(kind, error, trace)
            if error is not None:
                raise error

    def _attempt(self) -> tuple[Snapshot, Layout]:
        self._use = self._readers.connection()
        connection = self._use.__enter__()
        try:
            return self._begin(connection)
        except BaseException as error:
            self._use.__exit__(type(error), error, error.__traceback__)
            raise


_ALL: weakref.WeakSet[Store] = weakref.WeakSet()


def _in_child() -> None:
    for store in list(_ALL):
        store.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
