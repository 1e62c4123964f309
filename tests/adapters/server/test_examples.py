"""The examples and the files for operators do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jinavec_adapters.server import ServerSettings

from .conftest import Server

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("example", ["self_hosted_eis", "qdrant_server_inference"])
def test_walkthrough(server: Server, example: str) -> None:
    script = ROOT / "examples" / example / "walkthrough.py"
    done = subprocess.run([sys.executable, script, server.url], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[-2:]
    assert "cat" in first and "Ships" in second


def test_the_settings_file_for_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINAVEC_SERVE_API_KEYS", "k")
    assert ServerSettings.read(ROOT / "deploy" / "server.toml").host == "0.0.0.0"
