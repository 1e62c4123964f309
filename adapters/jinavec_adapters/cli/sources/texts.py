"""Files of text as an index knows them: their ids and metadata, and which records are of which folder."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

from jinavec.errors import InvalidInput
from jinavec.filters import is_unicode
from jinavec.records import Record

SUFFIXES = (".txt", ".md", ".markdown")
"""What is read of a folder."""


class TextFile(NamedTuple):
    """A file of text; its passages are records."""

    root: str
    """The folder that was indexed, absolute; of a file that was named itself, the folder it is in."""
    path: str
    """Below the root, with slashes."""

    def id(self, passage: int) -> str:
        """Return the id of a passage: it tells the root apart, since files in two roots may have one name."""
        return f"{_root_tag(self.root)}/{self.path}#{passage}"

    def record(self, passage: int, text: str) -> Record:
        """Return a passage as a record, whose metadata lead back to the file.

        Raises:
            InvalidRecord: the path is not Unicode.
        """
        return Record(self.id(passage), text, {"root": self.root, "path": self.path, "passage": passage})

    @classmethod
    def of(cls, record: Record) -> Self | None:
        """Return the file that a record is a passage of, or None if it is no such record."""
        found: list[Any] = [record.metadata.get(name) for name in ("root", "path", "passage")]
        root, path, passage = found
        if not (isinstance(root, str) and isinstance(path, str) and isinstance(passage, int)):
            return None
        file = cls(root, path)
        return file if record.id == file.id(passage) else None


class Scope(NamedTuple):
    """What a source of texts covers: the files below a folder, or one file."""

    root: str
    path: str = ""
    """Of the one file; empty for a folder."""

    @classmethod
    def of(cls, source: Path, *, is_file: bool) -> Self:
        """Return what a named file or folder covers.

        Raises:
            InvalidInput: the name is not Unicode, so that no record can say it.
        """
        absolute = Path(os.path.abspath(source))  # links stay: what a link leads to may change
        scope = cls(str(absolute.parent), absolute.name) if is_file else cls(str(absolute))
        if not all(map(is_unicode, scope)):
            raise InvalidInput(f"the name of {str(source)!r} is not valid Unicode: rename it")
        return scope

    def filter(self) -> dict[str, Any]:
        """Return the filter that its records match."""
        return {"root": self.root} | ({"path": self.path} if self.path else {})

    def holds(self, path: str) -> bool:
        """Return whether reading this source could come upon a file of this path."""
        return path == self.path if self.path else is_read(PurePosixPath(path))


def is_read(path: PurePosixPath | Path) -> bool:
    """Return whether a path below a folder is one that is read: a text, and no name on the way is hidden."""
    return path.suffix.lower() in SUFFIXES and not any(name.startswith(".") for name in path.parts)


@cache
def _root_tag(root: str) -> str:
    return hashlib.sha256(root.encode("utf-8", "surrogateescape")).hexdigest()[:12]
