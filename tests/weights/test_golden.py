"""The golden values on the real weights: every task, width and precision; what was measured goes to one JSON file.

It confirms, or corrects, the limits in ``jinavec/backends/verification.py``. ``JINAVEC_WEIGHTS`` names a folder that
holds snapshots under their repository's names; with ``JINAVEC_HUB=1`` the hub is asked instead. What is not there is
skipped, and noted. The file is ``JINAVEC_WEIGHTS_REPORT``, by default ``weights.json``.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jinavec import Encoder, Task
from jinavec.backends.verification import Comparison
from jinavec.errors import MissingExtra, ModelError
from jinavec.golden import TEXTS
from jinavec.vectors import Float32, narrow

pytestmark = [pytest.mark.weights, pytest.mark.filterwarnings("default")]

FOLDER = os.environ.get("JINAVEC_WEIGHTS", "")
REPORT = Path(os.environ.get("JINAVEC_WEIGHTS_REPORT", "weights.json"))
RUNTIMES: dict[str, tuple[str, Any]] = {
    "torch float32": ("torch", {"precision": "float32"}),
    "torch bfloat16": ("torch", {"precision": "bfloat16"}),
    "torch bfloat16-mlp": ("torch", {"precision": "bfloat16-mlp"}),
    "onnx float32": ("onnx", {"file": "model.onnx"}),
    "onnx int8": ("onnx", {"file": "model_quantized.onnx"}),
    "onnx q4": ("onnx", {"file": "model_q4.onnx"}),
    "llama.cpp F16": ("openai", "F16"),
    "llama.cpp Q8_0": ("openai", "Q8_0"),
    "llama.cpp Q4_K_M": ("openai", "Q4_K_M"),
}
SILENT = ("float32", "bfloat16", "bfloat16-mlp", "F16")
"""Precisions of which nothing is to be said."""
LLAMA = """
import sys, threading, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.embedding, p.port = sys.argv[1], True, int(sys.argv[2])
p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
p.hostnames, p.n_parallel = ["127.0.0.1"], 1
p.n_ubatch = p.n_batch = 8192
server = xllamacpp.Server(p)
threading.Event().wait()
"""
CELLS = [(size, task, runtime) for size in ("nano", "small") for task in Task for runtime in RUNTIMES]


@pytest.fixture(scope="module")
def report() -> Iterator[list[dict[str, Any]]]:
    """What was measured, written at the end."""
    if not (FOLDER or os.environ.get("JINAVEC_HUB")):
        pytest.skip("set JINAVEC_WEIGHTS to a folder of snapshots, or JINAVEC_HUB=1")
    rows: list[dict[str, Any]] = []
    yield rows
    REPORT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")


@pytest.fixture(scope="module")
def exact() -> dict[tuple[str, Task], Float32]:
    """The vectors of float32, by size and task, once they were computed."""
    return {}


@pytest.mark.parametrize(("size", "task", "runtime"), CELLS, ids=lambda value: str(value).replace(" ", "-"))
def test_golden_values(
    report: list[dict[str, Any]], exact: dict[tuple[str, Task], Float32], size: str, task: Task, runtime: str
) -> None:
    row: dict[str, Any] = {"size": size, "task": task.value, "runtime": runtime}
    report.append(row)
    try:
        with loaded(f"jina-embeddings-v5-text-{size}-{task}", runtime) as encoder:
            measure(encoder, row, exact)
    except (ModelError, MissingExtra, FileNotFoundError) as error:
        row["missing"] = str(error)
        pytest.skip(str(error))
    assert not row.get("refused"), row
    if runtime.split()[1] in SILENT:
        assert not row.get("warnings"), row


def measure(encoder: Encoder, row: dict[str, Any], exact: dict[tuple[str, Task], Float32]) -> None:
    """Note the similarities at every width, and how far the vectors are from those of float32."""
    query, documents = TEXTS[encoder.task]
    vectors = np.concatenate([encoder.encode_queries([query]), encoder.encode_documents(documents)])
    row["cosines"] = {}
    for width in encoder.profile.dimensions:
        cut = narrow(vectors, width)
        row["cosines"][str(width)] = [round(float(cosine), 4) for cosine in cut[1:] @ cut[0]]
    right = exact.setdefault((row["size"], encoder.task), vectors)
    row["least cosine to float32"] = round(float((vectors * right).sum(axis=1).min()), 6)
    golden = encoder.profile.golden and encoder.profile.golden.similarities.get(encoder.task)
    if golden:
        compared = Comparison.of(golden, vectors[0], vectors[1:])
        row |= {"deviation": round(compared.deviation, 4), "refused": compared.is_refused}
        row["warnings"] = compared.warnings
    try:
        row["verify"] = str(encoder.verify())
    except ModelError as error:
        row |= {"verify": str(error), "refused": True}


@contextmanager
def loaded(name: str, runtime: str) -> Generator[Encoder]:
    """Load merged weights; those for llama.cpp through its own server, in a process of its own."""
    backend, given = RUNTIMES[runtime]
    source = str(Path(FOLDER) / name) if FOLDER else f"jinaai/{name}"
    if FOLDER and not Path(source).is_dir():
        raise FileNotFoundError(f"{source} is not there")
    if backend != "openai":
        with Encoder.load(name, backend=backend, source=source, options=given) as encoder:
            yield encoder
        return
    pytest.importorskip("xllamacpp", reason="needs xllamacpp")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", LLAMA, str(graph(name, source, given)), str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, url)
        with Encoder.load(name, backend="openai", url=url, options={"verify": False}) as encoder:
            yield encoder
    finally:
        process.kill()
        process.wait()


def graph(name: str, source: str, precision: str) -> Path:
    """Return a GGUF file of merged weights, from their folder or the hub."""
    file = f"{name.removeprefix('jina-embeddings-').replace('v5-text', 'v5')}-{precision}.gguf"
    if not FOLDER:
        hub = pytest.importorskip("huggingface_hub")
        return Path(hub.hf_hub_download(f"{source}-GGUF", file))
    found = [*Path(source).rglob(file), *Path(f"{source}-GGUF").rglob(file)]
    if not found:
        raise FileNotFoundError(f"there is no {file} in {source}")
    return found[0]


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait for a server that loads its model."""
    for _ in range(600):
        assert process.poll() is None, "the server of llama.cpp ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    raise AssertionError("the server of llama.cpp did not start")
