"""The command line over models with weights: tiny ONNX graphs, wordllama-256, exports of tiny torch models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import DIMENSIONS, LIMIT, TEXTS, WIDTH, Kind, appended, long_text

from jinavec.extras import installed

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

SOME = [text for text in dict.fromkeys(TEXTS) if text]


def write_profile(path: Path, kind: Kind) -> Path:
    """Write by hand what a user would."""
    path.write_text(
        f'name = "tiny"\nwidth = {WIDTH}\ndimensions = {list(DIMENSIONS)}\npooling = "last"\nlimit = {LIMIT}\n'
        f"appended = {list(appended(kind))}\n"
        '[prompts.retrieval]\nquery = "Query: "\ndocument = "Document: "\n'
        '[prompts.clustering]\nquery = "Document: "\ndocument = "Document: "\n'
    )
    return path


@pytest.fixture
def weights(graph: TinyGraph, graph_folder: Path, tmp_path: Path) -> Path:
    """A folder ``weights`` with a tiny graph, and ``tiny.toml``, below the test's own folder."""
    write_profile(tmp_path / "tiny.toml", graph.kind)
    return shutil.copytree(graph_folder, tmp_path / "weights")


FLAGS = ("--profile", "tiny.toml", "--backend", "onnx", "--source", "weights")


@pytest.mark.parametrize("role", ["query", "document"])
def test_encode_gives_the_vectors_of_the_graph(
    run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, weights: Path, role: str
) -> None:
    source = write_jsonl("a.jsonl", [{"text": text} for text in TEXTS])
    done = run("encode", source, *FLAGS, "--role", role, "--dimension", 32, "--out", "v.npy", "--batch-size", 5)
    assert done.code == 0
    wanted = graph.vectors(weights, [f"{role.capitalize()}: {text}" for text in TEXTS], dimension=32)
    np.testing.assert_allclose(np.load("v.npy"), wanted, atol=1e-5)


def test_an_index_remembers_how_it_was_encoded(
    run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, weights: Path, tmp_path: Path
) -> None:
    source = write_jsonl("a.jsonl", [{"id": text, "text": text} for text in SOME])
    done = run("index", source, *FLAGS, "--to", "faiss:i", "--backend-option", "workers=1", "--overflow", "error")
    assert (done.code, done.err) == (0, "jinavec: plan: flat, by size\n")
    (tmp_path / "tiny.toml").unlink()

    remembered = json.loads(run("info", "faiss:i", "--json").out)["encoder"]
    assert (remembered["source"], remembered["overflow"]) == ("weights", "error")
    assert remembered["options"] == {"workers": 1}

    scores = graph.vectors(weights, ["Query: Mars"])[0] @ graph.vectors(weights, [f"Document: {t}" for t in SOME]).T
    found = run("search", "faiss:i", "Mars", "-k", 3, "--json").lines
    assert [hit["id"] for hit in found] == [SOME[row] for row in np.argsort(-scores)[:3]]
    assert [hit["score"] for hit in found] == pytest.approx(sorted(scores)[:-4:-1], abs=0.01)


def test_flags_override_what_an_index_remembers(
    run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, weights: Path, tmp_path: Path
) -> None:
    source = write_jsonl("a.jsonl", [{"id": "a", "text": "Mars"}])
    run("index", source, *FLAGS, "--to", "faiss:i", "--overflow", "error")
    (tmp_path / "weights").rename(tmp_path / "moved")
    lost = run("search", "faiss:i", "Mars")
    assert (lost.code, lost.out) == (1, "")
    assert "weights" in lost.err
    assert run("search", "faiss:i", "Mars", "--source", "moved", "--json").lines[0]["id"] == "a"

    too_long = long_text(LIMIT * 2)
    refused = run("search", "faiss:i", too_long, "--source", "moved")
    assert refused.code == 1
    assert f"exceed the model's {LIMIT} tokens" in refused.err
    cut = run("search", "faiss:i", too_long, "--source", "moved", "--overflow", "truncate", "--json")
    assert cut.code == 0
    assert "jinavec: warning: this index was made with the weights in" in cut.err
    assert "jinavec: warning: 1 of the texts exceed" in cut.err


def test_texts_that_are_too_long_store_nothing(
    run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, weights: Path
) -> None:
    source = write_jsonl("a.jsonl", [{"text": "short"}, {"text": long_text(LIMIT * 2)}])
    done = run("index", source, *FLAGS, "--to", "faiss:i", "--overflow", "error")
    assert done.code == 1
    assert "nothing was stored" in done.err
    assert not Path("i").exists()


@pytest.mark.parametrize("option", ["treads=1", "workers=many", "workers=1.5"])
def test_an_option_the_backend_does_not_have(
    run: Run, write_jsonl: WriteJsonl, graph: TinyGraph, weights: Path, option: str
) -> None:
    source = write_jsonl("a.jsonl", [{"text": "x"}])
    done = run("index", source, *FLAGS, "--to", "faiss:i", "--backend-option", option)
    assert (done.code, done.out) == (2, "")
    assert "option" in done.err
    assert not Path("i").exists()


def test_meaning_with_the_small_static_model(run: Run, write_jsonl: WriteJsonl) -> None:
    pytest.importorskip("wordllama")
    notes = {"oven": "The cat sleeps on the stove.", "port": "Ships anchor in the harbour."}
    source = write_jsonl("a.jsonl", [{"id": id, "text": text} for id, text in notes.items()])
    done = run("index", source, "--to", "faiss:i", "--model", "wordllama-256", "--dimension", 64)
    assert (done.code, done.err) == (0, "jinavec: plan: flat, by size\n")
    assert run("search", "faiss:i", "where do boats stop?", "--json").lines[0]["id"] == "port"
    assert run("search", "faiss:i", "a kitten naps", "--json").lines[0]["id"] == "oven"


@pytest.mark.skipif(installed("torch"), reason="torch is installed")
def test_a_missing_extra_names_the_pip_line(run: Run, tmp_path: Path) -> None:
    write_profile(tmp_path / "tiny.toml", "small")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    for command in [
        ("models", "export", "tiny.toml", "--source", "weights", "--out", "out"),
        ("index", "a.jsonl", "--to", "faiss:i", "--profile", "tiny.toml", "--backend", "torch", "--source", "weights"),
    ]:
        done = run(*command)
        assert (done.code, done.out) == (1, "")
        assert 'pip install "' in done.err and '"torch>=' in done.err
    assert not Path("out").exists()
    assert not Path("i").exists()


@pytest.mark.torch
def test_an_exported_model_runs(
    run: Run, write_jsonl: WriteJsonl, families: Callable[[Kind], TinyFamily], tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    family = families("nano")
    write_profile(tmp_path / "tiny.toml", family.kind)
    done = run("models", "export", "tiny.toml", "--source", family.base, "--task", "clustering", "--out", "exported")
    assert (done.code, done.out) == (0, "exported tiny to exported; use it with --backend onnx --source exported\n")
    source = write_jsonl("a.jsonl", [{"text": text} for text in SOME])
    flags = ("--profile", "tiny.toml", "--backend", "onnx", "--source", "exported", "--task", "clustering")
    assert run("encode", source, *flags, "--role", "document", "--out", "v.npy").code == 0
    wanted = family.vectors([f"Document: {text}" for text in SOME], "clustering")
    np.testing.assert_allclose(np.load("v.npy"), wanted, atol=1e-4)
