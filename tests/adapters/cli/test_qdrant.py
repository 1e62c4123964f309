"""The commands work on Qdrant collections as they do on FAISS folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [
    {"id": "cat", "text": "The cat sleeps on the warm radiator.", "topic": "cats", "born": "2024-05-01"},
    {"id": "dog", "text": "A dog barks at the postman every morning.", "topic": "dogs", "born": "2023-01-31"},
]
TARGET = "qdrant:folder/notes"


def test_index_search_info_delete(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    done = run("index", notes, "--to", TARGET, "--option", "preset=binary", "--option", 'range_fields=["born"]')
    assert (done.code, done.out) == (0, f"indexed 2 records into {TARGET} (lexical, retrieval, 768 dimensions)\n")
    again = run("index", notes, "--to", TARGET)
    assert "2 replaced" in again.out

    found = run("search", TARGET, "where does the cat sleep?", "--json")
    assert [hit["id"] for hit in found.lines] == ["cat", "dog"]
    assert found.lines[0]["metadata"] == {"topic": "cats", "born": "2024-05-01"}
    older = run("search", TARGET, "cat", "--filter", 'born<"2024"', "--json")
    assert [hit["id"] for hit in older.lines] == ["dog"]

    (info,) = run("info", TARGET, "--json").lines
    assert (info["engine"], info["records"], info["preset"]) == ("qdrant", 2, "binary")
    assert run("delete", TARGET, "dog").code == 0
    assert run("info", TARGET, "--json").lines[0]["records"] == 1


@pytest.mark.parametrize("option", ["preset=fast", "presets=binary", "recall=2"])
def test_a_bad_option_is_misuse(run: Run, write_jsonl: WriteJsonl, option: str) -> None:
    done = run("index", write_jsonl("notes.jsonl", NOTES), "--to", TARGET, "--option", option)
    assert done.code == 2
    assert not Path("folder").exists()


def test_nothing_there(run: Run) -> None:
    done = run("search", TARGET, "cat")
    assert (done.code, done.out) == (1, "")
    assert "there is no collection" in done.err
