"""Fixtures shared by the tests of the core and the contract suites."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if not os.environ.get("JINAVEC_HUB"):
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test may wait for a network

from tests.support.tiny_graphs import TinyGraph
from tests.support.tiny_models import TinyFamily
from tests.support.tiny_tokenizers import KINDS, Kind

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a busy machine is no failure


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
