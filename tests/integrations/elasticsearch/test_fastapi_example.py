"""The FastAPI example, over a folder and over a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.elasticsearch_server import elasticsearch_url

pytest.importorskip("fastapi")
APP = Path(__file__).parents[3] / "examples" / "fastapi_search" / "app.py"


def run(target: str) -> str:
    environment = {**os.environ, "JINAVEC_TARGET": target}
    done = subprocess.run([sys.executable, APP], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_over_a_folder(tmp_path: Path) -> None:
    assert "'id': '1'" in run(f"faiss:{tmp_path / 'notes'}")


@pytest.mark.elasticsearch
def test_over_a_server(target: str) -> None:
    assert elasticsearch_url() in target
    assert "'id': '1'" in run(target)
