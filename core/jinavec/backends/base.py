"""Backend: one required method, from texts to full-width vectors; BackendWrapper: a backend around another one."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, get_args

from jinavec.errors import InvalidInput, TextTooLong, warn
from jinavec.settings import Overflow
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32


@dataclass
class Report:
    """What a backend tells about one call while it works: progress, and the texts it could not take as they are."""

    overflow: Overflow = "truncate"
    progress: Callable[[int], None] | None = None
    """Called with the number of texts finished since the last call."""
    truncated: list[int] = field(default_factory=list[int])
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
        self.truncated += lengths
        self.limit = limit

    def warn(self) -> None:
        """Say once what happened to the texts of the call."""
        if self.truncated:
            longest = max(self.truncated)
            warn(
                f"{len(self.truncated)} of the texts exceed {self.limit} tokens and were truncated (longest: {longest})"
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
    """Components of a vector, where a server truncates it to a Matryoshka dimension; else the model's full width."""
    task: Task | None = None
    """The only task the weights serve; None where they serve every one."""
    precision: str = "float32"
    source: str = ""
    """Where the weights came from, in this process: a hub name, or a folder."""
    revision: str = ""
    host: str = ""

    @property
    def batch_tokens(self) -> int | None:
        """Tokens of texts that keep the backend busy in one call; None where it cannot tell."""
        return None

    @abstractmethod
    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts that already carry their prompt (unless ``adds_prompt``).

        Returns:
            float32 (n, width), in the order of the texts; any length.
        """

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed without blocking the event loop; in a thread, where the backend has no better way."""

        def embed() -> Float32:
            try:
                return self.embed(texts, task=task, role=role, report=report)
            except (
                StopIteration,
                GeneratorExit,
            ) as error:  # no future carries the one, no coroutine lives on with the other
                raise RuntimeError(f"the backend raised {type(error).__name__}") from error

        return await asyncio.to_thread(embed)

    def close(self) -> None:
        """Release resources. Idempotent."""
        return


def _delegated(name: str) -> Any:
    return property(attrgetter(f"inner.{name}"))


class BackendWrapper(Backend):
    """A backend that passes everything on to the one inside; a subclass overrides what it changes."""

    name = _delegated("name")
    adds_prompt = _delegated("adds_prompt")
    overflow = _delegated("overflow")
    narrowed = _delegated("narrowed")
    task = _delegated("task")
    precision = _delegated("precision")
    source = _delegated("source")
    revision = _delegated("revision")
    host = _delegated("host")

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def batch_tokens(self) -> int | None:
        """Tokens of texts that keep the backend inside busy in one call."""
        return self.inner.batch_tokens

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts by the backend inside."""
        return self.inner.embed(texts, task=task, role=role, report=report)

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts by the backend inside, in its own way not to block the event loop."""
        return await self.inner.aembed(texts, task=task, role=role, report=report)

    def close(self) -> None:
        """Release what the backend inside holds."""
        self.inner.close()
