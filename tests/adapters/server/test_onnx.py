"""A model with a tokenizer and a limit, behind the server: many clients at once, in whatever batch."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import LIMIT, tiny_profile
from tokenizers import Tokenizer

from jinavec import Encoder, Role, prompt

from .conftest import Server, running

TEXTS = [" ".join(f"word{n * step}" for step in range(1 + n % 9)) for n in range(96)]


@pytest.fixture(scope="module")
def model(graph: TinyGraph, graph_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The flags that serve a tiny model."""
    profile = tiny_profile(graph.kind)
    values = profile.to_json()
    prompts: dict[str, dict[str, str]] = values.pop("prompts")
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    for task, table in prompts.items():
        lines += [f"[prompts.{task}]", *(f"{role} = {json.dumps(prefix)}" for role, prefix in table.items())]
    path = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    path.write_text("\n".join(lines), "utf-8")
    return "--model", path, "--backend", "onnx", "--source", graph_folder


@pytest.fixture(scope="module")
def tiny(graph: TinyGraph, graph_folder: Path, model: tuple[object, ...]) -> Generator[tuple[Server, Encoder]]:
    profile = tiny_profile(graph.kind)
    with (
        running(*model) as server,
        Encoder.load(profile, backend="onnx", source=graph_folder, overflow="truncate") as encoder,
    ):
        yield server, encoder


def test_many_clients_get_the_vectors_of_the_encoder(tiny: tuple[Server, Encoder]) -> None:
    server, encoder = tiny

    def ask(text: str) -> Any:
        return server.post("/query/v1/embeddings", {"input": text}).json()["data"][0]["embedding"]

    with ThreadPoolExecutor(16) as threads:
        given = np.array(list(threads.map(ask, TEXTS)))
    assert np.einsum("ij,ij->i", given, encoder.encode_queries(TEXTS)).min() > 1 - 1e-6


def test_the_tokens_that_the_model_read_are_reported(tiny: tuple[Server, Encoder], graph_folder: Path) -> None:
    server, encoder = tiny
    texts = [*TEXTS[:5], TEXTS[0], ""]
    tokenizer = Tokenizer.from_file(str(graph_folder / "tokenizer.json"))
    tokenizer.no_padding()
    prefix = prompt(encoder.task, Role.QUERY, encoder.profile)
    expected = sum(len(tokenizer.encode(prefix + text).ids) for text in texts)

    def ask(path: str, body: dict[str, Any]) -> Any:
        return server.post(path, body).json()

    usage = {"prompt_tokens": expected, "total_tokens": expected}
    assert ask("/query/v1/embeddings", {"input": texts})["usage"] == usage
    assert ask("/v1/embeddings", {"input": [prefix + text for text in texts]})["usage"] == usage
    assert ask("/v1/embeddings", {"input": texts, "task": "retrieval.query"})["usage"] == usage
    cohere = ask("/v2/embed", {"texts": texts, "input_type": "search_query"})
    assert cohere["meta"]["billed_units"] == {"input_tokens": expected}
    eis = ask("/api/v1/embed/text/dense", {"input": texts, "usage_context": "search"})
    assert eis["meta"]["usage"] == {"total_tokens": expected}
    name = encoder.profile.name
    inputs = [{"data": text, "model": name} for text in texts]
    qdrant = ask("/qdrant/inference", {"inputs": inputs, "inference": "search"})
    assert qdrant["usage"] == {"models": {name: {"tokens": expected}}}
    cut = ask("/query/embed", {"inputs": ["word " * (LIMIT + 10)], "truncate": True})
    assert len(cut) == 1


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("backend", ["jina", "openai", "tei", "cohere"])
def test_our_own_remote_backends_find_nothing_wrong(tiny: tuple[Server, Encoder], backend: str, role: str) -> None:
    server, encoder = tiny
    given = ask_verified(server, encoder, backend, role)
    assert np.einsum("ij,ij->i", given, encoder.encode(TEXTS, role=role)).min() > 1 - 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("default", ["query", "document"])
def test_nor_where_texts_without_a_role_get_one(
    tiny: tuple[Server, Encoder], model: tuple[object, ...], default: str
) -> None:
    _, encoder = tiny
    with running(*model, "--default-role", default) as server:
        for backend in ("jina", "openai", "tei", "cohere"):
            for role in ("query", "document"):
                given = ask_verified(server, encoder, backend, role)
                assert np.einsum("ij,ij->i", given, encoder.encode(TEXTS, role=role)).min() > 1 - 1e-6


def ask_verified(server: Server, encoder: Encoder, backend: str, role: str) -> Any:
    served_as = "" if backend == "tei" else encoder.profile.name
    how: dict[str, Any] = {"url": server.url, "served_as": served_as, "options": {"verify": True, "batch": 16}}
    profile = replace(encoder.profile, golden=encoder.record_golden())
    with Encoder.load(profile, backend=backend, **how) as remote:
        assert remote.verify().proved == ("model", "task", "prefix", "pooling")
        return remote.encode(TEXTS, role=role)


def test_a_text_over_the_limit_is_refused_unless_it_may_be_cut(tiny: tuple[Server, Encoder]) -> None:
    server, encoder = tiny
    long = "word " * (LIMIT + 10)
    reply = server.post("/query/v1/embeddings", {"input": ["short", long]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert server.post("/query/embed", {"inputs": [long], "truncate": False}).status_code == 422
    with pytest.warns(UserWarning, match="truncated"):
        expected = encoder.encode_queries([long])
    reply = server.post("/query/embed", {"inputs": [long], "truncate": True})
    assert (np.array(reply.json()) @ expected[0]).item() > 1 - 1e-6
    reply = server.post("/api/v1/embed/text/dense", {"input": [long], "usage_context": "search"})
    assert reply.status_code == 400 and "tokens" in reply.json()["error"]
