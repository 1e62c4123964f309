"""What each protocol says to its server: prefixes, model, task and role."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import NANO, PROTOCOLS, TEXTS, load, wanted
from tests.support.scripted_server import ScriptedServer

from jinavec import Encoder
from jinavec.errors import UnknownTask

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")


def test_each_role_gets_its_prefix_exactly_once(protocol: str) -> None:
    with ScriptedServer(protocol) as server, load(server) as encoder:
        agree(encoder.encode_documents(TEXTS), wanted(TEXTS))
        agree(encoder.encode_queries(TEXTS), wanted(TEXTS, "Query: "))


@pytest.mark.parametrize("task", ["text-matching", "clustering", "classification"])
def test_the_other_tasks_use_the_prefix_for_documents(protocol: str, task: str) -> None:
    with ScriptedServer(protocol) as server, load(server, task=task, served_as="mine") as encoder:
        for role in ("query", "document"):
            agree(encoder.encode(TEXTS[:3], role=role), wanted(TEXTS[:3]))


def test_elastics_own_endpoint_knows_no_other_task() -> None:
    with ScriptedServer("elasticsearch") as server, load(server, task="clustering") as encoder:
        with pytest.raises(UnknownTask, match="served_as"):
            encoder.encode_documents(["a"])
        assert not server.asked


def test_narrowing_here_and_there_gives_the_same() -> None:
    with ScriptedServer("openai") as server, load(server, dimension=64) as encoder:
        agree(encoder.encode_documents(TEXTS), wanted(TEXTS, dimension=64))
        assert "dimensions" not in server.asked[0].body
    with ScriptedServer("tei", width=64) as server:
        with load(server, dimension=64, options={"narrow": "server"}) as encoder:
            assert encoder.encode_documents(["a"]).shape == (1, 64)
            assert server.asked[0].body["dimensions"] == 64


def test_what_a_request_says() -> None:
    said: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        with ScriptedServer(protocol) as server, load(server) as encoder:
            encoder.encode_queries(["a"])
            said[protocol] = (server.asked[0].path, server.asked[0].body)
    assert said == {
        "cohere": (
            "/v2/embed",
            {
                "model": NANO,
                "input_type": "query",
                "texts": ["a"],
                "embedding_types": ["float"],
                "truncate": "NONE",
            },
        ),
        "elasticsearch": (
            f"/_inference/text_embedding/.{NANO}?timeout=60s",
            {"input": ["a"], "input_type": "search"},
        ),
        "jina": (
            "/v1/embeddings",
            {
                "model": NANO,
                "task": "retrieval.query",
                "normalized": True,
                "embedding_type": "base64",
                "truncate": False,
                "input": ["a"],
            },
        ),
        "ollama": ("/api/embed", {"model": NANO, "input": ["Query: a"], "truncate": False}),
        "openai": ("/v1/embeddings", {"model": NANO, "input": ["Query: a"], "encoding_format": "base64"}),
        "tei": ("/embed", {"inputs": ["a"], "prompt_name": "query", "normalize": True, "truncate": False}),
    }


def test_a_merged_name_is_the_task_of_its_base_at_jina() -> None:
    with ScriptedServer("jina") as server:
        with Encoder.load(f"{NANO}-clustering", backend="jina", url=server.url, options={"verify": False}) as encoder:
            encoder.encode_documents(["a"])
            assert (server.asked[0].body["model"], server.asked[0].body["task"]) == (NANO, "clustering")
