"""The presets in Qdrant's own Rust engine: what the benchmark measures, at a small size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from jinavec_integrations.qdrant.options import Preset

pytest.importorskip("qdrant_edge")
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "qdrant_recall.py"


@pytest.fixture(scope="module")
def recall() -> dict[str, float]:
    """Recall@10 by preset."""
    command = [sys.executable, str(BENCHMARK), "--dimensions", "768", "--count", "4000", "--queries", "40", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {row[0]: float(row[2]) for row in rows if row[0] != "Preset"}


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_reaches_its_recall_with_the_parameters_it_ships(recall: dict[str, float], preset: Preset) -> None:
    assert recall[preset] >= 0.95


@pytest.mark.parametrize("preset", ["binary", "binary_asymmetric"])
def test_without_them_it_does_not(recall: dict[str, float], preset: Preset) -> None:
    assert recall[f"{preset}, not rescored"] < 0.7


def test_the_binary_index_is_measured_beside_them(recall: dict[str, float]) -> None:
    assert recall["FAISS binary index"] >= 0.95
