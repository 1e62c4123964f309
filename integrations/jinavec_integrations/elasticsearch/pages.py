"""Pages: every document of an index once, from a snapshot, with cursors that outlive it.

A point in time (PIT) is the snapshot: what others write meanwhile changes nothing in it. Documents come in the order of
their sequence numbers, which stay the same until a document is written again, and then only grow. So a cursor is good
in a later snapshot, too: what lies behind it cannot move before it, and nothing is lost. What was written in between
can come again.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from jinavec.errors import InvalidInput, brief
from jinavec.extras import require
from jinavec_integrations.elasticsearch.errors import reported

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

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


def read_pages(
    client: Elasticsearch, index: str, size: int, *, where: str, after: Cursor | None = None, **search: Any
) -> Generator[list[dict[str, Any]]]:
    """Yield the hits of an index, page by page; the snapshot ends with the generator.

    Args:
        client: of the server.
        index: its name.
        size: hits of a page.
        where: index and server, for messages.
        after: where to go on.
        search: what is asked of each document, and which: ``source``, ``query``.
    """
    with reported(where):
        snapshot = client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE)["id"]
    try:
        hits: list[dict[str, Any]] = []
        while not hits or len(hits) == size:
            with reported(where):
                answer = client.search(
                    pit={"id": snapshot, "keep_alive": KEEP_ALIVE},
                    size=size,
                    sort=_ORDER,
                    search_after=None if after is None else after.search_after,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    **search,
                )
            snapshot = answer.get("pit_id", snapshot)
            hits = answer["hits"]["hits"]
            if not hits:
                return
            yield hits
            after = Cursor.of(hits[-1])
    finally:
        _forget(client, snapshot)


def _forget(client: Elasticsearch, snapshot: str) -> None:
    """Release a snapshot; one that cannot be released expires."""
    library = require("elasticsearch", "elasticsearch")
    with suppress(library.ApiError, library.TransportError):
        client.options(max_retries=0).close_point_in_time(id=snapshot)
