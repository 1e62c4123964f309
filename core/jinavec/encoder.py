"""Encoder: texts and a role in, vectors under one contract out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from types import MappingProxyType
from typing import Any, Self, Unpack

import numpy as np

from jinavec import plugins
from jinavec.backends.base import Backend, Report
from jinavec.backends.verification import Verification
from jinavec.contract import Contract
from jinavec.errors import (
    InvalidDimension,
    InvalidInput,
    InvalidType,
    InvalidVectors,
    MissingExtra,
    ServerError,
    TextTooLong,
)
from jinavec.extras import installed
from jinavec.golden import QUESTION, TEXTS, GoldenValues, Similarities, TokenCount
from jinavec.log import timed
from jinavec.models import ModelProfile, find_model
from jinavec.options import plain
from jinavec.settings import EncoderArguments, EncoderSettings, Overflow, check_arguments
from jinavec.tasks import Role, Task, prompt
from jinavec.vectors import Float32, narrow

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "cohere": "jinavec.backends.remote.protocols:CohereBackend",
        "elasticsearch": "jinavec.backends.remote.elasticsearch:ElasticsearchBackend",
        "jina": "jinavec.backends.remote.protocols:JinaBackend",
        "lexical": "jinavec.backends.local.lexical:LexicalBackend",
        "ollama": "jinavec.backends.remote.protocols:OllamaBackend",
        "onnx": "jinavec.backends.local.onnx:OnnxBackend",
        "openai": "jinavec.backends.remote.protocols:OpenAIBackend",
        "static": "jinavec.backends.local.static:StaticBackend",
        "tei": "jinavec.backends.remote.protocols:TeiBackend",
        "torch": "jinavec.backends.local.torch:TorchBackend",
    }
)
"""Our own backends by name, imported on first use; others come from the entry points ``jinavec.backends``. Each class
has ``load(settings, api_key)``."""

TextsDone = Callable[[int, int], None]
"""Called with the number of texts done and the number of texts in all."""
Counted = Callable[[Sequence[int]], None]
"""Called with the tokens of each text, in order."""
Refused = Callable[[Mapping[int, str]], None]
"""Called with the reason, by its position, of each text that was not embedded."""


class Encoder:
    """Turns texts into unit-length vectors of one contract; thread-safe."""

    def __init__(
        self,
        profile: str | ModelProfile,
        backend: Backend,
        *,
        task: Task | str | None = None,
        dimension: int | None = None,
        overflow: Overflow | None = None,
    ) -> None:
        """Encode through a backend of one's own; ``Encoder.load`` finds one by name.

        Raises:
            UnknownModel, UnknownTask, InvalidDimension: not offered.
            InvalidInput: another overflow than truncate or error.
        """
        self.profile = find_model(profile)
        self.backend = backend
        self.task = self.profile.check_task(task)
        self.dimension = self.profile.check_dimension(dimension)
        if backend.narrowed is not None and self.dimension > backend.narrowed:
            raise InvalidDimension(
                f"{backend.host or backend.name} was asked for vectors of {backend.narrowed} dimensions, which cannot"
                f" give {self.dimension}; load the encoder with narrow='local'"
            )
        self.overflow: Overflow = Report(backend.overflow if overflow is None else overflow).overflow
        self.settings: EncoderSettings | None = None
        """How the encoder was loaded, if by ``Encoder.load``."""

    @classmethod
    def load(cls, model: str | ModelProfile, **arguments: Unpack[EncoderArguments]) -> Self:
        """Load a model: ``Encoder.load("jina-embeddings-v5-text-nano", task="retrieval", dimension=256)``.

        Args:
            model: a catalogue name, with or without ``jinaai/``, or a ``ModelProfile``.
            arguments: any of those that ``EncoderArguments`` describes.

        Raises:
            InvalidType: an unknown argument; the message lists the known ones.
            UnknownModel, UnknownTask, InvalidDimension, InvalidInput: not offered.
            MissingExtra: the backend's library is not installed; carries the pip line.
            ModelError: the weights or tokenizer are missing or not what the profile says.
        """
        check_arguments(arguments)
        profile, overflow = find_model(model), arguments.get("overflow")
        settings = EncoderSettings(
            profile=profile,
            task=profile.check_task(arguments.get("task")),
            dimension=profile.check_dimension(arguments.get("dimension")),
            backend=_choose_backend(profile, arguments.get("backend")),
            source=str(arguments.get("source") or ""),
            revision=arguments.get("revision") or "",
            overflow=None if overflow is None else Report(overflow).overflow,
            url=arguments.get("url") or "",
            served_as=arguments.get("served_as") or "",
            options=plain(arguments.get("options")),
        )
        return cls.from_settings(settings, api_key=arguments.get("api_key"))

    @classmethod
    def from_settings(cls, settings: EncoderSettings, *, api_key: str | None = None) -> Self:
        """Load the encoder that settings describe; raises as ``load`` does."""
        settings = dataclasses.replace(settings, backend=_choose_backend(settings.profile, settings.backend))
        backend: Backend = plugins.find(plugins.BACKENDS, settings.backend, BACKENDS).load(settings, api_key)
        encoder = cls(
            settings.profile,
            backend,
            task=settings.task,
            dimension=settings.dimension,
            overflow=settings.overflow,
        )
        encoder.settings = settings
        return encoder

    @property
    def contract(self) -> Contract:
        """The contract of every vector this encoder makes."""
        return dataclasses.replace(
            Contract.of(self.profile, self.task, self.dimension),
            precision=self.backend.precision,
            source=self.backend.source,
            revision=self.backend.revision,
            backend=self.backend.name,
            host=self.backend.host,
        )

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role | str,
        progress: TextsDone | None = None,
        counted: Counted | None = None,
        refused: Refused | None = None,
    ) -> Float32:
        """Embed texts, each with the prefix of its task and role, narrowed to the dimension.

        Args:
            texts: any iterable of strings; identical ones are embedded once.
            role: query or document.
            progress: called with (texts done, texts in all) as work proceeds; from another thread where a server works.
            counted: called once, at the end, with the tokens read of each text, its prefix included; not called where
                the backend counts none.
            refused: called once, at the end, where single texts could not be embedded, with the reason of each by its
                position; their vectors are zeros. Without it the first such text ends the call.

        Returns:
            float32 (n, dimension), unit length, in the order of the texts.

        Raises:
            InvalidType: a bare string, or something in the texts that is no string.
            InvalidInput: a text that is not Unicode (half a surrogate pair).
            TextTooLong: a text over the limit, with overflow="error"; ``positions`` says which.
            InvalidVectors: the backend gave vectors that cannot be used.
            ModelError: the model failed, or a server serves another one.
            ServerError: a server failed, refused, or cannot be reached; ``positions`` says which texts it refused.

        Warns:
            JinavecWarning: texts were truncated, or held nothing to embed; once a call.
        """
        call = _Call(self, texts, role, progress=progress, counted=counted, refused=refused)
        if not call.texts:
            return np.empty((0, self.dimension), np.float32)
        with call.positions(), call.timed():
            vectors = self.backend.embed(call.texts, task=self.task, role=call.role, report=call.report)
        return call.result(vectors)

    async def aencode(
        self,
        texts: Iterable[str],
        *,
        role: Role | str,
        progress: TextsDone | None = None,
        counted: Counted | None = None,
        refused: Refused | None = None,
    ) -> Float32:
        """``encode`` without blocking the event loop; the progress callback may run in another thread."""
        call = _Call(self, texts, role, progress=progress, counted=counted, refused=refused)
        if not call.texts:
            return np.empty((0, self.dimension), np.float32)
        with call.positions(), call.timed():
            vectors = await self.backend.aembed(call.texts, task=self.task, role=call.role, report=call.report)
        return call.result(vectors)

    def encode_queries(self, texts: Iterable[str], *, progress: TextsDone | None = None) -> Float32:
        """``encode`` with role query."""
        return self.encode(texts, role=Role.QUERY, progress=progress)

    def encode_documents(self, texts: Iterable[str], *, progress: TextsDone | None = None) -> Float32:
        """``encode`` with role document."""
        return self.encode(texts, role=Role.DOCUMENT, progress=progress)

    async def aencode_queries(self, texts: Iterable[str], *, progress: TextsDone | None = None) -> Float32:
        """``aencode`` with role query."""
        return await self.aencode(texts, role=Role.QUERY, progress=progress)

    async def aencode_documents(self, texts: Iterable[str], *, progress: TextsDone | None = None) -> Float32:
        """``aencode`` with role document."""
        return await self.aencode(texts, role=Role.DOCUMENT, progress=progress)

    def verify(self) -> Verification:
        """Prove that the backend gives the model's own vectors, by texts whose right answer is known.

        A server is asked on its first use anyway, as its option ``verify`` says; here it is asked again.

        Returns:
            What was proved of model, task, prefix and pooling, and why the rest cannot be.

        Raises:
            ModelError: the vectors are not the model's; the message says what is likely wrong, with the numbers.
            ServerError: a server failed, refused, or cannot be reached.
        """
        return self.backend.verify(self.profile, self.task)

    def record_golden(self) -> GoldenValues:
        """Return golden values of the model for the encoder's task, by which other runtimes of it are to be judged.

        Raises:
            InvalidDimension: the encoder gives less than the full width.
            ModelError, ServerError: as ``encode``.
        """
        if self.dimension != self.profile.width:
            raise InvalidDimension(f"golden values are of the full width, {self.profile.width}, not {self.dimension}")
        query, documents = TEXTS[self.task]
        cosines = (self.encode_documents(documents) @ self.encode_queries([query])[0]).tolist()
        counts: list[int] = []
        self.encode([QUESTION], role=Role.QUERY, counted=counts.extend)
        asked = prompt(self.task, Role.QUERY, self.profile) + QUESTION
        return GoldenValues(
            tokens=tuple(TokenCount(text=asked, count=count) for count in counts),
            similarities={
                self.task: Similarities(
                    query=query, documents=documents, cosines=tuple(round(cosine, 4) for cosine in cosines)
                )
            },
        )

    def close(self) -> None:
        """Release what the backend holds. Idempotent."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"Encoder({self.profile.name!r}, task={self.task.value!r}, dimension={self.dimension},"
            f" backend={self.backend.name!r})"
        )


class _Call:
    """One call of encode: what is asked of the backend before, and what is made of its answer after."""

    def __init__(
        self,
        encoder: Encoder,
        texts: Iterable[str],
        role: Role | str,
        *,
        progress: TextsDone | None,
        counted: Counted | None,
        refused: Refused | None,
    ) -> None:
        given = _check_texts(texts)
        self.encoder = encoder
        self.role = Role(role)
        prefix = "" if encoder.backend.adds_prompt else prompt(encoder.task, self.role, encoder.profile)
        position = {text: number for number, text in enumerate(dict.fromkeys(given))}
        self.texts = [prefix + text for text in position]
        self.rows = None if len(position) == len(given) else [position[text] for text in given]
        self.done = len(given) - len(position)  # repeated texts cost nothing
        self.total = len(given)
        self.progress = progress
        self.counted = counted
        self.refused = refused
        self.lock = Lock()  # a backend may finish texts in several threads
        self.report = Report(encoder.overflow, self._advance, refused=None if refused is None else {})

    def _advance(self, texts: int) -> None:
        with self.lock:
            self.done += texts
            if self.progress is not None:
                self.progress(self.done, self.total)

    @contextmanager
    def positions(self) -> Generator[None]:
        """Let an error name texts by where the caller has them, each as often as it is there."""
        try:
            yield
        except (TextTooLong, ServerError) as error:
            error.positions = self._given(error.positions)
            raise

    def timed(self) -> AbstractContextManager[None]:
        """Log how many texts are embedded, and how long it takes."""
        return timed("%s: embedding %d texts as %s", self.encoder.backend.name, len(self.texts), self.role)

    def _given(self, positions: Collection[int]) -> tuple[int, ...]:
        """Return the positions in the caller's list of some texts."""
        named = set(positions)
        return tuple(number for number, row in enumerate(self.rows or range(self.total)) if row in named)

    def result(self, vectors: Float32) -> Float32:
        profile, backend = self.encoder.profile, self.encoder.backend.name
        shape = getattr(vectors, "shape", None)
        if shape != (len(self.texts), self.encoder.backend.narrowed or profile.width):
            raise InvalidVectors(
                f"backend {backend} gave vectors of shape {shape} for {len(self.texts)} texts;"
                f" {profile.name} has width {profile.width}"
            )
        refused = self.report.refused or {}
        if refused:
            vectors[list(refused)] = np.eye(1, vectors.shape[1], dtype=np.float32)  # in place of none, for now
        try:
            narrowed = narrow(vectors, self.encoder.dimension)
        except InvalidVectors as error:
            raise InvalidVectors(f"backend {backend} gave vectors that cannot be used: {error}") from error
        if refused and self.refused is not None:
            narrowed[list(refused)] = 0
            rows = self.rows or range(self.total)
            self.refused({number: refused[row] for number, row in enumerate(rows) if row in refused})
        self.report.warn()
        if self.done < self.total:
            self._advance(self.total - self.done)
        counts = self.report.counts
        if counts and self.counted is not None:
            self.counted(counts if self.rows is None else [counts[row] for row in self.rows])
        return narrowed if self.rows is None else narrowed[self.rows]


def _check_texts(texts: Iterable[Any]) -> list[str]:
    kind = type(texts)
    if issubclass(kind, (str, bytes, Mapping)) or not issubclass(kind, Iterable):
        raise InvalidType(f"texts must be a list of strings, not {kind.__name__}; for one text, give [text]")
    checked: list[str] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidType(f"text {number} is {type(text).__name__}, not a string")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidInput(f"text {number} is not valid Unicode: {error}") from error
        checked.append(text)
    return checked


def _choose_backend(profile: ModelProfile, backend: str | None) -> str:
    chosen = backend or profile.backend
    if not chosen:
        chosen = "onnx" if installed("onnxruntime") else "torch" if installed("torch") else ""
        if not chosen:
            raise MissingExtra(f"a runtime for {profile.name}", "onnx", "torch")
    if chosen not in BACKENDS and chosen not in (known := plugins.names(plugins.BACKENDS, BACKENDS)):
        raise InvalidInput(f"unknown backend {chosen!r}; known: {', '.join(known)}")
    return chosen
