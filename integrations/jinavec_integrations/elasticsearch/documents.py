"""Documents, many at a time: bulk requests with a reason for each that was refused, and look-ups by ``_id``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jinavec.extras import require
from jinavec.records import Record
from jinavec_integrations.elasticsearch.convert import SOURCE, read_record
from jinavec_integrations.elasticsearch.errors import reason, refused, reported

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

BATCH = 1024
"""Documents of a request."""
_CHUNKS = ((BATCH, 16 * 2**20), (BATCH, 2**20), (100, 2**17), (1, 2**17))
"""Documents and bytes of a bulk request; the next smaller where the server, or a proxy before it, finds one too large.
16 MiB hold 1024 vectors of 1024 floats in their longest form, as JSON numbers."""
_RETRIES, _FIRST_WAIT, _LONGEST_WAIT = 8, 0.5, 30.0
"""How often a document that was rejected (429) is sent again; seconds before the first retry, and at most."""
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
                missing = action == "delete" and item["status"] == 404
                failed = "" if stored or missing else reason(item.get("error"), item["status"])
                yield item["_id"], "not found" if missing else failed
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


def read_documents(client: Elasticsearch, index: str, ids: Sequence[str], where: str) -> dict[str, Record]:
    """Return the records of those documents that exist, by ``_id``, in the order asked."""
    records: dict[str, Record] = {}
    for first in range(0, len(ids), BATCH):
        with reported(where):
            answer = client.mget(index=index, ids=ids[first : first + BATCH], source_includes=SOURCE)
        for document in answer["docs"]:
            if "error" in document:
                raise refused(document, 400, where)
            if document["found"]:
                records[document["_id"]] = read_record(document)
    return records
