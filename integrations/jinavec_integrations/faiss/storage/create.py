"""The folder of an index: recognized, and made."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from jinavec.errors import HOW_TO_CREATE, EngineError, IndexDamaged, IndexNotFound
from jinavec_integrations.faiss.storage import records
from jinavec_integrations.faiss.storage.errors import reported
from jinavec_integrations.faiss.storage.folder import COMPACTION_LOCK, HOLDER, MANIFEST, RECORDS, WRITE_LOCK, Folder
from jinavec_integrations.faiss.storage.foreign_file import faiss_file
from jinavec_integrations.faiss.storage.lock import Lock
from jinavec_integrations.faiss.storage.manifest import Manifest
from jinavec_integrations.faiss.storage.rowfile import CodeFile, RowFile, VectorFile, code_width

_ROW_FILES: tuple[type[RowFile], ...] = (CodeFile, VectorFile)
_PARTS = (*(f"{RECORDS}{suffix}" for suffix in ("", "-journal", "-wal", "-shm")), *(kind.stem for kind in _ROW_FILES))
_DRAFTS = tuple(f"{name}.new" for name in (MANIFEST, *(kind.stem for kind in _ROW_FILES)))
_LOCKS = (WRITE_LOCK, COMPACTION_LOCK, HOLDER)


def has_index(path: Path) -> bool:
    """Return whether a folder is an index: whether it holds a manifest."""
    return (path / MANIFEST).is_file()


def require_index(path: Path) -> None:
    """Make sure that a folder is an index.

    Raises:
        IndexNotFound: nothing is there.
        IndexDamaged: something else is.
    """
    if has_index(path):
        return
    if not path.exists() or (path.is_dir() and _is_vacant(path)):
        raise IndexNotFound(f"there is no index at {path}; {HOW_TO_CREATE}")
    _refuse_faiss_file(path)
    what = f"it holds no {MANIFEST}" if path.is_dir() else "it is not a folder"
    raise IndexDamaged(f"{path} is not a jinavec index: {what}")


@contextmanager
def created(path: Path, manifest: Manifest, lock_timeout: float) -> Generator[None]:
    """Make an index in a new or empty folder, for a context that opens it; on an error in either, nothing is left.

    The manifest is written last: before it, the folder is no index, and a creation that was killed can be repeated.

    Raises:
        EngineError: something is there already.
        IndexLocked: someone else is making one.
    """
    with reported(path, "no index was made"):
        made = not path.exists()
        require_vacant(path)
        path.mkdir(parents=True, exist_ok=True)
        folder = Folder(path)
        try:
            with closing(Lock(folder, WRITE_LOCK, lock_timeout)) as lock, lock.held():
                require_vacant(path)
                try:
                    _write(folder, manifest)
                    yield
                except BaseException as error:
                    try:
                        folder.unlink(MANIFEST, *_PARTS, *_DRAFTS, *(_LOCKS if made else ()))
                    except OSError as failure:
                        raise EngineError(f"{path}: {failure}: what was made so far was left there") from error
                    raise
        except BaseException:
            if made:
                with suppress(OSError):
                    path.rmdir()
            raise
        finally:
            folder.close()


@contextmanager
def drafted(path: Path) -> Generator[Path]:
    """Yield where to make an index, which is moved to its path when the context ends; on an error nothing is left.

    Raises:
        EngineError: something is there already, or it cannot be written.
    """
    undone = "no index was made"
    with ExitStack() as resources:
        with reported(path, undone):
            require_vacant(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
            draft = Path(resources.enter_context(beside), path.name)
        yield draft
        with reported(path, undone):
            if path.exists():
                path.rmdir()
            draft.rename(path)
            with closing(Folder(path.parent)) as parent:
                parent.sync()


def _write(folder: Folder, manifest: Manifest) -> None:
    folder.unlink(*_PARTS)
    CodeFile.create(folder, code_width(manifest.contract.dimension))
    if manifest.keeps_vectors:
        VectorFile.create(folder, manifest.contract.dimension)
    records.create(folder, manifest.id)
    manifest.write(folder)
    with closing(Folder(folder.path.parent)) as parent:
        parent.sync()


def require_vacant(path: Path) -> None:
    """Make sure that an index can be made in a folder, if it is there.

    Raises:
        EngineError: something is there already.
    """
    if not path.exists():
        return
    if not path.is_dir():
        _refuse_faiss_file(path)
        raise EngineError(f"{path} is not a folder")
    if has_index(path):
        raise EngineError(f"{path} already holds an index; open it instead")
    if not _is_vacant(path):
        raise EngineError(f"{path} is not empty, and what is in it is not a jinavec index")


def _refuse_faiss_file(path: Path) -> None:
    if faiss_file(path) is not None:
        raise IndexDamaged(
            f"{path} is an index file of FAISS, not a jinavec index, which is a folder; import it: jinavec index"
            f" {path} --to faiss:DIR --model MODEL (in Python: BinaryIndex.import_faiss)"
        )


def _is_vacant(path: Path) -> bool:
    """Return whether a folder holds nothing, or only what a creation leaves or is just writing: files without a row."""
    names = {file.name for file in path.iterdir()}
    return names <= {*_PARTS, *_DRAFTS, *_LOCKS, MANIFEST} and not any(
        _size(path / kind.stem) > kind.start for kind in _ROW_FILES
    )


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
