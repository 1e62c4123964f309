"""jinavec models: the catalogue with its licences."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
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


PROFILE = 'name = "mine"\nwidth = 768\nbackend = "lexical"\n'


def test_golden_values_are_recorded_and_compared(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(PROFILE, "utf-8")
    recorded = run("models", "golden", "--profile", mine, "--record")
    assert (recorded.code, recorded.err) == (0, "")
    unknown = run("models", "golden", "--profile", mine)
    assert unknown.code == 0 and unknown.out.startswith("proved: prefix; not proved: model, no values")
    mine.write_text(PROFILE + recorded.out, "utf-8")
    proved = run("models", "golden", "--profile", mine, "--json").lines[0]
    assert (proved["proved"], proved["unproved"]) == (["model", "task", "prefix", "pooling"], {})
    assert run("models", "golden", "--profile", mine, "--record", "--json").lines[0].keys() == {"similarities"}
    wrong = tmp_path / "wrong.toml"
    wrong.write_text((PROFILE + recorded.out).replace("cosines = [", "cosines = [0.9, ").replace("768", "768"), "utf-8")
    assert "documents and a cosine for each" in run("models", "golden", "--profile", wrong).err
    other = tomllib.loads(recorded.out)["golden"]["similarities"]["retrieval"]["cosines"]
    wrong.write_text((PROFILE + recorded.out).replace(str(other[1]), "-0.5"), "utf-8")
    refused = run("models", "golden", "--profile", wrong)
    assert refused.code == 1 and "not the weights of mine" in refused.err and f"{other[1]:.4f}" in refused.err
    assert run("models", "golden").code == 2
    narrow = run("models", "golden", "--model", "lexical", "--dimension", 256, "--record")
    assert (narrow.code, "full width" in narrow.err) == (2, True)
