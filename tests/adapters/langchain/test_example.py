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
    _, contracts, tests = done.stdout.split("\n\n")
    assert "mix two" in contracts and "README.md: " in contracts
    assert "`make test`" in tests
    assert contracts.endswith("passages above.)")
