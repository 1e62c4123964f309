"""Starts llama.cpp's own server as README does, with the Python of another environment (``make test-llama-cpp``)."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Self

import pytest

README = Path(__file__).parents[2] / "README.md"
SCRIPT = Path(__file__).with_name("llama_cpp_server.py")
PYTHON = "LLAMA_CPP_PYTHON"
"""The environment variable that names the Python with xllamacpp."""


def readme_command(model: str) -> list[str]:
    """Return the options of README's command for a model, without the name of the file that it downloads.

    Args:
        model: a part of the file's name, small or nano.
    """
    (command,) = [
        cell.strip().strip("`")
        for line in README.read_text("utf-8").splitlines()
        for cell in line.split("|")
        if "llama-server -hf" in cell and f"-text-{model}-" in cell
    ]
    program, flag, file, *options = shlex.split(command)
    assert (program, flag) == ("llama-server", "-hf") and file.startswith(f"jinaai/jina-embeddings-v5-text-{model}-")
    return options


class LlamaServer:
    """llama-server with a folder of weights, on a free port of the loopback while in its ``with`` block."""

    def __init__(self, weights: Path, file: Path, options: list[str]) -> None:
        python = os.environ.get(PYTHON)
        if not python:
            pytest.skip(f"{PYTHON} names no Python with xllamacpp: make test-llama-cpp")
        self._command = [python, str(SCRIPT), "--weights", str(weights), "-m", str(file), *options]
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout and self._process.stderr
        self.url = self._process.stdout.readline().strip()
        assert self.url, self._process.stderr.read()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.communicate()
