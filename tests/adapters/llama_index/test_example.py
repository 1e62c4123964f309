from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parents[3] / "examples" / "llama_index_app" / "app.py"


def run(*arguments: str) -> str:
    """Run the app, where every proxy leads nowhere."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, str(APP), *arguments]
    done = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_app_answers_and_embeds_nothing_twice(tmp_path: Path) -> None:
    first = run("--keep", str(tmp_path / "notes"))
    assert "README.md: ## An engine of your own" in first
    assert "README.md: ## How the contract protects you" in first
    again = run("--keep", str(tmp_path / "notes"), "what is a contract?")
    assert "\n0 passages embedded" in f"\n{again}"
    assert "README.md: ## How the contract protects you" in again
