"""Bad requests of every kind, by the thousand: each is answered, and none by a 5xx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinavec.wire import cohere, eis, openai, qdrant, tei
from jinavec.wire.fields import is_object

from .conftest import Server

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("JINAVEC_FUZZ", "100"))
"""Of each protocol; ``make torture-server`` sends 10,000."""
GOOD: dict[str, tuple[Any, dict[str, Any]]] = {
    "/v1/embeddings": (openai, {"input": ["a"], "model": "lexical", "dimensions": 64, "encoding_format": "float"}),
    "/query/v1/embeddings": (openai, {"input": "a", "model": "roles", "task": "retrieval.query", "truncate": True}),
    "/document/embed": (tei, {"inputs": ["a"], "prompt_name": "document", "truncate": False, "normalize": True}),
    "/v2/embed": (
        cohere,
        {"texts": ["a"], "model": "roles", "input_type": "search_query", "embedding_types": ["int8"]},
    ),
    "/api/v1/embed/text/dense": (
        eis,
        {"input": ["a"], "model": "roles-retrieval", "usage_context": "search", "dimensions": 64},
    ),
    "/api/v1/embed/dense": (eis, {"input": [{"content": [{"type": "text", "value": "a"}]}], "model": "lexical"}),
    "/qdrant/inference": (
        qdrant,
        {
            "inputs": [{"data": "a", "data_type": "text", "model": "roles-retrieval", "options": {"mrl": 64}}],
            "inference": "search",
        },
    ),
}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
words = st.sampled_from(
    ["", "query", "float", "lexical", "roles", "text", "Query: ", "\ud800", "retrieval.query", "END"]
)
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=4), inner),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """A good body with some of its values replaced, some dropped, some added; at times cut, or no JSON at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64))
    body = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = body
        while True:
            keys: list[Any] = list(place) if is_object(place) else list(range(len(place)))
            key = draw(st.sampled_from(keys)) if keys else None
            if key is None or not _holds_others(place[key]) or draw(st.booleans()):
                break
            place = place[key]
        if key is None or (is_object(place) and draw(st.integers(0, 4)) == 0):
            if is_object(place):
                place[draw(words)] = draw(values)
        elif draw(st.integers(0, 4)) == 0:
            del place[key]
        else:
            place[key] = draw(values)
    encoded = json.dumps(body).encode()
    return encoded[: draw(st.integers(0, len(encoded)))] if draw(st.integers(0, 9)) == 0 else encoded


def _holds_others(value: object) -> bool:
    return isinstance(value, (dict, list))


@pytest.fixture(scope="module")
def client(server: Server) -> Generator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.mark.torture
def test_the_openapi_document_holds_and_its_requests_break_nothing(server: Server) -> None:
    schemathesis = [Path(sys.executable).with_name("uvx"), "--quiet", "schemathesis@4.32.5", "run"]
    checks = ["--checks", "not_a_server_error,status_code_conformance", "--max-examples", "100"]
    subprocess.run([*schemathesis, f"{server.url}/openapi.json", *checks], check=True)


@pytest.mark.parametrize("path", GOOD)
def test_no_request_breaks_the_server(client: httpx2.Client, path: str) -> None:
    codec, good = GOOD[path]
    assert client.post(path, content=json.dumps(good)).status_code == 200

    @settings(max_examples=EXAMPLES, database=None)
    @given(body=bodies(good))
    def post(body: bytes) -> None:
        reply = client.post(path, content=body)
        assert reply.status_code < 500, reply.text
        if reply.status_code != 200:
            assert codec.CODEC.decode_error(reply.status_code, reply.content).message != "(empty response)"

    post()
    assert client.post(path, content=json.dumps(good)).status_code == 200
