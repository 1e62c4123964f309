"""Graphs with attention in plain operators: the same vectors as NumPy's, in memory that grows with the length alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from tests.support.attention_graphs import WIDTH, WINDOW, AttentionGraph
from tests.support.model_checks import agree, fill_hub_cache, prefixed, refused
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import TEXTS, Kind, long_text, tiny_profile

from jinavec import Encoder, JinavecWarning, Task
from jinavec.backends.local.export import export_onnx
from jinavec.backends.local.onnx import OnnxBackend
from jinavec.errors import TextTooLong

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PLAIN = AttentionGraph()
CAUSAL = AttentionGraph(mask="causal")
UNDERSTOOD = [
    PLAIN,
    CAUSAL,
    AttentionGraph(scaling="scores", guarded=True),
    AttentionGraph(scaling="divided", swapped=True),
    AttentionGraph(kind="small", mask="causal", scaling="scores", swapped=True, guarded=True),
]
OTHERS = [AttentionGraph(mask="window"), AttentionGraph(mask="slopes")]
MOST_OF_A_TOKEN = 300 * WIDTH
"""Bytes: about 75 vectors of float32; what was measured is a third of it."""
LONG = [long_text(2 * WINDOW), "one", *(f"{number} {long_text(number)}" for number in range(0, 90, 7))]


def load(graph: AttentionGraph, folder: Path | str, limit: int | None = 500, **more: Any) -> Encoder:
    return Encoder.load(tiny_profile(graph.kind, limit=limit), backend="onnx", source=str(folder), **more)


def name(graph: AttentionGraph) -> str:
    return f"{graph.mask}-{graph.scaling}"


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("graph", [*UNDERSTOOD, *OTHERS], ids=name)
def test_agrees_with_numpy(graph: AttentionGraph, tmp_path: Path, external: bool) -> None:
    encoder = load(graph, graph.save(tmp_path / "model", external=external))
    for texts in (TEXTS, LONG):
        wanted = graph.vectors(tmp_path / "model", prefixed("retrieval", "document", texts))
        agree(encoder.encode_documents(texts), wanted)
        agree(np.concatenate([encoder.encode_documents([text]) for text in texts]), wanted)


def test_masks_differ(tmp_path: Path) -> None:
    """Otherwise a mask that is taken for another would not show."""
    graphs = [PLAIN, CAUSAL, *OTHERS]
    texts = prefixed("retrieval", "document", [long_text(2 * WINDOW)])
    folder = PLAIN.save(tmp_path / "model")
    vectors = [graph.vectors(folder, texts)[0] for graph in graphs]
    assert (np.tril(np.dot(vectors, np.transpose(vectors)), -1) < 0.9999).all()


@pytest.mark.parametrize("graph", [PLAIN, AttentionGraph(mask="window")], ids=name)
def test_weights_in_the_hubs_cache(graph: AttentionGraph, tmp_path: Path) -> None:
    """A snapshot there holds links to files of other names in another folder."""
    folder = graph.save(tmp_path / "model", external=True)
    fill_hub_cache(tmp_path / "cache", "someone/tiny", "1" * 40, folder)
    snapshot = tmp_path / "cache" / "models--someone--tiny" / "snapshots" / ("1" * 40)
    got = load(graph, snapshot).encode_documents(LONG)
    agree(got, graph.vectors(folder, prefixed("retrieval", "document", LONG)))


class TestUnknownAttention:
    """What holds length x length numbers says so before it starts."""

    @pytest.fixture(params=OTHERS, ids=name)
    def folder(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        return request.param.save(tmp_path / "model")

    def test_refuses_what_does_not_fit(self, folder: Path) -> None:
        write_heads(folder, 10**6)
        encoder = load(PLAIN, folder, limit=None, options={"workers": 1})
        with pytest.raises(TextTooLong) as error:
            encoder.encode_documents(["one", long_text(2000)])
        refused(error, "GB", "torch", "limit", "2004 tokens")

    def test_tells_what_is_much(self, folder: Path) -> None:
        """The heads that config.json has are believed: these do not exist, so little memory is really taken."""
        write_heads(folder, 10**9 // (22 * 104**2) + 1)
        encoder = load(PLAIN, folder, options={"workers": 1})
        with pytest.warns(JinavecWarning, match="104 tokens take about 1.0 GB"):
            encoder.encode_documents(["one", long_text(100)])
        encoder.encode_documents(["one", long_text(50)])  # warnings are errors here

    def test_counts_the_texts_that_run_together(self, folder: Path) -> None:
        write_heads(folder, 10**9 // (22 * 304**2) // 2 + 3)
        texts = [long_text(300), long_text(299)]
        load(PLAIN, folder, options={"workers": 1}).encode_documents(texts[:1])
        with pytest.warns(JinavecWarning, match="304 tokens take about 1.0 GB"):
            load(PLAIN, folder, options={"workers": 2}).encode_documents(texts)


@pytest.mark.parametrize("background", [False, True])
def test_long_texts_run_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool) -> None:
    """Each takes much memory, and all threads; in the background those of half of the workers."""
    encoder = load(PLAIN, PLAIN.save(tmp_path / "model"), limit=None, options={"workers": 4})
    if background:
        encoder = Encoder(encoder.profile, encoder.backend.background())
    texts = [long_text(length) for length in (2100, 2200, 2300, 2400, 20, 300)]
    running, most, lock, run = set[int](), list[int](), Lock(), OnnxBackend.run

    def noting(backend: OnnxBackend, batch: Any, task: Task) -> Any:
        with lock:
            running.update({id(batch)} if batch.ids.size > 2000 else ())
            most.append(len(running))
        vectors = run(backend, batch, task)
        with lock:
            running.discard(id(batch))
        return vectors

    monkeypatch.setattr(OnnxBackend, "run", noting)
    got = encoder.encode_documents(texts)
    assert max(most) == 1
    agree(got, PLAIN.vectors(tmp_path / "model", prefixed("retrieval", "document", texts)))


def test_understood_attention_has_no_such_limit(tmp_path: Path) -> None:
    folder = PLAIN.save(tmp_path / "model")
    write_heads(folder, 10**6)
    load(PLAIN, folder, limit=None).encode_documents(["one", long_text(2000)])


def write_heads(folder: Path, heads: int) -> None:
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads}), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("graph", UNDERSTOOD, ids=name)
def test_memory_grows_with_the_length_alone(graph: AttentionGraph, tmp_path: Path) -> None:
    """16,000 tokens: one matrix of float32 for each of the four heads would be 4 GB."""
    added = added_memory(graph.kind, graph.save(tmp_path / "model"), 16_000)
    assert added < MOST_OF_A_TOKEN * 16_000, added


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers for it
def test_memory_of_exported_graphs(family: TinyFamily, tmp_path: Path) -> None:
    """Both architectures; one matrix of float32 for each head would be 4 GB."""
    profile = tiny_profile(family.kind)
    folder = export_onnx(profile, out=tmp_path / "out", task="retrieval", source=str(family.base))
    added = added_memory(family.kind, folder, 16_000)
    assert added < MOST_OF_A_TOKEN * 16_000, added


def added_memory(kind: Kind, folder: Path, tokens: int) -> int:
    """Return the bytes that a long text takes at most, in a process of its own, above what a short one took."""
    script = """
import json, resource, sys
from jinavec import Encoder, ModelProfile
encoder = Encoder.load(ModelProfile.from_json(json.loads(sys.argv[1])), backend="onnx", source=sys.argv[2])
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encoder.encode_documents(["one"])
before = peak()
encoder.encode_documents(["a" + " cat" * int(sys.argv[3])])
print(peak() - before)
"""
    profile = json.dumps(tiny_profile(kind, limit=None).to_json())
    done = subprocess.run(
        [sys.executable, "-c", script, profile, str(folder), str(tokens)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
