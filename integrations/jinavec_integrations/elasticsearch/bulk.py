"""Bulk requests: documents in, a reason for each that was not stored out; a rejected document is sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jinavec.extras import require
from jinavec_integrations.elasticsearch.faults import reason, reported

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

CHUNK_BYTES = 8 * 2**20
_CHUNK = 1000
_RETRIES, _FIRST_WAIT, _LONGEST_WAIT = 8, 0.5, 30.0
"""How often a document that was rejected (429) is sent again; seconds before the first and before any time."""


def send(client: Elasticsearch, index: str, actions: Iterable[dict[str, Any]], where: str) -> Iterator[tuple[str, str]]:
    """Send bulk actions as they come and yield (``_id``, why it failed or nothing) of each, in the order of answers.

    Raises:
        EngineError, InvalidRecord: a whole request failed; what was sent before it is stored.
    """
    helpers = require("elasticsearch.helpers", "elasticsearch")
    answers = helpers.streaming_bulk(
        client.options(
            retry_on_status=(502, 503, 504)
        ),  # what was rejected, the helper sends again document by document
        actions,
        index=index,
        chunk_size=_CHUNK,
        max_chunk_bytes=CHUNK_BYTES,
        raise_on_error=False,
        max_retries=_RETRIES,
        initial_backoff=_FIRST_WAIT,
        max_backoff=_LONGEST_WAIT,
    )
    with reported(where):
        for stored, answer in answers:
            ((action, item),) = answer.items()
            gone = action == "delete" and item["status"] == 404
            failed = "" if stored or gone else reason(item.get("error"), item["status"])
            yield item["_id"], "not found" if gone else failed
