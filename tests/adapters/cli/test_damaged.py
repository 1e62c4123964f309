"""What the command line says of an index that cannot be used: one line on standard error, and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]
NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]
COMMANDS = [
    ("info", "faiss:index"),
    ("search", "faiss:index", "a note"),
    ("delete", "faiss:index", "3"),
    ("compact", "faiss:index"),
    ("merge", "faiss:other", "faiss:index"),
    ("calibrate", "faiss:index"),
    ("index", "notes.jsonl", "--to", "faiss:index"),
]


@pytest.fixture
def index(run: Run, write_jsonl: WriteJsonl) -> Path:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    return Path("index")


def truncate(index: Path) -> None:
    (index / "codes.faiss").write_bytes(b"IBxF")


def forge(index: Path) -> None:
    content = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps(content | {"generation": 3}))


def scramble(index: Path) -> None:
    (index / "records.sqlite").write_bytes(bytes(8192))


def lose(index: Path) -> None:
    (index / "vectors.int8").unlink()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncate, "codes.faiss"),
        (forge, "its checksum does not match"),
        (scramble, "records.sqlite"),
        (lose, "vectors.int8"),
    ],
)
def test_a_damaged_index(
    run: Run, index: Path, damage: Callable[[Path], None], named: str, command: tuple[str, ...]
) -> None:
    damage(index)
    done = run(*command)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("jinavec: error: ") and named in done.err
    assert not Path("other").exists()


@pytest.mark.parametrize(("flag", "code"), [("0", 2), ("-3", 2), ("x", 2), ("1000000", 0)])
def test_k(run: Run, index: Path, flag: str, code: int) -> None:
    done = run("search", "faiss:index", "note 7", "-k", flag, "--json")
    assert done.code == code
    assert len(done.out.splitlines()) == (0 if code else 60)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
def test_a_disk_that_fills_up(run: Run, index: Path) -> None:
    """In a process of its own, whose files may not grow."""
    more = Path("more.jsonl")
    more.write_text("\n".join(json.dumps({"id": f"new {n}", "text": f"text {n} " * 50}) for n in range(500)))
    code = (
        "import resource, sys; from jinavec_adapters.cli import main;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
        " sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "index", "more.jsonl", "--to", "faiss:index"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no space left" in done.stderr and "free some and try again" in done.stderr
    assert "run the same command again to continue" in done.stderr and len(done.stderr.splitlines()) == 1
    assert run("info", "faiss:index", "--verify", "--json").lines[0]["records"] == 60
    assert run("index", "more.jsonl", "--to", "faiss:index").code == 0
    assert run("info", "faiss:index", "--verify", "--json").lines[0]["records"] == 560
