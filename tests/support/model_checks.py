"""What the tests of local models check, and how they damage a repository."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from .tiny_tokenizers import TEXTS, prefix, write_json

Float32 = NDArray[np.float32]
CLOSE = 1e-5
"""The most that a cosine may differ from 1 where two computations must agree."""


def agree(got: Float32, wanted: Float32) -> None:
    """Unit vectors, the same directions, row by row."""
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert (1 - cosines(got, wanted)).max(initial=0) <= CLOSE


def cosines(a: Float32, b: Float32) -> NDArray[np.float64]:
    """Return the cosine of each row with its counterpart."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def refused(error: pytest.ExceptionInfo[BaseException], *words: object) -> None:
    """One readable line that holds the words."""
    message = str(error.value)
    assert "\n" not in message and len(message) > 10, message
    assert all(str(word) in message for word in words), message


class Seen:
    """A progress callback that keeps what it was told, and checks that it only ever grows."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        assert not self.calls or (self.calls[-1][0] <= done and self.calls[-1][1] == total)
        self.calls.append((done, total))


def prefixed(task: str, role: str, texts: list[str] = TEXTS) -> list[str]:
    """Write the prefixes by hand."""
    return [prefix(task, role) + text for text in texts]


def spoil(file: Path, damage: str) -> None:
    """Damage a file: missing, empty or garbage."""
    file.unlink()
    if damage != "missing":
        file.write_bytes(b"" if damage == "empty" else b"\x00garbage{" * 40)


def save_odd_tokenizer_settings(folder: Path) -> None:
    """Write a truncation and a padding into tokenizer.json, as sentence-transformers leaves them there."""
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    saved["padding"] = {
        "strategy": {"Fixed": 32},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 5,
        "pad_type_id": 0,
        "pad_token": "&",
    }
    write_json(folder / "tokenizer.json", saved)


def fill_hub_cache(cache: Path, name: str, revision: str, source: Path) -> None:
    """Lay files out as huggingface_hub does: blobs, and a snapshot of links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    for number, file in enumerate(sorted(file for file in source.rglob("*") if file.is_file())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copy(file, blob)
        link = repository / "snapshots" / revision / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
