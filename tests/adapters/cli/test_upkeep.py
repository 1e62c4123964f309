"""jinavec index --resume, compact, merge, calibrate, info --verify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jinavec import Encoder, open_engine
from jinavec.backends.local.lexical import LexicalBackend

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


def test_resuming_encodes_nothing_again(run: Run, write_jsonl: WriteJsonl, encoded: list[str]) -> None:
    run("index", write_jsonl("half.jsonl", NOTES[:30]), "--to", "faiss:index", "--model", "lexical")
    encoded.clear()
    changed = [{"id": "3", "text": "another text"} if note["id"] == "3" else note for note in NOTES]
    done = run("index", write_jsonl("all.jsonl", changed), "--to", "faiss:index", "--resume")
    assert done.code == 0
    assert "indexed 31 records" in done.out
    assert "29 were there already" in done.out
    assert len(encoded) == 31
    assert run("index", "all.jsonl", "--to", "faiss:index", "--resume").code == 0
    assert len(encoded) == 31
    with open_engine("faiss:index", encoder=Encoder.load("lexical")) as engine:
        assert engine.count() == 60
        assert engine.search("another text", 1)[0].record.id == "3"


def test_compact(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    run("delete", "faiss:index", *(str(number) for number in range(50)))
    done = run("compact", "faiss:index")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("compacted faiss:index: 10 records, flat, by size, ")
    assert run("info", "faiss:index", "--json").lines[0]["rows"] == 10
    done = run("compact", "faiss:index", "--option", "lists=3")
    assert "3 lists, as asked" in done.out
    assert run("search", "faiss:index", "note 55", "--json").lines[0]["id"] == "55"
    assert run("compact", "faiss:index", "--option", "lists=0").code == 2
    assert run("compact", "faiss:index", "--option", "no_such=1").code == 2
    assert run("compact", "faiss:nowhere").code == 1


def test_merge(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("a.jsonl", NOTES[:40]), "--to", "faiss:a", "--model", "lexical")
    run("index", write_jsonl("b.jsonl", NOTES[20:]), "--to", "faiss:b", "--model", "lexical")
    done = run("merge", "faiss:all", "faiss:a", "faiss:b")
    assert done.code == 0
    assert done.out == "merged 80 records into faiss:all, which holds 60\n"
    assert run("search", "faiss:all", "note 55", "--json").lines[0]["id"] == "55"
    run("index", "a.jsonl", "--to", "faiss:other", "--model", "lexical", "--dimension", 64)
    refused = run("merge", "faiss:all", "faiss:other")
    assert refused.code == 1
    assert "dimension" in refused.err


def test_calibrate(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    done = run("calibrate", "faiss:index", "--recall", 0.9, "--sample", 20)
    assert done.code == 0
    assert done.out.startswith("calibrated faiss:index: recall@10 ")
    assert run("info", "faiss:index", "--json").lines[0]["search"]["calibrated"]
    assert run("calibrate", "faiss:index", "--recall", 2).code == 1


def test_verify(run: Run, write_jsonl: WriteJsonl) -> None:
    run("index", write_jsonl("notes.jsonl", NOTES), "--to", "faiss:index", "--model", "lexical")
    assert run("info", "faiss:index", "--verify").code == 0
    path = Path("index/vectors.int8")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    assert run("info", "faiss:index").code == 0
    damaged = run("info", "faiss:index", "--verify")
    assert damaged.code == 1
    assert "vectors.int8: rows 0 to 59: their checksum does not match" in damaged.err
