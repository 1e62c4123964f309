"""jinavec calibrate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]


def test_calibrate(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    done = run("calibrate", "faiss:index", "--recall", 0.9, "--sample", 20)
    assert done.code == 0
    assert done.out.startswith("calibrated faiss:index: recall@10 ")
    assert run("info", "faiss:index", "--json").lines[0]["search"]["calibrated"]
    assert run("calibrate", "faiss:index", "--recall", 2).code == 1
