"""The example that compares two servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.golden_server import GoldenServer

pytest.importorskip("httpx2")

SCRIPT = Path(__file__).parents[2] / "examples" / "servers" / "compare.py"


def test_two_right_servers_agree() -> None:
    with GoldenServer("tei") as tei, GoldenServer("openai", name="mine") as openai:
        arguments = [f"tei={tei.url}", f"openai={openai.url}", "--served-as", "mine", "--verify"]
        arguments += ["--model", "jina-embeddings-v5-text-nano"]
        done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 10 and all("  1.0000  " in line for line in lines)
