"""Text Embeddings Inference, ``POST /embed`` (1.9); Elasticsearch's hugging_face service speaks it too.

``prompt_name`` makes the server add the prefix of that name; without it there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

from jinavec.tasks import Role
from jinavec.wire.codec import single_request_codec
from jinavec.wire.errors import read_error
from jinavec.wire.fields import Fields, dumps, is_object, loads, said
from jinavec.wire.messages import EmbedReply, EmbedRequest, Reason, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows

_ROLES: Mapping[str, Role] = {role.value: role for role in Role}
_SIDES: Mapping[str, bool] = {"right": True, "Right": True}
_ERRORS: dict[Reason, tuple[int, str]] = {
    Reason.INVALID: (422, "Validation"),
    Reason.TEXT_TOO_LONG: (422, "Validation"),
    Reason.TOO_LARGE: (413, "Validation"),
    Reason.UNAUTHORIZED: (401, "Unauthorized"),
    Reason.FORBIDDEN: (403, "Unauthorized"),
    Reason.NOT_FOUND: (404, "Validation"),
    Reason.BUSY: (409, "Overloaded"),
    Reason.RATE_LIMITED: (429, "Overloaded"),
    Reason.UNAVAILABLE: (503, "Unhealthy"),
    Reason.INTERNAL: (424, "Backend"),
}
_REASONS: dict[int, Reason] = {424: Reason.INTERNAL}


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request.

    Raises:
        InvalidInput: a field that the protocol has not.
    """
    request.check_carried("TEI", "role", "dimension", "truncate", "normalized")
    return dumps(
        said(
            inputs=request.texts,
            prompt_name=request.role,
            normalize=request.normalized,
            truncate=request.truncate,
            dimensions=request.dimension,
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request.

    Raises:
        WireError: not such a request.
    """
    fields = Fields(loads(body))
    fields.choice("truncation_direction", _SIDES)
    return EmbedRequest(
        texts=fields.texts("inputs"),
        role=fields.choice("prompt_name", _ROLES),
        dimension=fields.count("dimensions"),
        truncate=fields.flag("truncate"),
        normalized=fields.flag("normalize"),
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply: the bare vectors."""
    return dumps(write_rows(reply))


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request; ``{"embeddings": [...]}``, as some hubs answer, is read too.

    Raises:
        WireError: not one vector per text.
    """
    values = loads(body)
    rows = Fields(values).values.get("embeddings") if is_object(values) else values
    vectors, encoding = read_rows(rows, request, request.encoding)
    return EmbedReply(vectors=vectors, encoding=encoding)


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    status, kind = _ERRORS[error.reason]
    return status, dumps({"error": error.message, "error_type": error.code or kind})


def decode_error(status: int, body: bytes) -> WireError:
    """Read an error."""
    error = read_error(status, body)
    error.reason = _REASONS.get(status, error.reason)
    return error


CODEC = single_request_codec(
    name="tei",
    server=ServerTraits(path="/embed", adds_prompt=True, narrows=True, truncates=True, batch=32, refuses_empty=True),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
    decode_error=decode_error,
)
