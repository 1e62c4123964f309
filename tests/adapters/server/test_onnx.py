"""A model with a tokenizer and a limit, behind the server: many clients at once, in whatever batch."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder

from ...tiny_graphs import TinyGraph
from ...tiny_tokenizers import LIMIT, tiny_profile
from .conftest import Server, running

TEXTS = [" ".join(f"word{n * step}" for step in range(1 + n % 9)) for n in range(96)]


@pytest.fixture(scope="module")
def tiny(
    graph: TinyGraph, graph_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Server, Encoder]]:
    profile = tiny_profile(graph.kind)
    values = profile.to_json()
    prompts: dict[str, dict[str, str]] = values.pop("prompts")
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    for task, table in prompts.items():
        lines += [f"[prompts.{task}]", *(f"{role} = {json.dumps(prefix)}" for role, prefix in table.items())]
    path = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    path.write_text("\n".join(lines), "utf-8")
    with (
        running("--model", path, "--backend", "onnx", "--source", graph_folder) as server,
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
