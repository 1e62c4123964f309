"""Ollama, ``POST /api/embed``. It adds no prefix, and cuts long texts unseen unless ``truncate`` is false."""

from __future__ import annotations

from jinavec.wire.codec import single_request_codec
from jinavec.wire.fields import Fields, dumps, loads, said
from jinavec.wire.messages import STATUS, EmbedReply, EmbedRequest, ServerTraits, WireError
from jinavec.wire.rows import read_rows, write_rows


def encode_request(request: EmbedRequest) -> bytes:
    """Write a request.

    Raises:
        InvalidInput: a field that the protocol has not.
    """
    request.check_carried("Ollama", "model", "dimension", "truncate", "num_ctx", "keep_alive")
    return dumps(
        said(
            model=request.model,
            input=request.texts,
            truncate=request.truncate,
            dimensions=request.dimension,
            options=None if request.num_ctx is None else {"num_ctx": request.num_ctx},
            keep_alive=request.keep_alive,
        )
    )


def decode_request(body: bytes) -> EmbedRequest:
    """Read a request; options and keep_alive say nothing about the vectors.

    Raises:
        WireError: not such a request.
    """
    fields = Fields(loads(body))
    return EmbedRequest(
        texts=fields.texts("input"),
        model=fields.text("model") or "",
        dimension=fields.count("dimensions"),
        truncate=fields.flag("truncate"),
    )


def encode_reply(reply: EmbedReply) -> bytes:
    """Write a reply."""
    return dumps(said(model=reply.model, embeddings=write_rows(reply), prompt_eval_count=reply.tokens))


def decode_reply(body: bytes, request: EmbedRequest) -> EmbedReply:
    """Read the reply to a request.

    Raises:
        WireError: not one vector per text; a single empty text gets none.
    """
    fields = Fields(loads(body), "the reply")
    vectors, encoding = read_rows(fields.values.get("embeddings"), request, request.encoding)
    return EmbedReply(
        vectors=vectors,
        encoding=encoding,
        model=fields.text("model") or "",
        tokens=fields.count("prompt_eval_count", 0),
    )


def encode_error(error: WireError) -> tuple[int, bytes]:
    """Return status and body."""
    return STATUS[error.reason], dumps({"error": error.message})


CODEC = single_request_codec(
    name="ollama",
    server=ServerTraits(path="/api/embed", narrows=True, truncates=True),
    encode_request=encode_request,
    decode_request=decode_request,
    encode_reply=encode_reply,
    decode_reply=decode_reply,
    encode_error=encode_error,
)
