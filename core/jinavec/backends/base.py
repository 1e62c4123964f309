"""Backend: one required method, from texts to full-width vectors; BackendWrapper: a backend around another one."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, Self, get_args

from jinavec.backends.verification import ASPECTS, Comparison, Verification
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong, warn
from jinavec.golden import Similarities
from jinavec.models import ModelProfile
from jinavec.process import in_thread
from jinavec.settings import Overflow
from jinavec.tasks import Role, Task, prompt
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
    refused: dict[int, str] | None = None
    """Why, by its position, a text was not embedded; its vector is then whatever the backend left there. None: the
    first such text ends the call."""

    def __post_init__(self) -> None:
        if self.overflow not in get_args(Overflow):
            raise InvalidInput(f"overflow is 'truncate' or 'error', not {self.overflow!r}")

    def finished(self, texts: int) -> None:
        """Count texts whose vectors are there."""
        if self.progress is not None:
            self.progress(texts)

    def too_long(self, lengths: Mapping[int, int], limit: int) -> None:
        """Note texts over the limit, by position with their full token counts, before they are truncated.

        Raises:
            TextTooLong: the call refuses them.
        """
        if lengths and self.overflow == "error":
            if self.refused is None:
                raise TextTooLong(
                    f"{len(lengths)} of the texts exceed the model's {limit} tokens (longest: {max(lengths.values())});"
                    " split them, or truncate with overflow='truncate'",
                    positions=sorted(lengths),
                )
            for position, length in lengths.items():
                self.refused[position] = f"its {length} tokens exceed the model's {limit}"
            return
        self.truncated += lengths.values()
        self.limit = limit

    def refuse(self, error: TextTooLong | ServerError) -> None:
        """Note the texts that an error names by position.

        Raises:
            TextTooLong, ServerError: the error, where such texts end the call.
        """
        if self.refused is None:
            raise error
        self.refused |= dict.fromkeys(error.positions, str(error.args[0]))

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
    options_type: ClassVar[Any] = None
    """The dataclass of its options; None: there are none."""
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

        return await in_thread(embed)

    def background(self) -> Backend:
        """Return a backend of the same weights for long work, which gives way; it is closed with this one.

        By default it is this one itself: a server of models sees to that on its own.
        """
        return self

    def verify(self, profile: ModelProfile, task: Task) -> Verification:
        """Compare the vectors of a few texts with the golden values of the model.

        Returns:
            What was proved. Values of retrieval prove the model of a backend that serves every task.

        Raises:
            ModelError: they are not the model's; the message has the numbers.
        """
        known = profile.golden.similarities if profile.golden is not None else dict[Task, Similarities]()
        asked = task if task in known or self.task is not None else Task.RETRIEVAL
        why = f"no values of {task} are known"
        if asked not in known:
            return Verification(proved=("prefix",), unproved=dict.fromkeys(("model", "task", "pooling"), why))
        golden = known[asked]
        prefixes = ["" if self.adds_prompt else prompt(asked, role, profile) for role in Role]
        query = self.embed([prefixes[0] + golden.query], task=asked, role=Role.QUERY)
        documents = self.embed([prefixes[1] + text for text in golden.documents], task=asked, role=Role.DOCUMENT)
        compared = Comparison.of(golden, query[0], documents)
        if compared.is_refused:
            raise ModelError(f"not the weights of {profile.name}, another task or pooling: {compared}")
        return Verification(
            proved=tuple(aspect for aspect in ASPECTS if asked == task or aspect != "task"),
            unproved={} if asked == task else {"task": why},
            deviation=compared.deviation,
            warnings=compared.warnings,
        )

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

    def background(self) -> Self:
        """Return a copy around what the backend inside has for long work."""
        other = copy.copy(self)
        other.inner = self.inner.background()
        return other

    def verify(self, profile: ModelProfile, task: Task) -> Verification:
        """Let the backend inside prove itself."""
        return self.inner.verify(profile, task)

    def close(self) -> None:
        """Release what the backend inside holds."""
        self.inner.close()
