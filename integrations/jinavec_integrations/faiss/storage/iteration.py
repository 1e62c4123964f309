"""Iteration: every record once, page by page, while others add, delete and compact.

Pages follow the docids, which are given in order, never again, and kept through every compaction. So a record that
stays comes where its docid is; one that is replaced meanwhile gets a docid that is still to come. The iteration ends
with a page that reaches the last docid of its own snapshot: then no record can be anywhere else. A record that was
replaced after its page would come twice; the ids that came are known by their digests, eight bytes an id.

Each page is a snapshot of its own. A read transaction that stayed open from page to page would keep SQLite from
beginning its log anew, and the log would grow by all that is written until the iteration ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import compress

import numpy as np

from jinavec.errors import InvalidInput, brief
from jinavec.filters import Filter
from jinavec.id_set import IdSet
from jinavec.records import Page, Record
from jinavec_integrations.faiss.storage.filters import select
from jinavec_integrations.faiss.storage.layout import Layout
from jinavec_integrations.faiss.storage.records import Snapshot
from jinavec_integrations.faiss.types import DocIds

Read = Callable[[], AbstractContextManager[tuple[Snapshot, Layout]]]
"""Opens a snapshot, and the files that belong to it."""


def read_cursor(text: str) -> int:
    """Return the docid to go on from; a cursor is that docid.

    Raises:
        InvalidInput: it is something else.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidInput(f"after must be the cursor of a page of this index, not {brief(text)}")
    return int(text)


def iterate(read: Read, size: int, *, vectors: bool, condition: Filter | None, start: int) -> Iterator[Page]:
    """Yield the records from a docid on that match a condition, ``size`` at a time."""
    walk, came, ended = _Walk(start, condition), IdSet(), False
    while not ended:
        with read() as (snapshot, layout):
            found, ended = walk.read(snapshot, size)
            is_new = came.add(record.id for record in found.values())
            found = dict(compress(found.items(), is_new))
            rows = layout.vectors_of(np.fromiter(found, np.int64)) if vectors else None
        if found:
            yield Page(list(found.values()), str(walk.start), rows)


class _Walk:
    """Reads records in the order of their docids."""

    def __init__(self, start: int, condition: Filter | None) -> None:
        self.start = start
        """The docid to go on from."""
        self._condition = condition
        self._matching = np.empty(0, np.int64)
        """Docids that match and are still to come; of a later snapshot there may be more from ``_bound`` on."""
        self._bound = start

    def read(self, snapshot: Snapshot, size: int) -> tuple[dict[int, Record], bool]:
        """Return the next records by docid, and whether no other is behind them in this snapshot."""
        if self._condition is None:
            found = snapshot.page(self.start, size)
            ended = len(found) < size
            self.start = snapshot.docids if ended else max(found) + 1
            return found, ended
        is_new = not len(self._matching)
        if is_new:
            self._matching, self._bound = _matching(snapshot, self._condition, self.start), snapshot.docids
        part, self._matching = self._matching[:size], self._matching[size:]
        exhausted = not len(self._matching)
        self.start = self._bound if exhausted else int(part[-1]) + 1
        return snapshot.existing(part.tolist()), exhausted and is_new


def _matching(snapshot: Snapshot, condition: Filter, start: int) -> DocIds:
    """Return the docids from ``start`` on whose metadata match: what a docid stands for is final."""
    return start + np.flatnonzero(select(condition, snapshot.docids, snapshot.find)[start:])
