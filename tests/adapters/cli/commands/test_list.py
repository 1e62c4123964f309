"""jinavec list and jinavec get: what an index holds, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES: list[dict[str, Any]] = [
    {"id": f"note {number}", "text": f"text {number} " * 60, "even": number % 2 == 0, "metadata": {"id": number}}
    for number in range(25)
]
RECORDS = [
    {"id": note["id"], "text": note["text"], "metadata": {"id": number, "even": note["even"]}}
    for number, note in enumerate(NOTES)
]


@pytest.fixture
def index(run: Run, write_jsonl: WriteJsonl) -> str:
    assert run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical").code == 0
    return "faiss:index"


def test_every_record_is_listed_once(run: Run, index: str) -> None:
    done = run("list", index)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert sorted(line.partition("  text")[0].strip() for line in lines) == sorted(note["id"] for note in NOTES)
    assert all(len(line) < 130 and line.endswith("…") for line in lines)


def test_json_has_whole_records(run: Run, index: str) -> None:
    listed = run("list", index, "--json").lines
    assert sorted(listed, key=lambda record: record["metadata"]["id"]) == RECORDS


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (7, 7), (25, 25), (1000, 25)])
def test_limit(run: Run, index: str, limit: int, count: int) -> None:
    listed = run("list", index, "--limit", limit, "--json").lines
    assert len({record["id"] for record in listed}) == len(listed) == count
    assert all(record in RECORDS for record in listed)


def test_filter(run: Run, index: str) -> None:
    listed = run("list", index, "--filter", "even=true", "--json").lines
    assert sorted(record["metadata"]["id"] for record in listed) == list(range(0, 25, 2))
    assert run("list", index, "--filter", "even=maybe").out == ""
    assert run("list", index, "--filter", "nonsense").code == 2


def test_get_prints_whole_records_in_the_order_asked(run: Run, index: str) -> None:
    done = run("get", index, "note 9", "note 4", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [RECORDS[9], RECORDS[4]]
    shown = run("get", index, "note 9").out
    assert shown.splitlines()[0].split(maxsplit=1) == ["id:", "note 9"]
    assert NOTES[9]["text"].strip() in shown
    assert "metadata.even:  False" in shown


def test_get_names_what_is_missing(run: Run, index: str) -> None:
    done = run("get", index, "gone", "note 4", "gone", "--json")
    assert (done.code, done.lines, done.err) == (0, [RECORDS[4]], "jinavec: not found: gone\n")
    none = run("get", index, "gone", "lost")
    assert (none.code, none.out, none.err) == (1, "", "jinavec: not found: gone\njinavec: not found: lost\n")


@pytest.mark.parametrize("command", [("list",), ("get", "a"), ("export", "out.jsonl")], ids=lambda words: words[0])
def test_an_index_that_is_not_there(run: Run, command: tuple[str, ...]) -> None:
    done = run(command[0], "faiss:gone", *command[1:])
    assert (done.code, done.out) == (1, "")
    assert "there is no index at" in done.err
    assert not list(Path().iterdir())
