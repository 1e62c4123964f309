"""The same text, role and dimension give the same vector by every route; the role is never guessed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jinavec import Encoder, ModelProfile
from jinavec.vectors import binarize, to_int8, to_offset_binary

from .conftest import Server

TEXTS = ["Where does the cat sleep?", "Ein Schiff liegt im Hafen. 猫", "x"]
Vectors = NDArray[Any]


@pytest.fixture(scope="session")
def encoder(profile: Path) -> Encoder:
    return Encoder.load(ModelProfile.from_toml(profile), dimension=256)


Ask = Callable[[Server, str], Any]


def eis(server: Server, role: str) -> Any:
    body = {
        "input": TEXTS,
        "model": "roles-retrieval",
        "dimensions": 256,
        "usage_context": {"query": "search"}.get(role, "ingest"),
    }
    return server.post("/api/v1/embed/text/dense", body).json()["data"]


def eis_header(server: Server, role: str) -> Any:
    contents = [{"content": [{"type": "text", "format": "text", "value": text}]} for text in TEXTS]
    headers = [
        ("X-elastic-product-use-case", "internal_search" if role == "query" else "internal_ingest"),
        ("X-elastic-product-use-case", "my-application"),
    ]
    body = {"input": contents, "model": "roles-retrieval", "dimensions": 256}
    return server.post("/api/v1/embed/dense", body, headers=headers).json()["data"]


def qdrant(server: Server, role: str) -> Any:
    inputs = [{"data": t, "data_type": "text", "model": "roles-retrieval", "options": {"mrl": 256}} for t in TEXTS]
    inference = "search" if role == "query" else "update"
    return server.post("/qdrant/inference", {"inputs": inputs, "inference": inference, "token": None}).json()[
        "embeddings"
    ]


def jina(server: Server, role: str) -> Any:
    task = "retrieval.query" if role == "query" else "retrieval.passage"
    body = {"input": TEXTS, "model": "roles-retrieval", "dimensions": 256, "task": task}
    return [item["embedding"] for item in server.post("/v1/embeddings", body).json()["data"]]


def openai_url(server: Server, role: str) -> Any:
    body = {"input": TEXTS, "model": "roles-retrieval", "dimensions": 256}
    return [item["embedding"] for item in server.post(f"/{role}/v1/embeddings", body).json()["data"]]


def openai_prefix(server: Server, role: str) -> Any:
    texts = [f"{role.title()}: {text}" for text in TEXTS]
    body = {"input": texts, "model": "roles-retrieval", "dimensions": 256, "encoding_format": "base64"}
    data = server.post("/v1/embeddings", body).json()["data"]
    return [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data]


def openai_input_type(server: Server, role: str) -> Any:
    body = {
        "input": TEXTS,
        "model": "roles-retrieval",
        "dimensions": 256,
        "input_type": "query" if role == "query" else "passage",
    }
    return [item["embedding"] for item in server.post("/v1/embeddings", body).json()["data"]]


def cohere(server: Server, role: str) -> Any:
    body = {"texts": TEXTS, "model": "roles-retrieval", "output_dimension": 256, "input_type": f"search_{role}"}
    return server.post("/v2/embed", body).json()["embeddings"]["float"]


ROUTES: list[Ask] = [eis, eis_header, qdrant, jina, openai_url, openai_prefix, openai_input_type, cohere]


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("ask", ROUTES, ids=lambda ask: ask.__name__)
def test_every_route_gives_the_vectors_of_the_encoder(server: Server, encoder: Encoder, ask: Ask, role: str) -> None:
    given = np.array(ask(server, role), np.float32)
    assert (given == encoder.encode(TEXTS, role=role)).all()


@pytest.mark.parametrize("role", ["query", "document"])
def test_tei_takes_the_role_from_address_or_name(server: Server, start: Any, profile: Path, role: str) -> None:
    with start("--model", profile) as own:  # the protocol names no model: the first one answers
        expected = Encoder.load(ModelProfile.from_toml(profile)).encode(TEXTS, role=role)
        bodies = [(f"/{role}/embed", {"inputs": TEXTS}), ("/embed", {"inputs": TEXTS, "prompt_name": role})]
        for path, body in bodies:
            assert (np.array(own.post(path, body).json(), np.float32) == expected).all()
        refused = own.post("/embed", {"inputs": TEXTS})
        assert refused.status_code == 422
        assert "prompt_name" in refused.json()["error"] and refused.json()["error_type"] == "Validation"
        assert own.get("/info").json()["model_id"] == "roles"


@pytest.mark.parametrize("encoding", ["binary", "ubinary", "int8"])
def test_other_encodings(server: Server, encoder: Encoder, encoding: str) -> None:
    floats = encoder.encode_queries(TEXTS)
    bits = binarize(floats)
    vectors = {"binary": to_offset_binary(bits), "ubinary": bits, "int8": to_int8(floats)}[encoding]
    body = {"texts": TEXTS, "model": "roles-retrieval", "output_dimension": 256, "input_type": "search_query"}
    reply = server.post("/v2/embed", body | {"embedding_types": [encoding]}).json()["embeddings"]
    assert (np.array(reply[encoding]) == vectors).all()
    if encoding != "int8":
        body = {"input": TEXTS, "model": "roles-retrieval", "dimensions": 256, "task": "retrieval.query"}
        data = server.post("/v1/embeddings", body | {"embedding_type": encoding}).json()["data"]
        assert (np.array([item["embedding"] for item in data]) == vectors).all()


def test_one_body_of_qdrants_mixes_models_and_dimensions(server: Server, profile: Path) -> None:
    known, plain = Encoder.load(ModelProfile.from_toml(profile), dimension=64), Encoder.load("lexical", dimension=128)
    inputs = [
        {"data": "a", "data_type": "text", "model": "lexical", "options": {"dimensions": 128}},
        {"data": "a", "data_type": "text", "model": "roles-retrieval", "options": {"mrl": 64}},
        {"data": "b", "data_type": "text", "model": "jinaai/roles", "options": {"task": "clustering"}},
        {"data": "c", "data_type": "text", "model": "roles-retrieval", "options": {"mrl": 64, "dimensions": 64}},
    ]
    given = server.post("/qdrant/inference", {"inputs": inputs, "inference": "search"}).json()["embeddings"]
    clustering = Encoder.load(ModelProfile.from_toml(profile), task="clustering")
    expected = [
        plain.encode_queries(["a"])[0],
        known.encode_queries(["a"])[0],
        clustering.encode_queries(["b"])[0],
        known.encode_queries(["c"])[0],
    ]
    assert all((np.array(got, np.float32) == want).all() for got, want in zip(given, expected, strict=True))


def test_a_task_without_roles_needs_none(server: Server, profile: Path) -> None:
    expected = Encoder.load(ModelProfile.from_toml(profile), task="clustering").encode_documents(TEXTS)
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"input": TEXTS, "model": "roles", "task": "clustering"}),
        ("/v1/embeddings", {"input": TEXTS, "model": "roles-clustering"}),
        ("/v1/embeddings", {"input": [f"Document: {text}" for text in TEXTS], "model": "roles-clustering"}),
    ]
    for path, body in bodies:
        data = server.post(path, body).json()["data"]
        assert (np.array([item["embedding"] for item in data], np.float32) == expected).all()
    data = server.post("/api/v1/embed/text/dense", {"input": TEXTS, "model": "roles-clustering"}).json()["data"]
    assert (np.array(data, np.float32) == expected).all()


def test_queries_and_documents_by_their_prefixes_in_one_request(server: Server, profile: Path) -> None:
    encoder = Encoder.load(ModelProfile.from_toml(profile))
    body = {"input": ["Query: a", "Document: a", "Query: Document: a"], "model": "roles-retrieval"}
    data = server.post("/v1/embeddings", body).json()["data"]
    expected = [
        *encoder.encode_queries(["a"]),
        *encoder.encode_documents(["a"]),
        *encoder.encode_queries(["Document: a"]),
    ]
    assert all((np.array(got["embedding"], np.float32) == want).all() for got, want in zip(data, expected, strict=True))


def test_a_bound_role_takes_its_own_prefix_off_and_refuses_the_other(server: Server, profile: Path) -> None:
    encoder = Encoder.load(ModelProfile.from_toml(profile))
    body = {"input": ["Query: a", "a", "Query: Document: a"], "model": "roles-retrieval"}
    data = server.post("/query/v1/embeddings", body).json()["data"]
    expected = encoder.encode_queries(["a", "a", "Document: a"])
    assert (np.array([item["embedding"] for item in data], np.float32) == expected).all()
    reply = server.post("/query/v1/embeddings", body | {"input": ["a", "Document: a"]})
    assert reply.status_code == 400
    assert "text 1 begins with 'Document: '" in reply.json()["error"]["message"]


ROLELESS: list[tuple[str, dict[str, Any], int, Callable[[Any], str], str]] = [
    (
        "/v1/embeddings",
        {"input": ["Query: a", "b"], "model": "roles-retrieval"},
        400,
        lambda e: e["error"]["message"],
        "/query/v1/",
    ),
    (
        "/v1/embeddings",
        {"input": ["a"], "model": "roles-retrieval", "embedding_type": "float"},
        400,
        lambda e: e["detail"]["message"],
        "retrieval.query",
    ),
    (
        "/api/v1/embed/text/dense",
        {"input": ["a"], "model": "roles-retrieval"},
        400,
        lambda e: e["error"],
        "internal_search",
    ),
    ("/v2/embed", {"texts": ["a"], "model": "roles-retrieval"}, 400, lambda e: e["message"], "search_query"),
    (
        "/qdrant/inference",
        {"inputs": [{"data": "a", "model": "roles-retrieval"}]},
        400,
        lambda e: e["error"],
        "inference",
    ),
]


@pytest.mark.parametrize(
    "path, body, status, words, way", ROLELESS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_without_a_role_the_error_names_the_ways(
    server: Server, path: str, body: Any, status: int, words: Callable[[Any], str], way: str
) -> None:
    reply = server.post(path, body)
    assert reply.status_code == status
    assert way in words(reply.json())


def test_contradictions_are_refused(server: Server) -> None:
    body = {"input": ["a"], "model": "roles-retrieval"}
    for path, more in [
        ("/query/v1/embeddings", {"task": "retrieval.passage"}),
        ("/document/v1/embeddings", {"input_type": "query"}),
    ]:
        assert server.post(path, body | more).status_code == 400
    assert server.post("/query/embed", {"inputs": ["a"], "prompt_name": "document"}).status_code == 422
    headers = [("X-elastic-product-use-case", "internal_search"), ("X-elastic-product-use-case", "internal_ingest")]
    assert server.post("/api/v1/embed/text/dense", body, headers=headers).status_code == 400
    said = body | {"usage_context": "search"}  # before which the headers do not count
    assert server.post("/api/v1/embed/text/dense", said, headers=headers).status_code == 200


def test_a_default_role(start: Any, profile: Path) -> None:
    with start("--model", profile, "--default-role", "query") as own:
        expected = Encoder.load(ModelProfile.from_toml(profile)).encode_queries(["a"])
        assert (np.array(own.post("/embed", {"inputs": "a"}).json(), np.float32) == expected).all()
        (item,) = own.post("/v1/embeddings", {"input": "a"}).json()["data"]
        assert (np.array(item["embedding"], np.float32) == expected[0]).all()


def test_what_elasticsearch_may_offer(server: Server) -> None:
    offered = server.get("/api/v2/authorizations").json()["inference_endpoints"]
    assert [endpoint["model_name"] for endpoint in offered][:2] == ["lexical", "lexical-text-matching"]
    assert offered[-1]["id"] == ".roles-clustering"
    assert offered[0]["configuration"] == {"similarity": "cosine", "dimensions": 768, "element_type": "float"}
    for endpoint in offered:
        body = {"input": ["a"], "model": endpoint["model_name"], "usage_context": "ingest"}
        assert server.post("/api/v1/embed/text/dense", body).status_code == 200


def test_operators(server: Server) -> None:
    assert server.get("/health").json() == {"status": "ok"}
    assert [model["id"] for model in server.get("/ready").json()["models"]] == ["lexical", "roles"]
    assert server.get("/v1/models").json()["data"][1]["tasks"] == ["retrieval", "clustering"]
    server.post("/v1/embeddings", {"input": "a", "model": "lexical"})
    metrics = server.get("/metrics").text
    assert 'jinavec_texts_total{model="lexical",task="retrieval"}' in metrics
    assert 'jinavec_requests_total{route="/v1/embeddings",status="200"}' in metrics
    assert server.get("/docs").status_code == 200
    assert "/qdrant/inference" in server.get("/openapi.json").json()["paths"]
    assert server.get("/gone").status_code == 404
    assert server.get("/v1/embeddings").status_code == 405
