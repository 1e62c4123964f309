"""one_line: any text as a line that is safe to print."""

from __future__ import annotations


def one_line(text: str, width: int | None = None) -> str:
    """Return a text without line ends and control characters, and no longer than the width."""
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line if width is None or len(line) <= width else line[: width - 1] + "…"
