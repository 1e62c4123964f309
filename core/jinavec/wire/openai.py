"""OpenAI embeddings, ``POST /v1/embeddings``: api.openai.com, vLLM, llama-server, TEI's /v1, Infinity and others.

The protocol knows neither task nor role: whoever sends a text puts its prefix in front. NVIDIA's variant has
``input_type`` (query or passage), which Elasticsearch's nvidia service sends too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinavec.errors import InvalidInput
from jinavec.tasks import Role
from jinavec.wire.codec import single_request_codec
from jinavec.wire.fields import Fields, dumps, loads, said, spelling
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Encoding, Reason, ServerTraits, WireError
from jinavec.wire.rows import in_order, read_rows, write_rows

ROLES: Mapping[str, Role] = {"query": Role.QUERY, "passage": Role.DOCUMENT, "document": Role.DOCUMENT}
_ENCODINGS: Mapping[str, Encoding] = {"float": "float", "base64": "base64"}
_TYPES: dict[Reason, str] = {
    Reason.UNAUTHORIZED: "authentication_error",
    Reason.FORBIDDEN: "permission_error",
    Reason.NOT_FOUND: "not_found_error",
    Reason.RATE_LIMITED: "rate_limit_error",
    Reason.UNAVAILABLE: "server_error",
    Reason.INTERNAL: "server_error",
}
_CODES: dict[Reason, str] = {
    Reason.TEXT_TOO_LONG: "context_length_exceeded",
    Reason.UNAUTHORIZED: "invalid_api_key",
    Reason.NOT_FOUND: "model_not_found",
    Reason.RATE_LIMITED: "rate_limit_exceeded",
}


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request. ``truncate`` becomes vLLM's ``truncate_prompt_tokens``: -1, the model's limit.

    Raises:
        InvalidInput: a field that the protocol has not.
    """
    request.check_carried("OpenAI", "model", "role", "dimension", "encoding", "truncate", "user")
    if request.encoding not in _ENCODINGS:
        raise InvalidInput(f"OpenAI has no encoding {request.encoding!r}; it has: {', '.join(_ENCODINGS)}")
    return dumps(
        said(
            model=request.model,
            input=request.texts,
            encoding_format=request.encoding,
            dimensions=request.dimension,
            input_type=spelling(ROLES, request.role) if request.role else None,
            truncate_prompt_tokens=-1 if request.truncate else None,
            user=request.user,
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request.

    Raises:
        WireError: not such a request, or token ids instead of texts.
    """
    fields = Fields(loads(body))
    return EmbedRequest(
        texts=fields.texts("input"),
        model=fields.text("model") or "",
        role=fields.choice("input_type", ROLES),
        dimension=fields.count("dimensions"),
        encoding=fields.choice("encoding_format", _ENCODINGS) or "float",
        truncate=_truncate(fields),
        user=fields.text("user") or "",
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply."""
    tokens = reply.tokens or 0  # clients of this protocol require the field
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(write_rows(reply))]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return dumps({"object": "list", "data": data, "model": reply.model, "usage": usage})


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request.

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
        tokens=usage.count("prompt_tokens", 0) or usage.count("total_tokens", 0) or None,
    )


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    kind = _TYPES.get(error.reason, "invalid_request_error")
    code: Any = error.code or _CODES.get(error.reason)
    return STATUS[error.reason], dumps({"error": {"message": error.message, "type": kind, "param": None, "code": code}})


def _truncate(fields: Fields) -> bool | None:
    limit = fields.values.get("truncate_prompt_tokens")
    if limit is None:
        return None
    if limit != -1 or type(limit) is not int:
        raise fields.refuse("truncate_prompt_tokens", "-1, the model's own limit")
    return True


CODEC = single_request_codec(
    name="openai",
    server=ServerTraits(path="/v1/embeddings", narrows=True, renormalizes=False, truncates=True, base64=True),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
)
