"""jinavec models: the catalogue with its licences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jinavec.models import CATALOGUE

Run = Callable[..., Any]


def test_every_model_is_listed_with_its_licence(run: Run) -> None:
    done = run("models")
    assert (done.code, done.err) == (0, "")
    table, notes = done.out.split("\n\n")
    header, *rows = table.splitlines()
    assert header.split() == "name width dimensions token limit tasks license backend".split()
    assert "lexical: built in: hashed words and character n-grams; matches wording, not meaning" in notes.splitlines()
    assert [row.split()[0] for row in rows] == list(CATALOGUE)
    for row in rows:
        assert ("CC-BY-NC-4.0 (non-commercial)" in row) == row.startswith("jina-embeddings-v5")
    nano = next(row for row in rows if row.startswith("jina-embeddings-v5-text-nano "))
    assert nano.split()[1:9] == ["768", "32", "64", "128", "256", "512", "768", "8192"]


@pytest.mark.parametrize("amx", [False, True])
def test_bfloat16_is_recommended_where_it_is_fast(run: Run, monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.setattr("jinavec.process.has_amx", lambda: amx)
    out = run("models").out
    assert ("--backend torch --backend-option precision=bfloat16" in out) == amx
    assert "AMX" not in run("models", "--json").out


def test_json(run: Run) -> None:
    rows = {row["name"]: row for row in run("models", "--json").lines}
    assert rows.keys() == CATALOGUE.keys()
    assert rows["jina-embeddings-v5-text-small-clustering"] == {
        "name": "jina-embeddings-v5-text-small-clustering",
        "width": 1024,
        "dimensions": [32, 64, 128, 256, 512, 768, 1024],
        "limit": 32768,
        "tasks": ["clustering"],
        "license": "CC-BY-NC-4.0",
        "non_commercial": True,
        "backends": ["onnx", "torch"],
        "note": "jina-embeddings-v5-text-small for clustering alone",
    }
    assert rows["lexical"]["non_commercial"] is False
    assert rows["lexical"]["limit"] is None
