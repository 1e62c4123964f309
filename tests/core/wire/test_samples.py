"""Bodies as the servers' own documentation and sources show them, read and written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from jinavec import Role, Task
from jinavec.wire import cohere, eis, elasticsearch, jina, ollama, openai, qdrant, tei
from jinavec.wire.eis import Endpoint
from jinavec.wire.messages import EmbedReply, EmbedRequest, Reason, WireError

QUERY = (Task.RETRIEVAL, Role.QUERY)
LIGHT = "How fast does light travel in a vacuum?"
SMALL = "jina-embeddings-v5-text-small"
ONE = EmbedRequest(texts=("a",))


def body(values: object) -> bytes:
    return json.dumps(values).encode()


REQUESTS: list[tuple[str, Any, dict[str, Any], EmbedRequest]] = [
    (
        "Jina",
        jina,
        {
            "model": SMALL,
            "task": "retrieval.query",
            "dimensions": 512,
            "embedding_type": "float",
            "truncate": False,
            "input": [LIGHT],
        },
        EmbedRequest(texts=(LIGHT,), model=SMALL, task=Task.RETRIEVAL, role=Role.QUERY, dimension=512, truncate=False),
    ),
    (
        "vLLM's /v2/embed",
        cohere,
        {"model": "m", "input_type": "query", "texts": ["a"], "embedding_types": ["float"]},
        EmbedRequest(texts=("a",), model="m", role=Role.QUERY),
    ),
    (
        "Elasticsearch's cohere service",
        cohere,
        {
            "texts": ["a"],
            "model": "m",
            "input_type": "search_document",
            "embedding_types": ["float"],
            "truncate": "END",
        },
        EmbedRequest(texts=("a",), model="m", task=Task.RETRIEVAL, role=Role.DOCUMENT, truncate=True),
    ),
    (
        "Elasticsearch's openai service",
        openai,
        {"input": ["a"], "model": "m", "user": "u", "dimensions": 256, "encoding_format": "base64"},
        EmbedRequest(texts=("a",), model="m", user="u", dimension=256, encoding="base64"),
    ),
    (
        "EIS",
        eis,
        {"input": ["text 1", "text 2"], "model": SMALL, "usage_context": "search", "dimensions": 256},
        EmbedRequest(texts=("text 1", "text 2"), model=SMALL, role=Role.QUERY, dimension=256),
    ),
    (
        "Ollama",
        ollama,
        {"model": "m", "input": ["a"], "truncate": True, "dimensions": 512},
        EmbedRequest(texts=("a",), model="m", truncate=True, dimension=512),
    ),
]
"""Those that are written exactly so, too."""

READ_ONLY: list[tuple[str, Any, dict[str, Any], EmbedRequest]] = [
    ("one text", jina, {"model": SMALL, "input": LIGHT}, EmbedRequest(texts=(LIGHT,), model=SMALL)),
    (
        "objects",
        jina,
        {"input": [{"text": "a"}, "b"], "task": "classification", "normalized": False},
        EmbedRequest(texts=("a", "b"), task=Task.CLASSIFICATION, normalized=False),
    ),
    (
        "Elasticsearch's jinaai service",
        jina,
        {
            "input": ["a"],
            "model": "m",
            "embedding_type": "float",
            "task": "retrieval.passage",
            "late_chunking": False,
            "dimensions": 256,
        },
        EmbedRequest(texts=("a",), model="m", task=Task.RETRIEVAL, role=Role.DOCUMENT, dimension=256),
    ),
    ("the v3 name", jina, {"input": ["a"], "task": "separation"}, EmbedRequest(texts=("a",), task=Task.CLUSTERING)),
    (
        "Elasticsearch's nvidia service",
        openai,
        {"input": ["a"], "model": "m", "input_type": "passage", "truncate": "NONE"},
        EmbedRequest(texts=("a",), model="m", role=Role.DOCUMENT),
    ),
    (
        "vLLM",
        openai,
        {"model": "m", "input": "a", "truncate_prompt_tokens": -1},
        EmbedRequest(texts=("a",), model="m", truncate=True),
    ),
    (
        "llama-server",
        openai,
        {"input": ["Query: a"], "encoding_format": "float", "embd_normalize": 2},
        EmbedRequest(texts=("Query: a",)),
    ),
    (
        "Infinity",
        openai,
        {"model": "m", "input": ["a"], "encoding_format": "float"},
        EmbedRequest(texts=("a",), model="m"),
    ),
    (
        "TEI",
        tei,
        {
            "inputs": ["a"],
            "prompt_name": "query",
            "normalize": True,
            "truncate": False,
            "truncation_direction": "right",
            "dimensions": 512,
        },
        EmbedRequest(texts=("a",), role=Role.QUERY, normalized=True, truncate=False, dimension=512),
    ),
    ("Elasticsearch's hugging_face service", tei, {"inputs": ["a"]}, ONE),
    (
        "Ollama, with options",
        ollama,
        {"model": "m", "input": "a", "options": {"num_ctx": 8192}, "keep_alive": "5m"},
        EmbedRequest(texts=("a",), model="m"),
    ),
    (
        "EIS, content",
        eis,
        {"input": [{"content": [{"type": "text", "format": "text", "value": "a"}]}], "usage_context": "ingest"},
        EmbedRequest(texts=("a",), role=Role.DOCUMENT),
    ),
    (
        "Elasticsearch, any case",
        elasticsearch,
        {"input": "a", "input_type": "SEARCH"},
        EmbedRequest(texts=("a",), role=Role.QUERY),
    ),
    (
        "Cohere, inputs",
        cohere,
        {"model": "m", "input_type": "clustering", "inputs": [{"content": [{"type": "text", "text": "a"}]}]},
        EmbedRequest(texts=("a",), model="m", task=Task.CLUSTERING),
    ),
]


@pytest.mark.parametrize(
    ("codec", "values", "request_"), [one[1:] for one in REQUESTS], ids=[one[0] for one in REQUESTS]
)
def test_a_documented_request_is_read_and_written(codec: Any, values: dict[str, Any], request_: EmbedRequest) -> None:
    assert codec.decode_request(body(values)) == request_
    written = json.loads(codec.encode_request(request_))
    assert {"encoding_format": "float", "embedding_type": "float"} | values == (
        {"encoding_format": "float", "embedding_type": "float"} | written
    )


@pytest.mark.parametrize(
    ("codec", "values", "request_"), [one[1:] for one in READ_ONLY], ids=[one[0] for one in READ_ONLY]
)
def test_other_spellings_are_read(codec: Any, values: dict[str, Any], request_: EmbedRequest) -> None:
    assert codec.decode_request(body(values)) == request_


REPLIES: list[tuple[str, Any, Any, EmbedReply]] = [
    (
        "Jina",
        jina,
        {
            "model": SMALL,
            "object": "list",
            "usage": {"total_tokens": 11, "prompt_tokens": 11},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456]}],
        },
        EmbedReply(vectors=np.array([[0.0123, -0.0456]], np.float32), model=SMALL, tokens=11),
    ),
    (
        "Jina, without prompt_tokens",
        jina,
        {"usage": {"total_tokens": 8194}, "data": [{"index": 0, "embedding": [1]}]},
        EmbedReply(vectors=np.ones((1, 1), np.float32), tokens=8194),
    ),
    (
        "vLLM",
        openai,
        {
            "id": "embd-1",
            "object": "list",
            "created": 1,
            "model": "m",
            "data": [{"index": 0, "object": "embedding", "embedding": [0.5]}],
            "usage": {"prompt_tokens": 3, "total_tokens": 3, "completion_tokens": 0},
        },
        EmbedReply(vectors=np.array([[0.5]], np.float32), model="m", tokens=3),
    ),
    (
        "llama-server, base64",
        openai,
        {
            "model": "m",
            "object": "list",
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
            "data": [{"embedding": "AACAPw==", "index": 0, "object": "embedding", "encoding_format": "base64"}],
        },
        EmbedReply(vectors=np.ones((1, 1), np.float32), encoding="base64", model="m", tokens=4),
    ),
    (
        "Elasticsearch's openai service",
        openai,
        {"data": [{"embedding": [2]}]},
        EmbedReply(vectors=np.array([[2]], np.float32)),
    ),
    ("TEI", tei, [[0.25, 0.5]], EmbedReply(vectors=np.array([[0.25, 0.5]], np.float32))),
    ("hugging_face", tei, {"embeddings": [[0.25]]}, EmbedReply(vectors=np.array([[0.25]], np.float32))),
    (
        "Ollama",
        ollama,
        {"model": "m", "embeddings": [[1, 2]], "total_duration": 1, "load_duration": 1, "prompt_eval_count": 7},
        EmbedReply(vectors=np.array([[1, 2]], np.float32), model="m", tokens=7),
    ),
    (
        "vLLM's /v2/embed",
        cohere,
        {"embeddings": {"float": [[1, 2]]}, "texts": ["a"], "meta": {}},
        EmbedReply(vectors=np.array([[1, 2]], np.float32)),
    ),
    (
        "Elasticsearch",
        elasticsearch,
        {"text_embedding": [{"embedding": [1]}]},
        EmbedReply(vectors=np.ones((1, 1), np.float32)),
    ),
    (
        "Elasticsearch, bytes",
        elasticsearch,
        {"text_embedding_bytes": [{"embedding": [-127, 0, 1, 42, 127]}]},
        EmbedReply(vectors=np.array([[-127, 0, 1, 42, 127]], np.int8), encoding="int8"),
    ),
    (
        "Elasticsearch, bits",
        elasticsearch,
        {"embeddings_bits": [{"embedding": [50, -63, -128, -1]}]},
        EmbedReply(vectors=np.array([[50, 193, 128, 255]], np.uint8), encoding="bits"),
    ),
]


@pytest.mark.parametrize(("codec", "values", "reply"), [one[1:] for one in REPLIES], ids=[one[0] for one in REPLIES])
def test_a_documented_reply_is_read(codec: Any, values: Any, reply: EmbedReply) -> None:
    assert codec.decode_reply(body(values), ONE) == reply


def test_eis_reply() -> None:
    two = EmbedRequest(texts=("a", "b"))
    values: dict[str, Any] = {"data": [[2.12, 1.70, 0.90], [0.1, 0.2, 0.3]], "meta": {"usage": {}}}
    reply = eis.decode_reply(body(values), two)
    np.testing.assert_array_equal(reply.vectors, np.array(values["data"], np.float32))
    np.testing.assert_allclose(json.loads(eis.encode_reply(reply))["data"], values["data"], rtol=1e-6)


def test_jinas_binary_encodings_of_the_same_bits() -> None:
    """Measured on the live API: binary is the byte minus 128, and numbers may arrive as floats."""
    bits = np.array([[50, 193, 128, 255]], np.uint8)
    for encoding, numbers in (("ubinary", [50.0, 193.0, 128.0, 255.0]), ("binary", [-78.0, 65.0, 0.0, 127.0])):
        asked = EmbedRequest(texts=("a",), encoding=encoding)  # pyright: ignore[reportArgumentType]
        values = {"data": [{"index": 0, "embedding": numbers}]}
        assert (jina.decode_reply(body(values), asked).vectors == bits).all()
        written = json.loads(jina.encode_reply(EmbedReply(vectors=bits, encoding=asked.encoding)))
        assert written["data"][0]["embedding"] == numbers


def test_base64_is_little_endian() -> None:
    reply = EmbedReply(vectors=np.ones((1, 1), np.float32), encoding="base64")
    assert json.loads(openai.encode_reply(reply))["data"][0]["embedding"] == "AACAPw=="


ENDPOINT: dict[str, Any] = {
    "id": ".jina-embeddings-v5-text-small",
    "model_name": SMALL,
    "task_types": {"eis": "embed/text/dense", "elasticsearch": "text_embedding"},
    "status": "ga",
    "release_date": "2026-02-18",
    "properties": ["multilingual"],
    "configuration": {
        "similarity": "cosine",
        "dimensions": 1024,
        "element_type": "float",
        "chunking_settings": {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1},
    },
}


def test_eis_authorizations() -> None:
    endpoint = Endpoint(
        id=ENDPOINT["id"],
        model_name=SMALL,
        dimensions=1024,
        properties=("multilingual",),
        chunking=ENDPOINT["configuration"]["chunking_settings"],
    )
    more = {"end_of_life_date": "2027-01-01", "kibana_connector_name": None, "fingerprint": "abc"}
    chat = {"id": "chat", "model_name": "chat", "task_types": {"eis": "chat", "elasticsearch": "chat_completion"}}
    assert eis.decode_authorizations(body({"inference_endpoints": [ENDPOINT | more, chat]})) == (endpoint,)
    assert json.loads(eis.encode_authorizations([endpoint])) == {"inference_endpoints": [ENDPOINT]}
    assert eis.decode_authorizations(eis.encode_authorizations([])) == ()


def test_qdrant() -> None:
    values = {
        "inputs": [
            {"data": "a", "data_type": "text", "model": SMALL, "options": {"mrl": 256}},
            {"data": "b", "data_type": "text", "model": "other", "options": None},
            {"data": "c", "data_type": "text", "model": SMALL, "options": {"task": "clustering", "jina-api-key": "k"}},
        ],
        "inference": "search",
        "token": None,
    }
    assert qdrant.decode_requests(body(values)) == (
        EmbedRequest(texts=("a",), model=SMALL, role=Role.QUERY, dimension=256),
        EmbedRequest(texts=("b",), model="other", role=Role.QUERY),
        EmbedRequest(texts=("c",), model=SMALL, task=Task.CLUSTERING, role=Role.QUERY),
    )
    one, two = np.array([[0.1, 0.2]], np.float32), np.array([[0.5]], np.float32)
    written = json.loads(
        qdrant.encode_replies(
            [EmbedReply(vectors=one, model="m", tokens=100), EmbedReply(vectors=two, model="m", tokens=23)]
        )
    )
    assert written == {"embeddings": [[0.1, 0.2], [0.5]], "usage": {"models": {"m": {"tokens": 123}}}}


REFUSED_BY_QDRANT: list[tuple[dict[str, Any], str]] = [
    ({"inputs": [{"data": "a", "model": "m"}]}, "inference"),
    ({"inputs": [], "inference": "search"}, "inputs"),
    ({"inputs": [{"data": {}, "data_type": "object"}], "inference": "search"}, "text"),
    ({"inputs": [{"data": "x", "data_type": "image"}], "inference": "search"}, "text"),
    ({"inputs": [{"data": "a", "options": {"dimension": 64}}], "inference": "search"}, "dimensions, mrl"),
    ({"inputs": [{"data": "a", "options": {"dimensions": 64, "mrl": 32}}], "inference": "search"}, "contradict"),
    ({"inputs": [{"data": "a", "options": {"task": "retrieval.passage"}}], "inference": "search"}, "document"),
]


@pytest.mark.parametrize(
    ("values", "words"),
    REFUSED_BY_QDRANT,
    ids=str,
)
def test_what_qdrant_may_not_ask(values: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words):
        qdrant.decode_requests(body(values))


@pytest.mark.parametrize(
    ("codec", "values", "words"),
    [
        (jina, {"input": ["a"], "task": "retrieval"}, "retrieval.query"),
        (jina, {"input": ["a"], "embedding_type": "int8"}, "embedding_type"),
        (jina, {"input": ["a"], "late_chunking": True}, "late_chunking"),
        (jina, {"input": [{"image": "data:"}]}, r"input\[0\]"),
        (jina, {"input": ["a"], "dimensions": 0}, "dimensions"),
        (jina, {"input": ["a"], "dimensions": "64"}, "dimensions"),
        (openai, {"model": "m"}, "input"),
        (openai, {"input": []}, "input"),
        (openai, {"input": [[1, 2]]}, "token ids"),
        (openai, {"input": [1, 2]}, "check_embedding_ctx_length"),
        (openai, {"input": ["a", None]}, r"input\[1\]"),
        (openai, {"input": "a", "truncate_prompt_tokens": 100}, "truncate_prompt_tokens"),
        (tei, {"inputs": ["a"], "prompt_name": "passage"}, "prompt_name"),
        (tei, {"inputs": ["a"], "truncation_direction": "left"}, "truncation_direction"),
        (eis, {"input": ["a"], "usage_context": "classification"}, "usage_context"),
        (eis, {"input": [{"content": [{"type": "image", "format": "base64", "value": "data:"}]}]}, "texts only"),
        (cohere, {"texts": ["a"], "embedding_types": ["float", "int8"]}, "embedding_types"),
        (cohere, {"texts": ["a"], "truncate": "START"}, "truncate"),
        (elasticsearch, {"input": ["a"], "input_type": "internal_search"}, "input_type"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused_by_name(codec: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words) as refusal:
        codec.decode_request(body(values))
    assert refusal.value.reason is Reason.INVALID


ERRORS: list[tuple[str, Any, int, Any, Reason, str, str]] = [
    (
        "Jina, flat",
        jina,
        401,
        {"detail": "Invalid API key. ...", "code": "AUTH_INVALID_API_KEY", "request_id": "03f58cd9da22fabf"},
        Reason.UNAUTHORIZED,
        "Invalid API key",
        "AUTH_INVALID_API_KEY",
    ),
    (
        "Jina, nested",
        jina,
        400,
        {"detail": {"message": "Input text exceeds ...", "request_id": "00", "code": "INPUT_TOKEN_LIMIT_EXCEEDED"}},
        Reason.TEXT_TOO_LONG,
        "Input text exceeds",
        "INPUT_TOKEN_LIMIT_EXCEEDED",
    ),
    (
        "Jina, validation",
        jina,
        422,
        {
            "detail": "Validation errors in 1 fields. ...",
            "request_id": "00",
            "errors": [
                {
                    "field": "body -> dimensions",
                    "message": "Input should be less than or equal to 768",
                    "type": "less_than_equal",
                    "input": 2048,
                }
            ],
        },
        Reason.INVALID,
        "body -> dimensions: Input should be less than or equal to 768",
        "",
    ),
    (
        "Jina, balance",
        jina,
        403,
        {"detail": "no", "code": "AUTHZ_INSUFFICIENT_BALANCE"},
        Reason.FORBIDDEN,
        "no",
        "AUTHZ_INSUFFICIENT_BALANCE",
    ),
    (
        "Jina, rate",
        jina,
        429,
        {"detail": "slow", "code": "RATE_TOKEN_LIMIT_EXCEEDED"},
        Reason.RATE_LIMITED,
        "slow",
        "RATE_TOKEN_LIMIT_EXCEEDED",
    ),
    (
        "Jina, model",
        jina,
        400,
        {"detail": {"message": "no", "code": "INPUT_MODEL_NOT_FOUND"}},
        Reason.NOT_FOUND,
        "no",
        "INPUT_MODEL_NOT_FOUND",
    ),
    (
        "vLLM, matryoshka",
        openai,
        400,
        {
            "object": "error",
            "message": 'Model "m" does not support matryoshka representation, changing output dimensions will lead to'
            " poor results.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        Reason.INVALID,
        "does not support matryoshka",
        "BadRequestError",
    ),
    (
        "vLLM, length",
        openai,
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens.",
                "type": "BadRequestError",
                "code": 400,
            }
        },
        Reason.TEXT_TOO_LONG,
        "maximum context length",
        "BadRequestError",
    ),
    (
        "llama-server",
        openai,
        500,
        {
            "error": {
                "code": 500,
                "message": "input (2055 tokens) is too large to process. increase the physical batch size"
                " (current batch size: 2048)",
                "type": "server_error",
            }
        },
        Reason.TEXT_TOO_LONG,
        "physical batch size",
        "server_error",
    ),
    (
        "llama-server, not for embeddings",
        openai,
        501,
        {
            "error": {
                "code": 501,
                "message": "This server does not support embeddings. Start it with `--embeddings`",
                "type": "not_supported_error",
            }
        },
        Reason.INTERNAL,
        "--embeddings",
        "not_supported_error",
    ),
    (
        "Infinity",
        openai,
        429,
        {"error": {"message": "busy", "type": None, "param": None, "code": 429}},
        Reason.RATE_LIMITED,
        "busy",
        "",
    ),
    (
        "OpenAI",
        openai,
        401,
        {"error": {"message": "bad key", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}},
        Reason.UNAUTHORIZED,
        "bad key",
        "invalid_api_key",
    ),
    (
        "TEI's /v1",
        openai,
        422,
        {"message": "batch size 64 > maximum allowed batch size 32", "code": 422, "type": "Validation"},
        Reason.TOO_LARGE,
        "batch size",
        "Validation",
    ),
    (
        "TEI",
        tei,
        422,
        {
            "error": "Input validation error: `inputs` must have less than 512 tokens. Given: 600",
            "error_type": "Validation",
        },
        Reason.TEXT_TOO_LONG,
        "Given: 600",
        "Validation",
    ),
    (
        "TEI, batch",
        tei,
        422,
        {"error": "batch size 33 > maximum allowed batch size 32", "error_type": "validation"},
        Reason.TOO_LARGE,
        "33",
        "validation",
    ),
    (
        "TEI, batch as documented",
        tei,
        413,
        {"error": "Batch size error", "error_type": "validation"},
        Reason.TOO_LARGE,
        "Batch",
        "validation",
    ),
    ("TEI, key", tei, 401, None, Reason.UNAUTHORIZED, "empty response", ""),
    ("Ollama", ollama, 404, {"error": "model 'x' not found"}, Reason.NOT_FOUND, "model 'x' not found", ""),
    (
        "Ollama, length",
        ollama,
        400,
        {"error": "the input length exceeds the context length"},
        Reason.TEXT_TOO_LONG,
        "exceeds",
        "",
    ),
    ("EIS", eis, 400, {"error": "message"}, Reason.INVALID, "message", ""),
    (
        "Elasticsearch",
        elasticsearch,
        404,
        {
            "error": {
                "root_cause": [{"type": "resource_not_found_exception", "reason": "Inference endpoint not found [x]"}],
                "type": "resource_not_found_exception",
                "reason": "Inference endpoint not found [x]",
            },
            "status": 404,
        },
        Reason.NOT_FOUND,
        "Inference endpoint not found [x]",
        "resource_not_found_exception",
    ),
    (
        "FastAPI",
        openai,
        422,
        {"detail": [{"loc": ["body", "input"], "msg": "field required", "type": "missing"}]},
        Reason.INVALID,
        "body.input: field required",
        "",
    ),
]


@pytest.mark.parametrize(
    ("codec", "status", "values", "reason", "words", "code"),
    [one[1:] for one in ERRORS],
    ids=[one[0] for one in ERRORS],
)
def test_a_documented_error_is_read(
    codec: Any, status: int, values: Any, reason: Reason, words: str, code: str
) -> None:
    error = codec.CODEC.decode_error(status, b"" if values is None else body(values))
    assert (error.reason, error.status, error.code) == (reason, status, code)
    assert words in error.message


def test_a_proxys_page_is_reduced_to_its_words() -> None:
    page = b"<html><head><style>p {color: red}</style><title>502 Bad Gateway</title></head><body>nginx</body></html>"
    error = openai.CODEC.decode_error(502, page)
    assert (error.reason, error.message) == (Reason.UNAVAILABLE, "502 Bad Gateway nginx")
