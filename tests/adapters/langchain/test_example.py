"""The example, run as a reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")
pytest.importorskip("langchain_text_splitters", reason="needs langchain-text-splitters")
EXAMPLE = Path(__file__).parents[3] / "examples/langchain_rag/rag.py"


def test_the_example_answers() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    counted, contracts, tests = done.stdout.split("\n\n")
    assert "passages indexed under lexical" in counted
    assert "How does jinavec refuse" in contracts and contracts.count("README.md: ") >= 1
    assert "CONTRIBUTING.md: # Contributing" in tests
    assert contracts.endswith("passages above.)")
