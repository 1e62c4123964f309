"""Pages: every document of an index once, from a snapshot, with cursors that outlive it.

A point in time (PIT) is the snapshot: what others write meanwhile changes nothing in it. Documents come in the order of
their sequence numbers, which stay the same until a document is written again, and then only grow. So a cursor is good
in a later snapshot, too: what lies behind it cannot move before it, and nothing is lost. What was written in between
can come again.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from jinavec.errors import InvalidInput, brief
from jinavec.extras import require
from jinavec_integrations.elasticsearch.calls import Call, Steps

KEEP_ALIVE = "10m"
"""How long the server keeps a snapshot after each page."""
_ORDER = [{"_seq_no": "asc"}, {"_shard_doc": "asc"}]
"""Each shard counts its own sequence numbers. Of the 64 bits of ``_shard_doc``, the upper half is the shard,
the lower half the document's place in this snapshot (Elasticsearch's ShardDocSortField)."""
_LAST_PLACE = 2**31 - 1


@dataclass(frozen=True)
class Cursor:
    """A document's sequence number and the number of its shard: no other document has both."""

    sequence: int
    shard: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` of a cursor wrote.

        Raises:
            InvalidInput: it is no cursor of this engine.
        """
        found = re.fullmatch(r"([0-9]{1,19}):([0-9]{1,5})", text)
        if found is None:
            raise InvalidInput(f"not a cursor of an Elasticsearch index: {brief(text)}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, hit: dict[str, Any]) -> Self:
        """Return the cursor behind a hit."""
        sequence, place = hit["sort"]
        return cls(sequence, place >> 32)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.shard}"

    @property
    def search_after(self) -> list[int]:
        """The sort values behind the document, in any snapshot: each shard has a sequence number once."""
        return [self.sequence, self.shard << 32 | _LAST_PLACE]


class Snapshot:
    """Reads an index page by page; each method takes steps, one after the other."""

    def __init__(self, index: str, size: int, *, after: Cursor | None = None, **search: Any) -> None:
        """Prepare for reading; nothing is asked yet.

        Args:
            index: its name.
            size: hits of a page.
            after: where to go on.
            search: what is asked of each document, and which: ``source``, ``query``.
        """
        self._index = index
        self._size = size
        self._after = after
        self._search = search
        self._id: str | None = None
        self._is_read = False

    def next_page(self) -> Steps[list[dict[str, Any]]]:
        """Return the hits of the next page; none at the end."""
        if self._is_read:
            return []
        if self._id is None:
            opened = yield Call("open_point_in_time", {"index": self._index, "keep_alive": KEEP_ALIVE})
            self._id = opened["id"]
        asked = {
            "pit": {"id": self._id, "keep_alive": KEEP_ALIVE},
            "size": self._size,
            "sort": _ORDER,
            "search_after": None if self._after is None else self._after.search_after,
            "track_total_hits": False,
            "allow_partial_search_results": False,
            **self._search,
        }
        answer = yield Call("search", asked)
        self._id = answer.get("pit_id", self._id)
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        self._is_read = len(hits) < self._size
        if hits:
            self._after = Cursor.of(hits[-1])
        return hits

    def release(self) -> Steps[None]:
        """Let the server forget the snapshot; one that cannot be released expires."""
        library = require("elasticsearch", "elasticsearch")
        if self._id is not None:
            with suppress(library.ApiError, library.TransportError):
                yield Call("close_point_in_time", {"id": self._id}, {"max_retries": 0})
