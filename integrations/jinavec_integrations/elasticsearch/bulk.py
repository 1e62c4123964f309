"""Bulk requests: documents in, a reason for each that was not stored out; a rejected document is sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jinavec.extras import require
from jinavec_integrations.elasticsearch.faults import reason, reported

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_CHUNKS = ((1000, 8 * 2**20), (1000, 2**20), (100, 2**17), (1, 2**17))
"""Documents and bytes of a request; the next smaller where the server, or a proxy before it, finds one too large."""
_RETRIES, _FIRST_WAIT, _LONGEST_WAIT = 8, 0.5, 30.0
"""How often a document that was rejected (429) is sent again; seconds before the first and before any time."""
_TOO_LARGE = 413


def send(client: Elasticsearch, index: str, actions: Iterable[dict[str, Any]], where: str) -> Iterator[tuple[str, str]]:
    """Send bulk actions as they come and yield (``_id``, why it failed or nothing) of each, in the order of answers.

    Raises:
        EngineError: a whole request failed; what was sent before it is stored.
    """
    # what was rejected, the helper sends again document by document
    client = client.options(retry_on_status=(502, 503, 504))
    with reported(where):
        for chunk in _CHUNKS:
            too_large: list[dict[str, Any]] = []
            for stored, action, item in _answers(client, index, actions, chunk):
                if item["status"] == _TOO_LARGE and chunk != _CHUNKS[-1]:
                    too_large.append({"_op_type": action, "_id": item["_id"], "_source": item.get("data")})
                    continue
                gone = action == "delete" and item["status"] == 404
                failed = "" if stored or gone else reason(item.get("error"), item["status"])
                yield item["_id"], "not found" if gone else failed
            if not too_large:
                return
            actions = too_large


def _answers(
    client: Elasticsearch, index: str, actions: Iterable[dict[str, Any]], chunk: tuple[int, int]
) -> Iterator[tuple[bool, str, dict[str, Any]]]:
    helpers = require("elasticsearch.helpers", "elasticsearch")
    for stored, answer in helpers.streaming_bulk(
        client,
        actions,
        index=index,
        chunk_size=chunk[0],
        max_chunk_bytes=chunk[1],
        raise_on_error=False,
        ignore_status=(_TOO_LARGE,),  # that of a whole request, told of each of its documents
        max_retries=_RETRIES,
        initial_backoff=_FIRST_WAIT,
        max_backoff=_LONGEST_WAIT,
    ):
        ((action, item),) = answer.items()
        yield stored, action, item
