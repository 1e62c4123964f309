"""The commands work on Qdrant collections as they do on FAISS folders."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_client")

from tests.support.edge_server import QdrantServer, failed

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [
    {"id": "cat", "text": "The cat sleeps on the warm radiator.", "topic": "cats", "born": "2024-05-01"},
    {"id": "dog", "text": "A dog barks at the postman every morning.", "topic": "dogs", "born": "2023-01-31"},
]
TARGET = "qdrant:folder/notes"


def test_index_search_info_delete(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    options = ["--option", "preset=binary", "--option", 'payload_indexes={"born": "keyword"}']
    done = run("index", notes, "--to", TARGET, *options)
    assert (done.code, done.out) == (0, f"indexed 2 records into {TARGET} (lexical, retrieval, 768 dimensions)\n")
    again = run("index", notes, "--to", TARGET, "--no-resume")
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


def test_a_preset_that_contradicts_is_misuse(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    assert run("index", notes, "--to", TARGET).code == 0
    for command in (["index", notes, "--to", TARGET], ["search", TARGET, "cat"]):
        done = run(*command, "--option", "preset=binary")
        assert (done.code, done.out) == (1, "")
        assert "was made with preset=scalar, not binary" in done.err


# a server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantServer]:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with QdrantServer() as server:
        yield server


@pytest.mark.filterwarnings("ignore:.*may be out of reach of the preset")
def test_the_same_on_a_server(run: Run, write_jsonl: WriteJsonl, server: QdrantServer) -> None:
    notes, target = write_jsonl("notes.jsonl", NOTES), f"qdrant:{server.url}/notes"
    assert run("index", notes, "--to", target, "--option", "preset=binary").code == 0
    assert "2 unchanged" in run("index", notes, "--to", target, "--resume").out
    for recall, oversampling in (("0.8", 4.0), ("0.9", 12.0)):
        found = run("search", target, "where does the cat sleep?", "--option", f"recall={recall}", "--json")
        assert [hit["id"] for hit in found.lines] == ["cat", "dog"]
        asked = server.sent("query/batch")[-1]["searches"][0]["params"]
        assert asked["quantization"]["oversampling"] == oversampling
    assert run("delete", target, "dog").code == 0
    assert run("info", target, "--json").lines[0]["records"] == 1


def test_a_new_collection_is_never_asked_what_it_holds(run: Run, write_jsonl: WriteJsonl, server: QdrantServer) -> None:
    notes = write_jsonl("notes.jsonl", [{"id": f"id {n}", "text": f"text {n}"} for n in range(3000)])
    assert run("index", notes, "--to", f"qdrant:{server.url}/notes", "--dimension", "64").code == 0
    lines = [f"{method} {path}" for method, path, *_ in server.requests]
    upserts = [line for line in lines if line == "PUT /collections/notes/points"]
    assert len(upserts) == 12
    indexes = [line for line in lines if line == "PUT /collections/notes/index"]
    assert len(lines) - len(upserts) - len(indexes) <= 9  # 13 for 10,240 records


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_wrong_key_is_told_and_not_shown(
    run: Run, write_jsonl: WriteJsonl, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.key = "right"
    notes, target = write_jsonl("notes.jsonl", NOTES), f"qdrant:{server.url}/notes"
    monkeypatch.setenv("QDRANT_API_KEY", "sesame-open-123")
    for command in (["index", notes, "--to", target], ["search", target, "cat"], ["info", target]):
        done = run(*command)
        assert (done.code, done.out) == (1, "")
        assert "the API key is missing or wrong; set QDRANT_API_KEY" in done.err
        assert "sesame" not in done.err
        assert "Traceback" not in done.err
    assert not server.collections


def test_a_server_that_cannot_be_reached(run: Run, write_jsonl: WriteJsonl) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"qdrant:http://127.0.0.1:{free.getsockname()[1]}/notes"
    for command in (["index", write_jsonl("notes.jsonl", NOTES), "--to", target], ["search", target, "cat"]):
        done = run(*command)
        assert (done.code, done.out) == (1, "")
        assert "the server cannot be reached" in done.err
        assert "Traceback" not in done.err


def test_an_upload_that_fails_says_what_is_stored_and_goes_on(
    run: Run, write_jsonl: WriteJsonl, server: QdrantServer
) -> None:
    notes, target = write_jsonl("notes.jsonl", NOTES), f"qdrant:{server.url}/notes"
    index = ["index", notes, "--to", target, "--batch-size", "1", "--option", "deadline=0"]
    server.fail("PUT .*/points$", failed(429, "slow down", Retry_After="0"))
    done = run(*index)
    assert (done.code, done.out) == (1, "")
    assert "too many requests" in done.err
    assert "run the same command again to continue" in done.err
    assert run(*index, "--resume").code == 0
    assert run("info", target, "--json").lines[0]["records"] == 2
