"""One bad text among two hundred: the command line names its file and line, and stores the others with --skip-bad."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.scripted_server import Asked, Reply, ScriptedServer
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_tokenizers import LIMIT, WIDTH, long_text

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]
BAD = 123
SHORT, LONG = "bad", "bad " * 100


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that refuses the bad text."""

    def fault(asked: Asked, number: int) -> Reply | None:
        bad = any("bad" in text for text in asked.body["input"])
        return Reply({"error": {"message": "I do not like it"}}, 400) if bad else None

    pytest.importorskip("httpx2")
    with ScriptedServer("openai", fault=fault) as server:
        yield server


def given(write_jsonl: WriteJsonl, bad: str) -> Path:
    return write_jsonl("a.jsonl", [{"id": f"id-{n}", "text": bad if n == BAD else f"text {n}"} for n in range(200)])


def flags(server: ScriptedServer) -> tuple[str, ...]:
    model = ("--model", "jina-embeddings-v5-text-nano", "--backend", "openai", "--url", server.url)
    return (*model, "--backend-option", "verify=false")  # its vectors are made of the text's hash


@pytest.mark.parametrize("bad", [SHORT, LONG], ids=["the shortest", "the longest"])
def test_index_through_a_server(run: Run, write_jsonl: WriteJsonl, server: ScriptedServer, bad: str) -> None:
    source = given(write_jsonl, bad)
    stopped = run("index", source, *flags(server), "--to", "faiss:i", "--batch-size", 64)
    assert stopped.code == 1
    assert f"a.jsonl:{BAD + 1}: " in stopped.err and "I do not like it" in stopped.err and "--skip-bad" in stopped.err
    done = run("index", source, *flags(server), "--to", "faiss:j", "--skip-bad", "--batch-size", 64)
    assert done.code == 0, done.err
    assert "indexed 199 records" in done.out and "1 bad records skipped" in done.out
    assert f"skipped {source}:{BAD + 1}: " in done.err or f"a.jsonl:{BAD + 1}: " in done.err
    assert json.loads(run("info", "faiss:j", "--json").out)["records"] == 199


def test_encode_through_a_server(run: Run, write_jsonl: WriteJsonl, server: ScriptedServer) -> None:
    source = given(write_jsonl, SHORT)
    stopped = run("encode", source, *flags(server), "--role", "document", "--out", "v.npy")
    assert stopped.code == 1
    assert f"a.jsonl:{BAD + 1}: " in stopped.err
    done = run("encode", source, *flags(server), "--role", "document", "--out", "v.npy", "--skip-bad")
    assert (done.code, np.load("v.npy").shape) == (0, (199, 768))
    assert f"a.jsonl:{BAD + 1}: " in done.err


def test_index_in_process(run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, graph_folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    Path("tiny.toml").write_text(f'name = "tiny"\nwidth = {WIDTH}\npooling = "last"\nlimit = {LIMIT}\n', "utf-8")
    source = given(write_jsonl, long_text(2 * LIMIT))
    how = ("--profile", "tiny.toml", "--backend", "onnx", "--source", graph_folder, "--overflow", "error")
    stopped = run("index", source, *how, "--to", "faiss:i")
    assert stopped.code == 1
    assert f"a.jsonl:{BAD + 1}: its " in stopped.err and f"tokens exceed the model's {LIMIT}" in stopped.err
    assert not Path("i").exists()
    done = run("index", source, *how, "--to", "faiss:i", "--skip-bad")
    assert done.code == 0, done.err
    assert "indexed 199 records" in done.out
