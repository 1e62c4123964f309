"""Documents, many at a time: bulk requests with a reason for each that was refused, and look-ups by ``_id``."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinavec.extras import require
from jinavec.records import Record
from jinavec_integrations.elasticsearch.calls import Call, Patience, Steps, Wait, is_passing
from jinavec_integrations.elasticsearch.convert import read_record
from jinavec_integrations.elasticsearch.errors import Fault, refused
from jinavec_integrations.elasticsearch.mapping import Layout

BATCH = 1024
"""Documents of a bulk request."""
_LOOK_UP = 512
"""Documents of a look-up."""
_TOO_LARGE = 413
MISSING = Fault(404, "", "not found")
"""Of a document that was to be deleted, and is not there."""


@dataclass
class Room:
    """How many bytes a bulk request may have: less from the first on that the server, or a proxy, finds too large."""

    bytes: int = 16 * 2**20
    """16 MiB hold 1024 vectors of 1024 floats in their longest form, as JSON numbers."""


@dataclass(frozen=True)
class Document:
    """One action of a bulk request."""

    id: str
    body: bytes
    """Lines of JSON."""
    is_deletion: bool = False


def to_store(id: str, source: Mapping[str, Any]) -> Document:
    """Return the action that stores a document."""
    return Document(id, b'{"index":{"_id":%b}}\n%b\n' % (to_json(id), to_json(source)))


def to_delete(id: str) -> Document:
    """Return the action that deletes a document."""
    return Document(id, b'{"delete":{"_id":%b}}\n' % to_json(id), is_deletion=True)


def to_json(value: object) -> bytes:
    """Return JSON; arrays of floats are lists."""
    orjson: Any = require("orjson", "elasticsearch")
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # an integer over 64 bits
        return json.dumps(value, separators=(",", ":"), default=lambda array: array.tolist()).encode()


def send(index: str, documents: Iterable[Document], room: Room, seconds: float) -> Steps[dict[str, Fault | None]]:
    """Send documents as they come and return by ``_id`` why each was refused, or None.

    Args:
        index: its name.
        documents: of distinct ids.
        room: what fits in a request; it is made smaller where that was too much.
        seconds: how long to send again what is rejected for a reason that time mends.
    """
    library = require("elasticsearch", "elasticsearch")
    outcomes: dict[str, Fault | None] = {}
    waiting, coming = deque[Document](), iter(documents)
    rejected: list[tuple[Document, Fault]] = []
    patience = Patience(seconds)
    while True:
        chunk = _fill(waiting, coming, room)
        if not chunk:
            pause = patience.next_wait() if rejected else None
            if pause is None:
                return outcomes | {document.id: fault for document, fault in rejected}
            yield Wait(pause)
            waiting.extend(document for document, _ in rejected)
            rejected = []
            continue
        body = b"".join(document.body for document in chunk)
        try:
            answer = yield Call("bulk", {"index": index, "operations": body})
        except library.ApiError as error:
            if error.meta.status != _TOO_LARGE:
                raise
            if len(chunk) == 1:
                outcomes[chunk[0].id] = Fault.read(_TOO_LARGE, error.body)
            else:
                room.bytes = min(room.bytes, len(body) // 2)
                waiting.extendleft(reversed(chunk))
            continue
        for document, fault in _read(chunk, answer["items"]):
            if fault is not None and is_passing(fault.status):
                rejected.append((document, fault))
            else:
                outcomes[document.id] = fault


def _fill(waiting: deque[Document], coming: Iterator[Document], room: Room) -> list[Document]:
    """Take documents for one request: as many as fit, and at least one if there is any."""
    chunk: list[Document] = []
    size = 0
    while len(chunk) < BATCH:
        if not waiting:
            if (following := next(coming, None)) is None:
                break
            waiting.append(following)
        size += len(waiting[0].body)
        if chunk and size > room.bytes:
            break
        chunk.append(waiting.popleft())
    return chunk


def _read(chunk: Sequence[Document], items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Document, Fault | None]]:
    answers: dict[str, Any] = {answer["_id"]: answer for item in items for answer in item.values()}
    for document in chunk:
        answer = answers.get(document.id)
        if answer is None:
            yield document, Fault(200, "", "the server did not answer for it")
        elif answer["status"] < 300:
            yield document, None
        elif document.is_deletion and answer["status"] == 404 and "error" not in answer:
            yield document, MISSING
        else:
            yield document, Fault.read(answer["status"], answer.get("error"))


def read_documents(index: str, ids: Sequence[str], layout: Layout, where: str) -> Steps[dict[str, Record]]:
    """Return the records of those documents that exist, by ``_id``, in the order asked."""
    records: dict[str, Record] = {}
    for first in range(0, len(ids), _LOOK_UP):
        asked = {"index": index, "ids": ids[first : first + _LOOK_UP], "source_includes": layout.names.source}
        answer = yield Call("mget", asked)
        for document in answer["docs"]:
            if "error" in document:
                raise refused(document, 400, where)
            if document["found"]:
                records[document["_id"]] = read_record(document, layout)
    return records
