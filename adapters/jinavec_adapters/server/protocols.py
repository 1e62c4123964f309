"""The table of protocols: what stands at which address, and how its clients say the role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.datastructures import Headers

from jinavec.tasks import Role
from jinavec.wire import cohere, eis, jina, openai
from jinavec.wire.codec import Codec
from jinavec.wire.codecs import CODECS
from jinavec_adapters.server.roles import agreed

_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_ONE_OR_MORE: Mapping[str, Any] = {"anyOf": [{"type": "string"}, _TEXTS]}
_STRING, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}


def _object(required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [required], "properties": properties}


def _words(words: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


_TEXT_PART = _object("value", type={"type": "string", "enum": ["text"]}, value=_STRING)
_CONTENT = _object("content", content={"type": "array", "minItems": 1, "maxItems": 1, "items": _TEXT_PART})
"""An input of EIS' route for content of every kind."""


@dataclass(frozen=True)
class Protocol:
    """One protocol as a server speaks it."""

    name: str
    """As ``jinavec.wire.codecs`` lists it."""
    says_role: str
    """How a client names the role, for those who did not."""
    schema: Mapping[str, Any]
    """JSON schema of a request, for ``/docs``."""
    key_field: str = ""
    """The field of the body in which clients send the API key; empty where they do so in a header alone."""
    texts_bounded: bool = True
    """Whether ``max_inputs`` counts; its bytes and tokens bound every request."""
    header_role: Callable[[Headers], Role | None] = lambda headers: None

    @property
    def codec(self) -> Codec:
        """What reads its requests and writes its replies."""
        return CODECS[self.name]


def _eis_role(headers: Headers) -> Role | None:
    """Read the header that names the use; Elasticsearch's own value may stand beside one of its client."""
    values = [value.strip() for line in headers.getlist(eis.USE_CASE_HEADER) for value in line.split(",")]
    return agreed(*(eis.USE_CASES.get(value) for value in values))


_OPENAI_SCHEMA = _object(
    "input",
    model=_STRING,
    input=_ONE_OR_MORE,
    dimensions=_COUNT,
    encoding_format={"type": "string", "enum": ["float", "base64"]},
    input_type=_words(openai.ROLES),
    task=_words(jina.TASKS),
    embedding_type={"type": "string", "enum": ["float", "base64", "binary", "ubinary"]},
    truncate={"type": "boolean"},
)
OPENAI = Protocol(
    "openai",
    "post to /query/v1/embeddings or /document/v1/embeddings, send input_type (query, document) or Jina's task"
    " (retrieval.query, retrieval.passage), or begin every text with its prefix",
    _OPENAI_SCHEMA,
)
JINA = Protocol("jina", "send task: retrieval.query or retrieval.passage", _OPENAI_SCHEMA)
TEI = Protocol(
    "tei",
    "post to /query/embed or /document/embed, or send prompt_name: query or document",
    _object(
        "inputs",
        inputs=_ONE_OR_MORE,
        prompt_name={"type": "string", "enum": list(Role)},
        dimensions=_COUNT,
        truncate={"type": "boolean"},
        normalize={"type": "boolean"},
    ),
)
COHERE = Protocol(
    "cohere",
    "send input_type: search_query or search_document",
    _object(
        "texts",
        model=_STRING,
        texts=_TEXTS,
        input_type=_words(cohere.INPUT_TYPES),
        output_dimension=_COUNT,
        embedding_types={"type": "array", "items": {"type": "string"}, "maxItems": 1},
        truncate={"type": "string", "enum": ["END", "NONE"]},
    ),
)
EIS = Protocol(
    "eis",
    f"send usage_context: search or ingest, or the header {eis.USE_CASE_HEADER}: internal_search or internal_ingest",
    _object(
        "input",
        model=_STRING,
        input={"type": "array", "minItems": 1, "items": {"anyOf": [_STRING, _CONTENT]}},
        usage_context={"type": "string", "enum": ["search", "ingest"]},
        dimensions=_COUNT,
    ),
    header_role=_eis_role,
)
QDRANT = Protocol(
    "qdrant",
    "send inference: search or update",
    _object(
        "inputs",
        inputs={
            "type": "array",
            "minItems": 1,
            "items": _object("data", data=_STRING, data_type=_STRING, model=_STRING, options={"type": "object"}),
        },
        inference={"type": "string", "enum": ["search", "update"]},
        token=_STRING,
    ),
    key_field="token",
    texts_bounded=False,  # a Qdrant server sends all that one upsert holds, and cannot send less
)

ROUTES: Mapping[str, tuple[Protocol, Role | None]] = {
    "/api/v1/embed/text/dense": (EIS, None),
    "/api/v1/embed/dense": (EIS, None),
    "/qdrant/inference": (QDRANT, None),
    "/v1/embeddings": (OPENAI, None),
    "/query/v1/embeddings": (OPENAI, Role.QUERY),
    "/document/v1/embeddings": (OPENAI, Role.DOCUMENT),
    "/embed": (TEI, None),
    "/query/embed": (TEI, Role.QUERY),
    "/document/embed": (TEI, Role.DOCUMENT),
    "/v2/embed": (COHERE, None),
}
"""POST routes: the protocol, and the role that the address binds."""

_JINA_ONLY = ("task", "embedding_type", "normalized", "late_chunking")


def dialect(protocol: Protocol, values: object) -> Protocol:
    """Tell Jina's requests from OpenAI's, which share an address, by the fields that only Jina's have."""
    if protocol is not OPENAI or not isinstance(values, dict):
        return protocol
    fields = cast("dict[str, Any]", values)
    return protocol if all(fields.get(name) is None for name in _JINA_ONLY) else JINA
