"""Jina API, ``POST /v1/embeddings`` (OpenAPI 2026.04.02, EmbeddingsV5Request); jina-on-prem serves the same.

The server adds the prefix and picks the adapter from ``task``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from jinavec.errors import InvalidInput
from jinavec.tasks import Role, Task, task_name
from jinavec.wire.codec import single_request_codec
from jinavec.wire.errors import read_error
from jinavec.wire.fields import Fields, dumps, is_object, loads, said
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Encoding, Reason, ServerTraits, WireError
from jinavec.wire.rows import in_order, read_rows, write_rows

TASKS: Mapping[str, tuple[Task, Role | None]] = {
    "retrieval.query": (Task.RETRIEVAL, Role.QUERY),
    "retrieval.passage": (Task.RETRIEVAL, Role.DOCUMENT),
    "text-matching": (Task.TEXT_MATCHING, None),
    "clustering": (Task.CLUSTERING, None),
    "classification": (Task.CLASSIFICATION, None),
    "separation": (Task.CLUSTERING, None),  # the v3 name, which Elasticsearch's jinaai service still sends
}
_ENCODINGS: Mapping[str, Encoding] = {name: name for name in ("float", "base64", "binary", "ubinary")}
_CODES: dict[Reason, str] = {
    Reason.INVALID: "INPUT_INVALID",
    Reason.TEXT_TOO_LONG: "INPUT_TOKEN_LIMIT_EXCEEDED",
    Reason.TOO_LARGE: "INPUT_TOO_LARGE",
    Reason.UNAUTHORIZED: "AUTH_INVALID_API_KEY",
    Reason.FORBIDDEN: "AUTHZ_RESOURCE_LIMIT_EXCEEDED",
    Reason.NOT_FOUND: "INPUT_MODEL_NOT_FOUND",
    Reason.BUSY: "CONFLICT_RESOURCE_BUSY",
    Reason.RATE_LIMITED: "RATE_REQUEST_LIMIT_EXCEEDED",
    Reason.UNAVAILABLE: "SERVICE_UNAVAILABLE",
    Reason.INTERNAL: "INTERNAL_ERROR",
}
_NESTED = ("INPUT_",)
"""Codes whose body is nested in ``detail``; the others are flat (measured by jina-on-prem on the live API)."""


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request; the role counts for the task retrieval only.

    Raises:
        InvalidInput: no such encoding, or no role beside the task retrieval.
    """
    request.check_carried("Jina", "model", "task", "role", "dimension", "encoding", "truncate", "normalized")
    if request.task is Task.RETRIEVAL and request.role is None:
        raise InvalidInput("the task retrieval needs a role, query or document")
    if request.encoding not in _ENCODINGS:
        raise InvalidInput(f"Jina has no encoding {request.encoding!r}; it has: {', '.join(_ENCODINGS)}")
    return dumps(
        said(
            model=request.model,
            task=task_name(request.task, request.role or Role.DOCUMENT) if request.task else None,
            dimensions=request.dimension,
            normalized=request.normalized,
            embedding_type=request.encoding,
            truncate=request.truncate,
            input=request.texts,
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request; an input may be a string or ``{"text": ...}``.

    Raises:
        WireError: not such a request.
    """
    fields = Fields(loads(body))
    task, role = fields.choice("task", TASKS) or (None, None)
    if fields.flag("late_chunking") or fields.flag("return_multivector"):
        raise WireError(Reason.INVALID, "late_chunking and return_multivector are of v3 and v4; v5 has neither")
    return EmbedRequest(
        texts=_plain(fields).texts("input"),
        model=fields.text("model") or "",
        task=task,
        role=role,
        dimension=fields.count("dimensions"),
        encoding=fields.choice("embedding_type", _ENCODINGS) or "float",
        truncate=fields.flag("truncate"),
        normalized=fields.flag("normalized"),
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply."""
    usage = None if reply.tokens is None else {"total_tokens": reply.tokens, "prompt_tokens": reply.tokens}
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(write_rows(reply))]
    return dumps(said(model=reply.model, object="list", usage=usage, data=data))


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request; bits are read as the request asked for them.

    Raises:
        WireError: not one vector per text.
    """
    fields = Fields(loads(body), "the reply")
    usage = Fields(fields.table("usage") or {}, "usage")
    vectors, encoding = read_rows(in_order(fields.values.get("data"), request), request, request.encoding)
    return EmbedReply(
        vectors=vectors,
        encoding=encoding,
        model=fields.text("model") or "",
        tokens=_first(usage.count("prompt_tokens", 0), usage.count("total_tokens", 0)),
    )


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    status = 400 if error.reason is Reason.NOT_FOUND else STATUS[error.reason]
    code = error.code or _CODES[error.reason]
    if code.startswith(_NESTED):
        return status, dumps({"detail": {"message": error.message, "code": code}})
    return status, dumps({"detail": error.message, "code": code})


def decode_error(status: int, body: bytes) -> WireError:
    """Read an error, nested or flat; a code tells more than the status."""
    error = read_error(status, body)
    by_code = {code: reason for reason, code in _CODES.items()}
    error.reason = by_code.get(error.code, error.reason)
    return error


def _plain(fields: Fields) -> Fields:
    """Unwrap inputs of the form ``{"text": ...}``."""
    given: Any = fields.values.get("input")
    items = cast("list[object]", given) if isinstance(given, list) else [given]
    plain = [Fields(item).text("text") if is_object(item) else item for item in items]
    return Fields({"input": plain if isinstance(given, list) else plain[0]})


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


CODEC = single_request_codec(
    name="jina",
    server=ServerTraits(
        path="/v1/embeddings", adds_prompt=True, applies_task=True, narrows=True, truncates=True, base64=True
    ),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
    decode_error=decode_error,
)
