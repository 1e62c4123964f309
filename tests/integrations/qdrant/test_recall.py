"""The presets in Qdrant's own Rust engine: what the benchmark measures, at a small size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tests.support.edge_server import QdrantServer

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.vectors import Float32, normalize
from jinavec_integrations.qdrant import QdrantOptions
from jinavec_integrations.qdrant.connection import client_version
from jinavec_integrations.qdrant.options import Preset

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*may be out of reach of the preset")]
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "qdrant_recall.py"


@pytest.fixture(scope="module")
def recall() -> dict[str, float]:
    """Recall@10 by preset."""
    command = [sys.executable, str(BENCHMARK), "--dimensions", "768", "--count", "4000", "--queries", "40", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {row[0]: float(row[3]) for row in rows if row[0] != "Preset"}


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_reaches_its_recall_with_the_parameters_it_ships(recall: dict[str, float], preset: Preset) -> None:
    assert recall[preset] >= 0.95


@pytest.mark.parametrize("preset", ["binary", "binary_asymmetric"])
def test_without_them_it_does_not(recall: dict[str, float], preset: Preset) -> None:
    assert recall[f"{preset}, not rescored"] < 0.7


@pytest.mark.parametrize("preset", ["scalar", "binary"])
def test_a_matryoshka_collection_reaches_it_too(recall: dict[str, float], preset: Preset) -> None:
    assert recall[f"{preset}, matryoshka=256"] >= 0.95


def test_the_binary_index_is_measured_beside_them(recall: dict[str, float]) -> None:
    assert recall["FAISS binary index"] >= 0.95


# through the public door: requests as a server gets them, answered by the engine

CONTRACT = Contract.of(ModelProfile(name="recall", width=256, dimensions=(256, 64)))
COUNT, QUERIES = 3000, 30
MADE: dict[str, dict[str, Any]] = {preset: {"preset": preset} for preset in get_args(Preset)} | {
    "matryoshka": {"preset": "binary", "matryoshka": 64}
}


@pytest.fixture(scope="module")
def server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


@pytest.fixture(scope="module")
def data() -> tuple[Float32, Float32]:
    """Documents and queries in clusters, as texts are."""
    rng = np.random.default_rng(9)
    centres = rng.standard_normal((COUNT // 30, 256))
    near = rng.integers(len(centres), size=COUNT + QUERIES)
    rows = normalize(centres[near] + rng.standard_normal((len(near), 256)))
    return rows[:COUNT], rows[COUNT:]


@pytest.fixture(scope="module", params=MADE)
def made(server: QdrantServer, data: tuple[Float32, Float32], request: pytest.FixtureRequest) -> str:
    """The target of a collection of each kind."""
    if request.param == "turbo" and client_version() < (1, 18):
        pytest.skip("this qdrant-client does not know it")
    target = f"qdrant:{server.url}/{request.param}"
    with open_engine(target, contract=CONTRACT, options=QdrantOptions(**MADE[request.param])) as index:
        index.add([Record(str(number)) for number in range(COUNT)], data[0])
    return target


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("target", [0.8, 0.95, 0.99])
def test_a_search_reaches_the_recall_it_aims_at(
    made: str, data: tuple[Float32, Float32], target: float, k: int
) -> None:
    documents, queries = data
    best = np.argsort(-(queries @ documents.T), axis=1)[:, :k].tolist()
    with open_engine(made, options=QdrantOptions(recall=target)) as index:
        found = [{int(hit.record.id) for hit in hits} for hits in index.search_batch(queries, k)]
        assert index.info()["indexed_vectors"] > 0 or "exact" in made
    assert sum(len(set(wanted) & ids) for wanted, ids in zip(best, found, strict=True)) >= target * k * QUERIES
