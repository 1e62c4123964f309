"""jinavec merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]


def test_merge(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("a.jsonl", NOTES[:40]), "--to", "faiss:a", "--model", "lexical")
    run("index", write_jsonl("b.jsonl", NOTES[20:]), "--to", "faiss:b", "--model", "lexical")
    done = run("merge", "faiss:all", "faiss:a", "faiss:b")
    assert done.code == 0
    assert done.out == "merged 80 records into faiss:all, which holds 60\n"
    assert run("search", "faiss:all", "note 55", "--json").lines[0]["id"] == "55"
    run("index", "a.jsonl", "--to", "faiss:other", "--model", "lexical", "--dimension", 64)
    refused = run("merge", "faiss:all", "faiss:other")
    assert refused.code == 1
    assert "dimension" in refused.err
