"""jinavec delete: by id, or by filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number}", "even": number % 2 == 0} for number in range(10)]


@pytest.fixture
def index(run: Run, write_jsonl: WriteJsonl) -> str:
    assert run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical").code == 0
    return "faiss:index"


def ids(run: Run) -> set[str]:
    return {record["id"] for record in run("list", "faiss:index", "--json").lines}


def test_by_filter(run: Run, index: str) -> None:
    done = run("delete", index, "--filter", "even=true")
    assert (done.code, done.out, done.err) == (0, "deleted 5 records from faiss:index\n", "")
    assert ids(run) == {"1", "3", "5", "7", "9"}
    assert run("delete", index, "--filter", "even=true").out == "deleted 0 records from faiss:index\n"


def test_every_filter_must_match(run: Run, index: str, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("more.jsonl", [{"id": "x", "text": "x", "even": True, "n": 1}]), "--to", index)
    assert run("delete", index, "--filter", "even=true", "--filter", "n>=1").out.startswith("deleted 1 ")
    assert ids(run) == {str(number) for number in range(10)}


def test_an_id_given_twice_counts_once(run: Run, index: str) -> None:
    done = run("delete", index, "3", "gone", "3", "gone")
    assert (done.out, done.err) == ("deleted 1 records from faiss:index\n", "jinavec: not found: gone\n")


def test_usage(run: Run, index: str) -> None:
    both = run("delete", index, "3", "--filter", "even=true")
    assert (both.code, "mutually exclusive" in both.err) == (2, True)
    assert run("delete", index, "--filter", "nonsense").code == 2
    assert len(ids(run)) == 10
