"""jinavec compact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]


def test_compact(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    run("delete", "faiss:index", *(str(number) for number in range(50)))
    done = run("compact", "faiss:index")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("compacted faiss:index: 10 records, flat, by size, ")
    assert run("info", "faiss:index", "--json").lines[0]["rows"] == 10
    done = run("compact", "faiss:index", "--option", "nlist=3")
    assert "3 lists, as asked" in done.out
    assert run("search", "faiss:index", "note 55", "--json").lines[0]["id"] == "55"
    assert run("compact", "faiss:index", "--option", "nlist=0").code == 2
    assert run("compact", "faiss:index", "--option", "no_such=1").code == 2
    assert run("compact", "faiss:nowhere").code == 1
