"""The command line and Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.support.elasticsearch_server import elasticsearch_url, forget_index
from tests.support.scripted_elasticsearch import Answer, Asked, refusal, scripted

from jinavec_adapters.cli import main

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
    assert main(["index", str(notes), "--to", target, "--no-resume"]) == 0
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
def test_records_that_the_server_refuses(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tmp_path / "notes.jsonl"
    lines = [f'{{"id": "{n}", "text": "text number {n}", "n": {"9" * 3000 if n == 3 else n}}}' for n in range(6)]
    notes.write_text("\n".join(lines))
    command = ["index", str(notes), "--to", target, "--model", "lexical", "--dimension", "64", "--batch-size", "2"]
    assert main(command) == 1
    assert f"jinavec: error: {notes}:4: " in capsys.readouterr().err
    assert main([*command, "--skip-bad", "--no-resume"]) == 0
    said = capsys.readouterr()
    assert "indexed 5 records" in said.out and "1 bad records skipped" in said.out
    assert f"skipped {notes}:4: " in said.err


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
    assert [line for line in out.splitlines() if line.startswith(("GET", "PUT", "POST"))] == [
        "GET /_inference/text_embedding/notes-passage",
        "PUT /_inference/text_embedding/notes-passage",
        "GET /_inference/text_embedding/notes-query",
        "PUT /_inference/text_embedding/notes-query",
        "GET /i/_mapping",
        "PUT /i",
        "GET /_ingest/pipeline/p",
        "PUT /_ingest/pipeline/p",
        "POST /_inference/text_embedding/notes-passage",
        "POST /_inference/text_embedding/notes-query",
    ]
    assert "hush-hush" not in out


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ("openai", "http://h/{role}/v1/embeddings"),
        ("hugging_face", "http://h/{role}/embed"),
        ("cohere", "http://h/v2/embed"),
        ("nvidia", "http://h/v1/embeddings"),
        ("jinaai", ""),
    ],
)
def test_a_dry_run_of_every_service(service: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SETUP, "--service", service, "--url", url, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f'"service": "{service}"' in out and "{role}" not in out


def test_a_set_up_that_cannot_work_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SETUP, "--service", "custom"]) == 2
    assert "needs the url" in capsys.readouterr().err


def test_a_server_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SETUP) == 1
    assert "cannot be reached" in capsys.readouterr().err


# what goes wrong on the way


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("JINAVEC_API_KEY", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "hush-hush")
    lines = [{"id": str(n), "text": f"text number {n}"} for n in range(40)]
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (refusal(401, "security_exception", "unable to authenticate"), "ELASTICSEARCH_API_KEY"),
        (refusal(403, "security_exception", "action [indices:admin/create] is unauthorized"), "privilege"),
        (refusal(403, "security_exception", "current license is non-compliant for [x]"), "license has expired"),
        (refusal(400, "index_closed_exception", "closed"), "open it again"),
    ],
)
def test_a_refusal_is_one_line_without_the_key(
    notes: str, answer: Answer, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(answers={("GET", "/notes/_mapping"): answer}) as script:
        target = f"elasticsearch:{script.url}/notes"
        for command in (["index", notes, "--to", target], ["search", target, "x"], ["info", target]):
            assert main(command) == 1
            said = capsys.readouterr()
            assert match in said.err
            assert said.err.startswith("jinavec: error: ") and said.err.count("\n") == 1
            assert "hush-hush" not in said.out + said.err
        assert {asked.headers["authorization"] for asked in script.asked} == {"ApiKey hush-hush"}


def test_an_index_run_that_breaks_off_says_what_is_stored(notes: str, capsys: pytest.CaptureFixture[str]) -> None:
    stored: dict[str, Any] = {}
    index: dict[str, Any] = {}

    def mapping(asked: Asked) -> Answer:
        return (200, {"notes": index}) if index else refusal(404, "index_not_found_exception", "no such index [notes]")

    def create(asked: Asked) -> Answer:
        index.update(json.loads(asked.body))
        return 200, {"acknowledged": True}

    def count(asked: Asked) -> Answer:
        return 200, {"count": len(stored)}

    def bulk(asked: Asked) -> Answer:
        if len(stored) >= 20:
            return refusal(403, "cluster_block_exception", "index [notes] blocked by: [FORBIDDEN/8/index write (api)]")
        ids = [line["index"]["_id"] for line in asked.lines[::2]]
        stored.update(dict.fromkeys(ids))
        return 200, {"errors": False, "items": [{"index": {"_id": id, "status": 201}} for id in ids]}

    answers: dict[Any, Any] = {
        ("GET", "/notes/_mapping"): mapping,
        ("PUT", "/notes/_mapping"): (200, {}),
        ("PUT", "/notes"): create,
        ("PUT", "/notes/_bulk"): bulk,
        ("POST", "/notes/_refresh"): (200, {}),
        ("POST", "/notes/_count"): count,
    }
    with scripted(answers=answers) as script:
        command = ["index", notes, "--to", f"elasticsearch:{script.url}/notes", "--model", "lexical"]
        assert main([*command, "--batch-size", "10"]) == 1
    said = capsys.readouterr().err
    assert "read-only; set index.blocks.write" in said
    assert "20 records are stored; run the same command again to continue" in said
    assert stored.keys() == {str(n) for n in range(20)}


def test_the_key_of_the_service_is_not_sent_to_elasticsearch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELASTICSEARCH_API_KEY", raising=False)
    monkeypatch.setenv("JINAVEC_API_KEY", "hush-hush")
    flags = ["--name", "n", "--model", "jina-embeddings-v5-text-small"]
    denied = refusal(401, "security_exception", "missing authentication credentials")
    with scripted(answers={("GET", "/_inference/text_embedding/n"): denied}) as script:
        assert main(["elasticsearch", "setup", script.url, *flags]) == 1
        assert {asked.headers.get("authorization") for asked in script.asked} == {None}
    assert "hush-hush" not in capsys.readouterr().err
