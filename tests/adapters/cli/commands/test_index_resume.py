"""jinavec index: what is stored is not embedded again."""

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
    assert "29 unchanged" in done.out
    assert len(encoded) == 31
    assert run("index", "all.jsonl", "--to", "faiss:index", "--resume").code == 0
    assert len(encoded) == 31
    with open_engine("faiss:index", encoder=Encoder.load("lexical")) as engine:
        assert engine.count() == 60
        assert engine.search("another text", 1)[0].record.id == "3"
