"""Every service of Elasticsearch's, as ``setup`` describes it, against a running ``jinavec serve``.

Elasticsearch's part is played here: what each service posts is written down from its protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, Encoder, ModelProfile, Role, Task
from jinavec.vectors import Float32, normalize

pytest.importorskip("elasticsearch")
pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
import httpx2

from jinavec_integrations.elasticsearch import InferenceSetup

from ..server.conftest import running

PROFILE = """
name = "roles"
width = 64
dimensions = [32, 64]
backend = "lexical"
[prompts.retrieval]
query = "Query: "
document = "Document: "
"""
ROLES = ModelProfile(
    name="roles",
    width=64,
    dimensions=(32, 64),
    backend="lexical",
    prompts={(Task.RETRIEVAL, Role.QUERY): "Query: ", (Task.RETRIEVAL, Role.DOCUMENT): "Document: "},
)
TEXTS = ["the cat sleeps", "ships in the harbour"]
Asked = Callable[[dict[str, Any], str], dict[str, Any]]


def openai(settings: dict[str, Any], role: str) -> dict[str, Any]:
    return {"input": TEXTS, "model": settings["model_id"], "dimensions": settings["dimensions"]}


def hugging_face(settings: dict[str, Any], role: str) -> dict[str, Any]:
    return {"inputs": TEXTS}


def cohere(settings: dict[str, Any], role: str) -> dict[str, Any]:
    kind = {"ingest": "search_document", "search": "search_query"}[role]
    return {"texts": TEXTS, "model": settings["model_id"], "input_type": kind, "embedding_types": ["float"]}


def jinaai(settings: dict[str, Any], role: str) -> dict[str, Any]:
    task = {"ingest": "retrieval.passage", "search": "retrieval.query"}[role]
    asked = {"embedding_type": "float", "task": task, "dimensions": settings["dimensions"]}
    return {"input": TEXTS, "model": settings["model_id"], **asked}


def nvidia(settings: dict[str, Any], role: str) -> dict[str, Any]:
    kind = {"ingest": "passage", "search": "query"}[role]
    return {"input": TEXTS, "model": settings["model_id"], "input_type": kind}


def custom(settings: dict[str, Any], role: str) -> dict[str, Any]:
    assert settings["response"]["json_parser"]["text_embeddings"] == "$.data[*].embedding[*]"
    return json.loads(settings["request"].replace("${input}", json.dumps(TEXTS)))


def read(reply: Any) -> list[list[float]]:
    """Find the vectors in the reply of whichever protocol."""
    if isinstance(reply, list):
        return reply  # pyright: ignore[reportUnknownVariableType]
    return [item["embedding"] for item in reply["data"]] if "data" in reply else reply["embeddings"]["float"]


SERVICES: list[tuple[Any, str, int, Asked]] = [
    ("openai", "/{role}/v1/embeddings", 32, openai),
    ("hugging_face", "/{role}/embed", 64, hugging_face),
    ("cohere", "/v2/embed", 64, cohere),
    ("jinaai", "/v1/embeddings", 32, jinaai),
    ("nvidia", "/v1/embeddings", 64, nvidia),
    ("custom", "/v1/embeddings", 32, custom),
]


def test_every_service_gives_passages_and_queries_their_own_vectors(tmp_path: Any) -> None:
    profile = tmp_path / "roles.toml"
    profile.write_text(PROFILE)
    with running("--model", profile) as server:
        for service, path, dimension, asks in SERVICES:
            contract = Contract.of(ROLES, dimension=dimension)
            setup = InferenceSetup(name="n", contract=contract, service=service, url=server.url + path)
            encoder = Encoder.load(ROLES, dimension=dimension)
            endpoints = {
                request.path: request.body["service_settings"]
                for request in setup.requests()
                if request.method == "PUT" and request.body
            }
            for probe in setup.probes:
                settings = endpoints[probe.request.path]
                side = "ingest" if probe.role is Role.DOCUMENT else "search"
                reply = httpx2.post(settings["url"], content=json.dumps(asks(settings, side)).encode(), timeout=60)
                assert reply.status_code == 200, f"{service}: {reply.text}"
                vectors: Float32 = normalize(read(reply.json()))
                np.testing.assert_allclose(vectors, encoder.encode(TEXTS, role=probe.role), atol=1e-6, err_msg=service)
