"""jinavec info."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]


def test_verify(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    assert run("info", "faiss:index", "--verify").code == 0
    path = Path("index/vectors.int8")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    assert run("info", "faiss:index").code == 0
    damaged = run("info", "faiss:index", "--verify")
    assert damaged.code == 1
    assert "vectors.int8: rows 0 to 59: their checksum does not match" in damaged.err
