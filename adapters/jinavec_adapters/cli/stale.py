"""Records of files of text that the files no longer hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from jinavec import Engine, Record
from jinavec_adapters.cli.sources import Distinct, Scope, Sources, TextFile


class Stale:
    """Finds, once the sources were read to their end, the records of theirs that the index should no longer hold.

    Of a file that was read, that is every passage that was not read now. With ``sync`` it is every passage of a file
    that is gone, too. What could not be read stays, and so does every record from anywhere else.

    Version 0.1 stored passages whose ids and metadata do not tell the root. Those of a file are stale once one of them
    is stored again with the same text: then it is that file.
    """

    def __init__(self, sources: Sources, read: Distinct, *, sync: bool) -> None:
        self._sources = sources
        self._read = read
        self._sync = sync

    def delete(self, engine: Engine, *, added: bool) -> int:
        """Delete those records; return how many there were.

        Args:
            engine: the index that the sources were stored in.
            added: whether some of what was stored is new there.
        """
        deleted = sum(engine.delete(ids) for ids in self._pages(engine))
        return deleted + sum(engine.delete(ids) for ids in self._first_format(engine)) if added else deleted

    def count(self, engine: Engine) -> int:
        """Return how many records ``delete`` would delete, those of version 0.1 not counted."""
        return len({id for ids in self._pages(engine) for id in ids})

    def _pages(self, engine: Engine) -> Iterator[list[str]]:
        for scope in dict.fromkeys(self._sources.scopes):
            for page in engine.iterate(filter=scope.filter()):
                ids = [record.id for record in page if self._is_stale(record, scope)]
                if ids:
                    yield ids

    def _is_stale(self, record: Record, scope: Scope) -> bool:
        file = TextFile.of(record)
        if file is None or record.id in self._read or self._is_unread(file):
            return False
        if self._sync and scope.holds(file.path):
            return True
        return file.id(0) in self._read or file in self._sources.blank

    def _is_unread(self, file: TextFile) -> bool:
        """Return whether a file, or a folder on the way to it, could not be read."""
        parents = map(str, PurePosixPath(file.path).parents)
        return any(TextFile(file.root, path) in self._sources.unread for path in (file.path, *parents))

    def _first_format(self, engine: Engine) -> Iterator[list[str]]:
        roots = {scope.root for scope in self._sources.scopes}
        paths: set[str] = set()
        for page in engine.iterate(filter=_WITHOUT_ROOT):
            old = [record for record in page if _is_first_format(record)]
            new = {TextFile(root, r.metadata["path"]).id(r.metadata["passage"]): r for r in old for root in roots}
            now = engine.get([id for id in new if id in self._read])
            paths |= {record.metadata["path"] for record in now if record.text == new[record.id].text}
        if paths:
            for page in engine.iterate(filter=_WITHOUT_ROOT):
                yield [r.id for r in page if _is_first_format(r) and r.metadata["path"] in paths]


_WITHOUT_ROOT = {"and": [{"passage": {"gte": 0}}, {"not": {"root": {"gte": ""}}}]}


def _is_first_format(record: Record) -> bool:
    values = record.metadata
    return set(values) == {"path", "passage"} and record.id == f"{values['path']}#{values['passage']}"
