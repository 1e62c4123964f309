"""--quiet and --verbose: what a run tells beside its result, and never a secret."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.scripted_server import ScriptedServer

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_leaves_results_and_errors(run: Run, write_jsonl: WriteJsonl, place: str) -> None:
    source = write_jsonl("a.jsonl", [{"id": "a", "text": "some words"}, {"id": "b", "text": ""}])

    def told(name: str, *rest: object, flag: str) -> Any:
        words = [flag, name, *rest] if place == "before" else [name, *rest, flag]
        return run(*[word for word in words if word])

    for flag in ("--quiet", "-q"):
        loud = told("index", source, "--to", f"faiss:loud{flag}", flag="")
        quiet = told("index", source, "--to", f"faiss:quiet{flag}", flag=flag)
        assert "nothing to embed" in loud.err and "plan" in loud.err and "no --model given" in loud.err
        assert (quiet.code, quiet.err) == (0, "")
        assert quiet.out.replace("faiss:quiet", "faiss:loud") == loud.out
    failed = told("info", "faiss:gone", flag="-q")
    assert failed.code == 1
    assert failed.err.startswith("jinavec: error: ")


def test_verbose_shows_what_is_done_and_how_long_it_takes(run: Run, write_jsonl: WriteJsonl) -> None:
    source = write_jsonl("a.jsonl", [{"id": n, "text": f"words {n}"} for n in range(5)])
    done = run("index", source, "--to", "faiss:i", "--model", "lexical", "--batch-size", 2, "-v")
    assert done.err.count("storing a batch of 2 records took ") == 2
    assert done.err.count("storing a batch of 1 records took ") == 1
    assert "opening faiss:i took " in done.err
    found = run("--verbose", "search", "faiss:i", "words 3", "--json")
    assert len(found.lines) == 5
    assert "lexical: embedding 1 texts as query took " in found.err
    assert "words 3" not in found.err
    assert run("search", "faiss:i", "words 3").err == ""  # a run leaves nothing behind
    assert not logging.getLogger("jinavec").handlers
    both = run("info", "faiss:i", "-v", "-q")
    assert both.code == 2 and "--quiet and --verbose are mutually exclusive" in both.err
    assert run("info", "faiss:i").err == ""


def test_verbose_shows_requests_without_secrets(
    run: Run, write_jsonl: WriteJsonl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINAVEC_API_KEY", "s3cret")
    source = write_jsonl("a.jsonl", [{"id": "a", "text": "very private"}])
    with ScriptedServer("openai") as server:
        url = server.url.replace("http://", "http://me:s3cret@") + "?key=s3cret"
        done = run(
            *("encode", source, "--role", "document", "--model", "jina-embeddings-v5-text-nano", "-v"),
            *("--backend", "openai", "--url", url, "--backend-option", "verify=false"),
        )
    assert done.code == 0, done.err
    assert f"POST {server.url}" in done.err
    assert "s3cret" not in done.err and "very private" not in done.err
