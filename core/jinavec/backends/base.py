"""Backend: one required method, from texts to full-width vectors."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from jinavec.errors import InvalidInput, TextTooLong, warn
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32

Overflow = Literal["truncate", "error"]


@dataclass
class Report:
    """What a backend tells about one call while it works: progress, and the texts it could not take as they are."""

    overflow: Overflow = "truncate"
    progress: Callable[[int], None] | None = None
    """Called with the number of texts finished since the last call."""
    cut: list[int] = field(default_factory=list[int])
    """Token counts of the texts that were truncated."""
    limit: int = 0
    blank: int = 0
    """Texts without any feature or token."""
    counts: list[int] = field(default_factory=list[int])
    """Tokens read of each text, in order; empty where the backend counts none."""

    def __post_init__(self) -> None:
        if self.overflow not in get_args(Overflow):
            raise InvalidInput(f"overflow is 'truncate' or 'error', not {self.overflow!r}")

    def finished(self, texts: int) -> None:
        """Count texts whose vectors are there."""
        if self.progress is not None:
            self.progress(texts)

    def too_long(self, lengths: Sequence[int], limit: int) -> None:
        """Note texts over the limit, by their full token counts, before they are truncated.

        Raises:
            TextTooLong: the call refuses them.
        """
        if lengths and self.overflow == "error":
            raise TextTooLong(
                f"{len(lengths)} of the texts exceed the model's {limit} tokens (longest: {max(lengths)});"
                " split them, or truncate with overflow='truncate'"
            )
        self.cut += lengths
        self.limit = limit

    def warn(self) -> None:
        """Say once what happened to the texts of the call."""
        if self.cut:
            warn(
                f"{len(self.cut)} of the texts exceed {self.limit} tokens and were truncated (longest: {max(self.cut)})"
            )
        if self.blank:
            warn(f"{self.blank} of the texts hold nothing to embed and got one fixed vector")


class Backend(ABC):
    """A source of full-width vectors for one model; thread-safe."""

    name: ClassVar[str]
    adds_prompt: bool = False
    """Whether the prompt is added behind this backend; if so, the encoder does not."""
    overflow: Overflow = "truncate"
    """What happens to texts over the limit, unless the user says."""
    narrowed: int | None = None
    """Components of a vector, where the server was asked to narrow them; else the model's full width."""
    precision: str = "float32"
    revision: str = ""
    host: str = ""

    @abstractmethod
    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts that already carry their prompt (unless ``adds_prompt``).

        Returns:
            float32 (n, width), in the order of the texts; any length.
        """

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed without blocking the event loop; in a thread, where the backend has no better way."""
        return await asyncio.to_thread(self.embed, texts, task=task, role=role, report=report)

    def close(self) -> None:
        """Let go of what the backend holds."""
        return
