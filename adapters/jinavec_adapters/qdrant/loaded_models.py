"""The models behind fastembed's names: each is loaded once, and shared by all who ask for a view of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from jinavec.backends.base import Backend, BackendWrapper, Report
from jinavec.encoder import Encoder
from jinavec.models import CATALOGUE, ModelProfile
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32
from jinavec_adapters.qdrant.document import DocumentOptions


class LoadedModel:
    """A model that is loaded at its first use, once for each set of weights."""

    def __init__(self, profile: ModelProfile, encoder: Encoder | None = None) -> None:
        self.profile = profile
        self._lock = Lock()
        self._backends: list[_LastCall] = [] if encoder is None else [_LastCall(encoder.backend)]
        self.given = encoder
        """The encoder that was registered, if one was."""

    def options(self, options: Mapping[str, Any] | None) -> DocumentOptions:
        """Read the options of a Document; what they leave out is as the registered encoder has it."""
        return DocumentOptions.read(self.profile, options, self.given)

    def encoder(self, options: DocumentOptions) -> Encoder:
        """Return the view of the model that options ask for.

        Raises:
            MissingExtra, ModelError: it cannot be loaded.
            InvalidDimension: the server of a given encoder truncates its vectors to a smaller dimension.
        """
        with self._lock:
            backend = next((backend for backend in self._backends if backend.task in (None, options.task)), None)
            if backend is None and self.given is not None:
                backend = self._backends[0]  # which will say that it does not serve the task
            if backend is None:
                backend = _LastCall(Encoder.load(self.profile, task=options.task).backend)
                self._backends.append(backend)
        overflow = None if self.given is None else self.given.overflow
        return Encoder(self.profile, backend, task=options.task, dimension=options.dimension, overflow=overflow)


class _LastCall(BackendWrapper):
    """Remembers its last answer: a point with a full and a short vector of one text costs one inference."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._last: tuple[Any, Float32] | None = None

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        asked = (tuple(texts), task, role)
        last = self._last  # one read: another thread may put another pair there
        if last is not None and last[0] == asked:
            return last[1]
        vectors = self.inner.embed(texts, task=task, role=role, report=report)
        self._last = asked, vectors
        return vectors


MODELS: dict[str, LoadedModel] = {}
"""By the name that ``models.Document(model=...)`` gives, in lower case."""


def names(profile: ModelProfile) -> list[str]:
    """Return the names of a model in Qdrant: v5 with and without its organization."""
    return [f"jinaai/{profile.name}", profile.name] if profile.source.startswith("jinaai/") else [profile.name]


def add_models(encoders: Sequence[Encoder]) -> None:
    """Add the catalogue to ``MODELS``, and given encoders in place of the catalogue's model of their name."""
    for profile in CATALOGUE.values():
        if names(profile)[0].lower() not in MODELS:
            _put(LoadedModel(profile))
    for encoder in encoders:
        _put(LoadedModel(encoder.profile, encoder))


def _put(model: LoadedModel) -> None:
    for name in names(model.profile):
        MODELS[name.lower()] = model
