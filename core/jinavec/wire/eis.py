"""Elastic Inference Service: what Elasticsearch asks of it, ``service: elastic`` (9.3 to 9.5).

    GET  /api/v2/authorizations         the endpoints it offers
    POST /api/v1/embed/text/dense       texts; to /api/v1/embed/dense as content of one text each

``usage_context`` carries the role, search or ingest; it is absent for every other use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jinavec.tasks import Role
from jinavec.wire.codec import single_request_codec
from jinavec.wire.fields import Fields, dumps, is_object, loads, said, spelling
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, Reason, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows

USE_CASE_HEADER = "X-elastic-product-use-case"
USE_CASES: Mapping[str, Role] = {
    "internal_search": Role.QUERY,
    "internal_ingest": Role.DOCUMENT,
    "search": Role.QUERY,
    "ingest": Role.DOCUMENT,
}
"""Values of the header that names the use where ``usage_context`` does not; any other names none."""
_CONTEXTS: Mapping[str, Role] = {"search": Role.QUERY, "ingest": Role.DOCUMENT}


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request.

    Raises:
        InvalidInput: a field that the protocol has not.
    """
    request.check_carried("EIS", "model", "role", "dimension")
    return dumps(
        said(
            input=request.texts,
            model=request.model,
            usage_context=spelling(_CONTEXTS, request.role) if request.role else None,
            dimensions=request.dimension,
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request of either route.

    Raises:
        WireError: not such a request, or content that is no text.
    """
    fields = Fields(loads(body))
    return EmbedRequest(
        texts=_texts(fields),
        model=fields.text("model") or "",
        role=fields.choice("usage_context", _CONTEXTS),
        dimension=fields.count("dimensions"),
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply."""
    usage = {} if reply.tokens is None else {"total_tokens": reply.tokens}
    return dumps({"data": write_rows(reply), "meta": {"usage": usage}})


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request.

    Raises:
        WireError: not one vector per text.
    """
    fields = Fields(loads(body), "the reply")
    meta = Fields(fields.table("meta") or {}, "meta")
    usage = Fields(meta.table("usage") or {}, "usage")
    vectors, encoding = read_rows(fields.values.get("data"), request, request.encoding)
    return EmbedReply(vectors=vectors, encoding=encoding, tokens=usage.count("total_tokens", 0))


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    return STATUS[error.reason], dumps({"error": error.message})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One inference endpoint that the service offers for dense vectors of texts."""

    id: str
    model_name: str
    dimensions: int
    similarity: str = "cosine"
    status: str = "ga"
    release_date: str = "2026-02-18"
    properties: tuple[str, ...] = ()
    chunking: Mapping[str, Any] | None = None
    """Elasticsearch's chunking_settings for ``semantic_text``; None leaves them to it."""


def encode_authorizations(endpoints: Iterable[Endpoint]) -> bytes:
    """Write the answer to ``GET /api/v2/authorizations``."""
    return dumps({"inference_endpoints": [_write_endpoint(endpoint) for endpoint in endpoints]})


def decode_authorizations(body: bytes) -> tuple[Endpoint, ...]:
    """Read the answer to ``GET /api/v2/authorizations``: the endpoints for dense vectors of texts.

    Raises:
        WireError: not such an answer.
    """
    offered = [Fields(item, "an endpoint") for item in Fields(loads(body)).items("inference_endpoints") or []]
    return tuple(_read_endpoint(endpoint) for endpoint in offered if _is_dense(endpoint))


def _write_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "model_name": endpoint.model_name,
        "task_types": {"eis": "embed/text/dense", "elasticsearch": "text_embedding"},
        "status": endpoint.status,
        "release_date": endpoint.release_date,
        "properties": endpoint.properties,
        "configuration": said(
            similarity=endpoint.similarity,
            dimensions=endpoint.dimensions,
            element_type="float",
            chunking_settings=endpoint.chunking,
        ),
    }


def _is_dense(endpoint: Fields) -> bool:
    return (endpoint.table("task_types") or {}).get("eis") == "embed/text/dense"


def _read_endpoint(fields: Fields) -> Endpoint:
    configuration = Fields(fields.table("configuration") or {}, "configuration")
    return Endpoint(
        id=_required(fields, "id"),
        model_name=_required(fields, "model_name"),
        dimensions=configuration.count("dimensions") or 0,
        similarity=_required(configuration, "similarity"),
        status=_required(fields, "status"),
        release_date=_required(fields, "release_date"),
        properties=tuple(fields.items("properties") or ()),
        chunking=configuration.table("chunking_settings"),
    )


def _required(fields: Fields, name: str) -> str:
    value = fields.text(name)
    if value is None:
        raise WireError(Reason.INVALID, f"the field {name!r} is missing")
    return value


def _texts(fields: Fields) -> tuple[str, ...]:
    """Read ``input``: an array of texts, or of ``{"content": [{"type": "text", ..., "value": text}]}``."""
    given = fields.values.get("input")
    if not isinstance(given, list):
        return fields.texts("input")
    plain = [_content(item) if is_object(item) else item for item in cast("list[object]", given)]
    return Fields({"input": plain}).texts("input")


def _content(item: object) -> str:
    parts = Fields(item, "an input").items("content") or []
    part = Fields(parts[0] if len(parts) == 1 else {}, "a content")
    text = part.text("value") if part.text("type") == "text" else None
    if text is None or part.text("format") not in (None, "text"):
        raise WireError(Reason.INVALID, "each input must hold a content of one text: this model embeds texts only")
    return text


CODEC = single_request_codec(
    name="eis",
    server=ServerTraits(path="/api/v1/embed/text/dense", adds_prompt=True, narrows=True, batch=16),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
)
