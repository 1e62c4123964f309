"""Generations: compaction writes every row file anew beside the old one; the number in its name tells them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FILES = ("codes.faiss", "vectors.int8", "centroids.float32", "offsets.int64", "order.int64", "places.int64")
"""Names of the first generation; later ones are ``codes.1.faiss`` and so on."""
_PATTERN = re.compile(
    "|".join(rf"{re.escape(stem)}(?:\.([1-9]\d*))?\.{suffix}" for stem, suffix in (n.split(".") for n in FILES))
)


def named(name: str, generation: int) -> str:
    """Return the name of a file in a generation."""
    stem, suffix = name.split(".")
    return f"{stem}.{generation}.{suffix}" if generation else name


def files_of(folder: Path, generation: int) -> list[Path]:
    """Return the row files of a generation that are there."""
    return [path for name in FILES if (path := folder / named(name, generation)).is_file()]


def remove_others(folder: Path, generation: int) -> None:
    """Remove the row files of all other generations: whoever has them open keeps them."""
    for path in list(_others(folder, generation)):
        path.unlink(missing_ok=True)


def _others(folder: Path, generation: int) -> Iterator[Path]:
    for path in folder.iterdir():
        found = _PATTERN.fullmatch(path.name)
        if found and int(next((number for number in found.groups() if number), "0")) != generation:
            yield path
