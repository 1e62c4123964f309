"""Fixtures shared by the tests of the core and the contract suites."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if not os.environ.get("JINAVEC_HUB"):
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test may wait for a network
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # FAISS's threads sleep when they wait, and do not spin
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's do nothing but spin, on a busy machine

from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import KINDS, Kind

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a busy machine is no failure


def pytest_collection_finish() -> None:
    """Keep what was imported out of every later garbage collection: with all frameworks it is half a second each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_certificate_authorities(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Let every HTTP client trust nobody: reading the machine's certificates takes a new one 40 ms of CPU time."""
    if os.environ.get("JINAVEC_HUB") or any(map(request.node.get_closest_marker, ("readme", "torture"))):
        return  # these use the network
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], TinyFamily]:
    """Tiny models of random weights by kind, made once; skips where torch is not installed."""

    @cache
    def make(kind: Kind) -> TinyFamily:
        return TinyFamily(kind, tmp_path_factory.mktemp(f"tiny-{kind}"))

    return make


@pytest.fixture(scope="session", params=KINDS)
def family(request: pytest.FixtureRequest, families: Callable[[Kind], TinyFamily]) -> TinyFamily:
    """Each tiny model in turn."""
    return families(request.param)


@pytest.fixture(scope="session", params=KINDS)
def graph(request: pytest.FixtureRequest) -> TinyGraph:
    """Each tiny graph in turn; needs no torch."""
    pytest.importorskip("onnx")
    return TinyGraph(request.param)


@pytest.fixture(scope="session")
def graph_folder(graph: TinyGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of a tiny graph with both outputs."""
    pytest.importorskip("onnxruntime")
    return graph.save(tmp_path_factory.mktemp(f"graph-{graph.kind}"))
