"""Completion, as the shells ask for it: a process, environment variables, lines on standard output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jinavec import Task
from jinavec.models import CATALOGUE

COMMAND = Path(sys.executable).with_name("jinavec")


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=os.environ | environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def complete(words: str) -> set[str]:
    count = str(len(words.split(" ")) - 1)
    return set(run(COMP_WORDS=words, COMP_CWORD=count, _JINAVEC_COMPLETE="complete_bash").splitlines())


def test_what_bash_completes() -> None:
    assert complete("jinavec se") == {"search", "serve"}
    assert complete("jinavec search fa") == {"faiss:"}
    assert complete("jinavec index notes.jsonl --to ") >= {"faiss:", "elasticsearch:", "qdrant:"}
    assert complete("jinavec index notes.jsonl --model ") == set(CATALOGUE)
    assert complete("jinavec index notes.jsonl --task ") == {task.value for task in Task}
    assert complete("jinavec search faiss:notes --backend o") == {"ollama", "onnx", "openai"}
    assert complete("jinavec encode --role ") == {"query", "document"}
    assert complete("jinavec models export wo") == {"wordllama-256"}
    assert "--verbose" in complete("jinavec info --v")


def test_zsh_and_fish() -> None:
    zsh = run(_TYPER_COMPLETE_ARGS="jinavec models export wo", _JINAVEC_COMPLETE="complete_zsh")
    fish = {"_TYPER_COMPLETE_ARGS": "jinavec models export wo", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "wordllama-256" in zsh
    assert run(**fish, _JINAVEC_COMPLETE="complete_fish").split() == ["wordllama-256"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_shown_and_installed(tmp_path: Path, shell: str) -> None:
    undetected = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    assert "_JINAVEC_COMPLETE" in run("--show-completion", shell, **undetected)
    assert f"{shell} completion installed in {tmp_path}" in run("--install-completion", shell, **undetected)
