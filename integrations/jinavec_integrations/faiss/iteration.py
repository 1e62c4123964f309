"""Iteration: every record once, page by page, while others add, delete and compact.

Pages follow the row numbers, up to the last one that had been given when the iteration began. A record keeps its number
through every compaction, and no number is given twice: so a record that stays comes exactly once. One that is replaced
meanwhile gets a new number, beyond the last: it comes as it was if its page came before, and else not at all.

Each page is a snapshot of its own. A read transaction that stayed open from page to page would keep SQLite from
beginning its log anew, and the log would grow by all that is written until the iteration ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from jinavec.errors import InvalidInput, brief
from jinavec.filters import Filter
from jinavec.records import Page
from jinavec_integrations.faiss.filters import select
from jinavec_integrations.faiss.layout import Layout
from jinavec_integrations.faiss.records import Snapshot
from jinavec_integrations.faiss.rowfile import Rows

Look = Callable[[], AbstractContextManager[tuple[Snapshot, Layout]]]
"""Opens a snapshot, and the files that belong to it."""


@dataclass(frozen=True)
class Cursor:
    """How far an iteration is."""

    start: int
    """The row number to go on from."""
    end: int
    """The row numbers that had been given when the iteration began."""

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read what ``str`` wrote.

        Raises:
            InvalidInput: it is something else.
        """
        found = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text)
        if found is None:
            raise InvalidInput(f"after must be the cursor of a page of this index, not {brief(text)}")
        return cls(int(found[1]), int(found[2]))


def iterate(look: Look, size: int, *, vectors: bool, condition: Filter | None, cursor: Cursor | None) -> Iterator[Page]:
    """Yield the records behind a cursor that match a condition, ``size`` at a time."""
    with look() as (snapshot, _):
        start, end = (0, snapshot.rows) if cursor is None else (cursor.start, cursor.end)
        matching = None if condition is None else _matching(snapshot, condition, start, end)
    while start < end:
        with look() as (snapshot, layout):
            if matching is None:
                found = snapshot.page(start, end, size)
                start = max(found) + 1 if len(found) == size else end
            else:
                part, matching = matching[:size], matching[size:]
                found = snapshot.existing(part.tolist())  # without those that were deleted or replaced meanwhile
                start = int(part[-1]) + 1 if len(matching) else end
            rows = layout.vectors_of(np.fromiter(found, np.int64)) if vectors else None
        if found:
            yield Page(list(found.values()), str(Cursor(start, end)), rows)


def _matching(snapshot: Snapshot, condition: Filter, start: int, end: int) -> Rows:
    """Return the row numbers from ``start`` up to ``end`` whose metadata match: what a number stands for is final."""
    return start + np.flatnonzero(select(condition, snapshot.rows, snapshot.find)[start:end])
