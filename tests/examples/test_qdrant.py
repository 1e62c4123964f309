"""The examples run as they are, offline."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "needs", "words"),
    [
        ("qdrant_collection/collection.py", "qdrant_client", "stored=0, unchanged=4"),
        ("qdrant_documents/documents.py", "fastembed", "The cat sleeps on the stove."),
    ],
)
def test_an_example_runs(script: str, needs: str, words: str) -> None:
    if not all(map(find_spec, (needs, "wordllama"))):
        pytest.skip(f"needs {needs} and wordllama")
    done = subprocess.run([sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
