"""Cohere v2, ``POST /v2/embed``: api.cohere.com, vLLM, Elasticsearch's cohere service.

Two spellings of ``input_type``: Cohere's own words name the task, while vLLM takes the names of the model's prompts
(query, document), which name the role alone. The server adds the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinavec.errors import InvalidInput
from jinavec.tasks import Role, Task
from jinavec.wire.codec import single_request_codec
from jinavec.wire.fields import Fields, dumps, loads, said, spelling
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Encoding, Reason, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows

INPUT_TYPES: Mapping[str, tuple[Task | None, Role | None]] = {
    "search_query": (Task.RETRIEVAL, Role.QUERY),
    "search_document": (Task.RETRIEVAL, Role.DOCUMENT),
    "classification": (Task.CLASSIFICATION, None),
    "clustering": (Task.CLUSTERING, None),
    "query": (None, Role.QUERY),
    "document": (None, Role.DOCUMENT),
}
_ENCODINGS: Mapping[str, Encoding] = {name: name for name in ("float", "base64", "int8", "binary", "ubinary")}
_TRUNCATE: Mapping[str, bool] = {"END": True, "NONE": False}


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request: with a task in Cohere's words, with a role alone in vLLM's.

    Raises:
        InvalidInput: the protocol has no word for it.
    """
    request.check_carried("Cohere", "model", "task", "role", "dimension", "encoding", "truncate")
    if request.encoding not in _ENCODINGS:
        raise InvalidInput(f"Cohere has no encoding {request.encoding!r}; it has: {', '.join(_ENCODINGS)}")
    return dumps(
        said(
            model=request.model,
            input_type=_input_type(request),
            texts=request.texts,
            embedding_types=[request.encoding],
            output_dimension=request.dimension,
            truncate=None if request.truncate is None else spelling(_TRUNCATE, request.truncate),
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request; one embedding type is served at a time.

    Raises:
        WireError: not such a request.
    """
    fields = Fields(loads(body))
    task, role = fields.choice("input_type", INPUT_TYPES) or (None, None)
    return EmbedRequest(
        texts=_texts(fields),
        model=fields.text("model") or "",
        task=task,
        role=role,
        dimension=fields.count("output_dimension"),
        encoding=_encoding(fields),
        truncate=fields.choice("truncate", _TRUNCATE),
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply; Cohere's clients require an id."""
    meta: dict[str, Any] = {"api_version": {"version": "2"}}
    if reply.tokens is not None:
        meta["billed_units"] = {"input_tokens": reply.tokens}
    return dumps({"id": "", "embeddings": {reply.encoding: write_rows(reply)}, "meta": meta})


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request; it says which encoding it holds.

    Raises:
        WireError: not one vector per text, or not in the encoding asked for.
    """
    fields = Fields(loads(body), "the reply")
    by_type = fields.table("embeddings") or {}
    found = next((name for name in (request.encoding, "float", "base64") if by_type.get(name) is not None), None)
    if found is None:
        raise WireError(Reason.INVALID, f"the reply has no {request.encoding} embeddings, but {', '.join(by_type)}")
    vectors, encoding = read_rows(by_type[found], request, _ENCODINGS[found])
    billed = Fields((fields.table("meta") or {}).get("billed_units") or {}, "billed_units")
    return EmbedReply(vectors=vectors, encoding=encoding, tokens=billed.count("input_tokens", 0))


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    return STATUS[error.reason], dumps({"message": error.message})


def _input_type(request: EmbedRequest) -> str | None:
    meaning = (request.task, request.role if request.task in (None, Task.RETRIEVAL) else None)
    if meaning == (None, None):
        return None
    for word, known in INPUT_TYPES.items():
        if known == meaning:
            return word
    raise InvalidInput(f"Cohere has no input_type for the task {request.task} and the role {request.role}")


def _texts(fields: Fields) -> tuple[str, ...]:
    """Read ``texts``, or ``inputs`` of one text each."""
    if fields.values.get("texts") is not None or fields.values.get("inputs") is None:
        return fields.texts("texts")
    contents = [Fields(item, "an input").items("content") or [] for item in fields.items("inputs") or []]
    texts = [Fields(parts[0], "a content").text("text") if len(parts) == 1 else None for parts in contents]
    if None in texts or not texts:
        raise WireError(Reason.INVALID, "each of inputs must hold a content of one text")
    return tuple(text for text in texts if text is not None)


def _encoding(fields: Fields) -> Encoding:
    types = fields.items("embedding_types")
    if not types:
        return "float"
    if len(types) > 1:
        raise WireError(Reason.INVALID, f"one of embedding_types at a time is served, not {len(types)}")
    return Fields({"embedding_types": types[0]}).choice("embedding_types", _ENCODINGS) or "float"


CODEC = single_request_codec(
    name="cohere",
    server=ServerTraits(path="/v2/embed", adds_prompt=True, narrows=True, truncates=True),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
)
