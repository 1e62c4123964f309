"""Elasticsearch's public inference API, ``POST /_inference/text_embedding/{id}``: EIS and every other service.

``input_type`` carries the role; the service behind the endpoint decides what it makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from jinavec.errors import InvalidInput
from jinavec.tasks import Role, Task
from jinavec.wire.codec import single_request_codec
from jinavec.wire.fields import Fields, dumps, loads, said
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Encoding, Reason, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows

INPUT_TYPES: Mapping[str, tuple[Task | None, Role | None]] = {
    "search": (None, Role.QUERY),
    "ingest": (None, Role.DOCUMENT),
    "classification": (Task.CLASSIFICATION, None),
    "clustering": (Task.CLUSTERING, None),
}
_FIELDS: Mapping[str, Encoding] = {
    "text_embedding": "float",
    "text_embedding_bytes": "int8",
    "text_embedding_bits": "bits",
    "embeddings": "float",
    "embeddings_bytes": "int8",
    "embeddings_bits": "bits",
}
"""Names of the array of vectors, by what it holds; ``embeddings`` is the multimodal task's."""


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request; the endpoint, and so the model, stands in the address.

    Raises:
        InvalidInput: the protocol has no word for it.
    """
    request.check_carried("Elasticsearch", "task", "role")
    return dumps(said(input=request.texts, input_type=input_type(request)))


def input_type(request: EmbedRequest) -> str | None:
    """Return the word for task and role; None where neither is said.

    Raises:
        InvalidInput: there is none.
    """
    meaning = (request.task, request.role if request.task is None else None)
    if meaning == (None, None):
        return None
    for word, known in INPUT_TYPES.items():
        if known == meaning:
            return word
    raise InvalidInput(f"Elasticsearch has no input_type for the task {request.task}")


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request.

    Raises:
        WireError: not such a request.
    """
    fields = Fields(loads(body))
    word = fields.text("input_type")
    task, role = Fields({"input_type": word and word.lower()}).choice("input_type", INPUT_TYPES) or (None, None)
    return EmbedRequest(texts=fields.texts("input"), task=task, role=role)


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply.

    Raises:
        InvalidInput: no such encoding.
    """
    name = next((name for name, encoding in _FIELDS.items() if encoding == reply.encoding), None)
    if name is None:
        raise InvalidInput(f"Elasticsearch has no encoding {reply.encoding!r}; it has: float, int8, bits")
    return dumps({name: [{"embedding": row} for row in write_rows(reply)]})


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request; it says which encoding it holds.

    Raises:
        WireError: not one vector per text.
    """
    return read_reply(loads(body), request)


def read_reply(values: object, request: EmbedRequest) -> EmbedReply:
    """``decode_reply``, from JSON that the official client has read already."""
    fields = Fields(values, "the reply")
    found = next((name for name in _FIELDS if fields.values.get(name) is not None), None)
    if found is None:
        raise WireError(Reason.INVALID, f"the reply has no text_embedding, but {', '.join(fields.values) or 'nothing'}")
    rows = [Fields(item, "an item of the reply").values.get("embedding") for item in fields.items(found) or []]
    vectors, encoding = read_rows(rows, request, _FIELDS[found])
    return EmbedReply(vectors=vectors, encoding=encoding)


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    status = STATUS[error.reason]
    cause = {"type": error.code or "status_exception", "reason": error.message}
    return status, dumps({"error": {"root_cause": [cause], **cause}, "status": status})


CODEC = single_request_codec(
    name="elasticsearch",
    server=ServerTraits(path="/_inference/text_embedding/{model}", adds_prompt=True, batch=16),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
)
