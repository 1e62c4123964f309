"""The folder of an index: found, and made."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from jinavec.errors import EngineError, IndexDamaged, IndexNotFound, InvalidTarget
from jinavec_integrations.faiss import lock, manifest, records
from jinavec_integrations.faiss.disk import sync_folder
from jinavec_integrations.faiss.generations import files_of
from jinavec_integrations.faiss.lock import WriterLock
from jinavec_integrations.faiss.manifest import Manifest
from jinavec_integrations.faiss.rowfile import CodeFile, VectorFile, code_width

_ROW_FILES = (CodeFile, VectorFile)
_PARTS = (
    *(f"{records.NAME}{suffix}" for suffix in ("", "-journal", "-wal", "-shm")),
    *(kind.name for kind in _ROW_FILES),
)
_DRAFTS = tuple(f"{name}.new" for name in (manifest.NAME, *(kind.name for kind in _ROW_FILES)))


def locate(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of an index folder.

    Raises:
        InvalidTarget: no path can be like this.
    """
    if "\0" in os.fspath(path):
        raise InvalidTarget(f"a path holds no NUL character: {path!r}")
    return Path(path).absolute()


def has_index(folder: Path) -> bool:
    """Return whether a folder is an index: whether it holds a manifest."""
    return (folder / manifest.NAME).is_file()


def require_index(folder: Path) -> None:
    """Make sure that a folder is an index.

    Raises:
        IndexNotFound: nothing is there.
        IndexDamaged: something else is.
    """
    if has_index(folder):
        return
    if not folder.exists() or (folder.is_dir() and _is_vacant(folder)):
        raise IndexNotFound(f"there is no index at {folder}; create it with a contract or an encoder")
    what = f"it holds no {manifest.NAME}" if folder.is_dir() else "it is not a folder"
    raise IndexDamaged(f"{folder} is not a jinavec index: {what}")


def file_sizes(folder: Path, generation: int) -> dict[str, int]:
    """Return the bytes of each file of an index."""
    parts = [manifest.NAME, *(name for name in _PARTS if name.startswith(records.NAME))]
    parts += [path.name for path in files_of(folder, generation)]
    return {name: size for name in parts if (size := _size(folder / name))}


def build(folder: Path, contents: Manifest) -> None:
    """Make an index in a new or empty folder; on an error, nothing is left of it.

    The manifest is written last: before it, the folder is no index, and a creation that was killed can be repeated.

    Raises:
        EngineError: something is there already.
        IndexLocked: someone else is making one.
    """
    made = not folder.exists()
    require_vacant(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with WriterLock(folder):
            require_vacant(folder)
            _write(folder, contents, made)
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise
    sync_folder(folder.parent)


def _write(folder: Path, contents: Manifest, made: bool) -> None:
    try:
        _remove(folder, _PARTS)
        CodeFile(folder, code_width(contents.contract.dimension)).create()
        if contents.keeps_vectors:
            VectorFile(folder, contents.contract.dimension).create()
        records.create(folder, contents.id)
        contents.write(folder)
    except BaseException:
        _remove(folder, (*_PARTS, *_DRAFTS, manifest.NAME, *((lock.NAME,) if made else ())))
        raise


def require_vacant(folder: Path) -> None:
    """Make sure that an index can be made in a folder, if it is there.

    Raises:
        EngineError: something is there already.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise EngineError(f"{folder} is not a folder")
    if has_index(folder):
        raise EngineError(f"{folder} already holds an index; open it instead")
    if not _is_vacant(folder):
        raise EngineError(f"{folder} is not empty, and what is in it is not a jinavec index")


def _is_vacant(folder: Path) -> bool:
    """Return whether a folder holds nothing, or only what a creation leaves or is just writing: files without a row."""
    names = {file.name for file in folder.iterdir()}
    return names <= {*_PARTS, *_DRAFTS, lock.NAME, manifest.NAME} and not any(
        _size(folder / kind.name) > kind.start for kind in _ROW_FILES
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
