from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jinavec_adapters.cli import main
from jinavec_adapters.cli.sources import Fields, Item, Reading, Rejects, Sources


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]
Read = Callable[..., list[Item]]
Give = Callable[[bytes], None]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("JINAVEC_API_KEY", "JINA_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def read() -> Read:
    """Read sources to the end."""

    def call(
        *names: object, fields: Fields | None = None, rejects: Rejects | None = None, how: Reading | None = None
    ) -> list[Item]:
        return list(Sources([str(name) for name in names], fields or Fields(), rejects or Rejects(), how))

    return call


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Put bytes on standard input."""

    def call(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))

    return call


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, Sequence[object]], Path]:
    """Write a file of JSON lines below the test's folder."""

    def call(name: str, values: Sequence[object]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), "utf-8")
        return path

    return call
