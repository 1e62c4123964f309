"""jinavec index: what is stored is not embedded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jinavec import Encoder, open_engine
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.errors import ServerError

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number} about topic {number % 7}"} for number in range(60)]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are really encoded, by a real backend."""
    texts: list[str] = []
    embed = LexicalBackend.embed

    def listening(self: Any, given: Sequence[str], **arguments: Any) -> Any:
        texts.extend(given)
        return embed(self, given, **arguments)

    monkeypatch.setattr(LexicalBackend, "embed", listening)
    return texts


def test_without_resume_everything_is_embedded_again(run: Run, write_jsonl: WriteJsonl, encoded: list[str]) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    run("index", notes, "--to", "faiss:index", "--model", "lexical")
    encoded.clear()
    again = run("index", notes, "--to", "faiss:index", "--no-resume")
    assert (again.code, len(encoded)) == (0, 60)
    assert again.out == "indexed 60 records into faiss:index (lexical, retrieval, 768 dimensions; 60 replaced)\n"


def test_resume_is_the_default(run: Run, write_jsonl: WriteJsonl, encoded: list[str]) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    run("index", notes, "--to", "faiss:index", "--model", "lexical")
    encoded.clear()
    again = run("index", notes, "--to", "faiss:index")
    assert (again.code, encoded) == (0, [])
    assert again.out == "indexed 0 records into faiss:index (lexical, retrieval, 768 dimensions; 60 unchanged)\n"


def test_an_interrupted_run_says_how_to_continue(
    run: Run, write_jsonl: WriteJsonl, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    embed = LexicalBackend.embed

    def interrupted(self: Any, given: Sequence[str], **arguments: Any) -> Any:
        if "note 20 about topic 6" in given:
            raise KeyboardInterrupt
        return embed(self, given, **arguments)

    command = ["index", notes, "--to", "faiss:index", "--model", "lexical", "--batch-size", 10]
    with monkeypatch.context() as patched:
        patched.setattr(LexicalBackend, "embed", interrupted)
        stopped = run(*command)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == (
        "jinavec: error: interrupted (20 records are stored; run the same command again to continue)\n"
    )
    encoded.clear()
    assert "indexed 40 records" in run(*command).out
    assert len(encoded) == 40


def test_a_model_that_fails_leaves_no_index(run: Run, write_jsonl: WriteJsonl, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Any, given: Sequence[str], **arguments: Any) -> Any:
        raise ServerError("401: invalid API key")

    monkeypatch.setattr(LexicalBackend, "embed", failing)
    done = run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    assert (done.code, done.err) == (1, "jinavec: error: 401: invalid API key (nothing was stored)\n")
    assert not Path("index").exists()


def test_resuming_encodes_nothing_again(run: Run, write_jsonl: WriteJsonl, encoded: list[str]) -> None:
    run("index", write_jsonl("half.jsonl", NOTES[:30]), "--to", "faiss:index", "--model", "lexical")
    encoded.clear()
    changed = [{"id": "3", "text": "another text"} if note["id"] == "3" else note for note in NOTES]
    done = run("index", write_jsonl("all.jsonl", changed), "--to", "faiss:index", "--resume")
    assert done.code == 0
    assert "indexed 31 records" in done.out
    assert "29 unchanged" in done.out
    assert len(encoded) == 31
    assert run("index", "all.jsonl", "--to", "faiss:index", "--resume").code == 0
    assert len(encoded) == 31
    with open_engine("faiss:index", encoder=Encoder.load("lexical")) as engine:
        assert engine.count() == 60
        assert engine.search("another text", 1)[0].record.id == "3"
