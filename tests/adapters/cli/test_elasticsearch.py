"""The command line and Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from jinavec_adapters.cli import main

from ...elasticsearch_server import elasticsearch_url, forget_index

pytest.importorskip("elasticsearch")
SETUP = ["elasticsearch", "setup", "http://127.0.0.1:1", "--name", "notes", "--model", "jina-embeddings-v5-text-small"]


@pytest.fixture
def target() -> Iterator[str]:
    place = f"elasticsearch:{elasticsearch_url()}/cli-{uuid4().hex}"
    yield place
    forget_index(place)


@pytest.mark.elasticsearch
def test_index_search_info_and_delete(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tmp_path / "notes.jsonl"
    lines = [{"id": str(n), "text": f"text number {n}", "topic": ["cats", "dogs"][n % 2]} for n in range(10)]
    notes.write_text("\n".join(map(json.dumps, lines)))
    flags = ["--model", "lexical", "--dimension", "64", "--option", "storage=bit"]
    assert main(["index", str(notes), "--to", target, *flags]) == 0
    assert main(["index", str(notes), "--to", target]) == 0
    assert "10 replaced" in capsys.readouterr().out
    assert main(["search", target, "text number 4", "-k", "3", "--filter", "topic=cats", "--json"]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(hits) == 3
    assert (hits[0]["id"], hits[0]["text"], hits[0]["metadata"]) == ("4", "text number 4", {"topic": "cats"})
    assert main(["info", target, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["records"], info["storage"], info["contract"]["dimension"]) == (10, "bit", 64)
    assert main(["delete", target, "4"]) == 0
    assert "deleted 1" in capsys.readouterr().out


@pytest.mark.elasticsearch
def test_a_search_of_what_is_not_there_fails(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", target, "x"]) == 1
    assert "no such index" in capsys.readouterr().err


def test_an_unknown_storage_is_misuse(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}')
    to = ["--to", "elasticsearch:http://127.0.0.1:1/a", "--option", "storage=zip"]
    assert main(["index", str(tmp_path / "a.jsonl"), *to]) == 2
    assert "bbq_hnsw" in capsys.readouterr().err


def test_a_dry_run_prints_every_request_and_no_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINAVEC_API_KEY", "hush-hush")
    flags = ["--service", "custom", "--url", "http://h/v1/embeddings", "--index", "i", "--pipeline", "p", "--dry-run"]
    assert main([*SETUP, *flags]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith(("PUT", "POST"))] == [
        "PUT /_inference/text_embedding/notes-passage",
        "PUT /_inference/text_embedding/notes-query",
        "PUT /i",
        "PUT /_ingest/pipeline/p",
        "POST /_inference/text_embedding/notes-passage",
        "POST /_inference/text_embedding/notes-query",
    ]
    assert "hush-hush" not in out


def test_a_set_up_that_cannot_work_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SETUP, "--service", "custom"]) == 2
    assert "needs the url" in capsys.readouterr().err


def test_a_server_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SETUP) == 1
    assert "cannot be reached" in capsys.readouterr().err
