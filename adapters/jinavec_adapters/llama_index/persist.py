"""The file that StorageContext.persist has a vector store write: the path of its index."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem  # pyright: ignore[reportMissingTypeStubs]
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_FNAME

from jinavec.errors import IndexDamaged, IndexNotFound, InvalidInput

_KIND = "jinavec BinaryVectorStore"
_HOW_TO_OPEN = "open it with jinavec_adapters.llama_index.BinaryVectorStore.from_persist_dir"


def path_in(persist_dir: str | os.PathLike[str], namespace: str) -> str:
    """Return the path that StorageContext.persist gives to a vector store."""
    return os.path.join(persist_dir, f"{namespace}__{DEFAULT_PERSIST_FNAME}")


def write(persist_path: str | os.PathLike[str], index: str, fs: AbstractFileSystem | None) -> None:
    """Write the path of an index; relative where the file lies above it, so that both can be moved together."""
    _check_local(fs)
    file, folder = Path(persist_path).absolute(), Path(index).absolute()
    inside = folder.is_relative_to(file.parent)
    # Without a vector store of its own, StorageContext reads this file as a SimpleVectorStore, which takes any object
    # for an empty store. A string in place of its vectors makes that fail, and says what to do instead.
    content = {
        "kind": _KIND,
        "path": str(folder.relative_to(file.parent)) if inside else str(folder),
        "embedding_dict": _HOW_TO_OPEN,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps(content), "utf-8")
    partial.replace(file)


def read(persist_path: str | os.PathLike[str], fs: AbstractFileSystem | None) -> str:
    """Return the path of the index that a file names."""
    _check_local(fs)
    file = Path(persist_path).absolute()
    try:
        content: Any = json.loads(file.read_text("utf-8"))
        if content["kind"] != _KIND:
            raise ValueError(f"it is of the kind {content['kind']!r}")
        return str(file.parent / content["path"])
    except FileNotFoundError as error:
        raise IndexNotFound(f"no vector store was persisted at {file}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"{file} was not written by BinaryVectorStore.persist: {error!r}") from error


def _check_local(fs: AbstractFileSystem | None) -> None:
    if fs is not None and not isinstance(fs, LocalFileSystem):
        raise InvalidInput(f"a FAISS binary index lives on a local disk, not on {type(fs).__name__}")
