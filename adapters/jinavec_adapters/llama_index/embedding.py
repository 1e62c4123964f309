"""JinaV5Embedding: LlamaIndex's embedding model over ``jinavec.Encoder``."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr

from jinavec import Contract, Encoder, EncoderSettings, ModelProfile, Task
from jinavec.backends.base import Overflow
from jinavec.errors import InvalidInput
from jinavec_adapters.llama_index.cache import Query, RoleCache

_LOADING = Lock()
_SETTINGS = [field.name for field in dataclasses.fields(EncoderSettings)]


class JinaV5Embedding(BaseEmbedding):
    """Embeds queries as queries and nodes as documents, under one contract.

    Every field that changes vectors is public, so that it reaches ``to_dict`` and with it the key of an ingestion
    cache; none can be changed after construction. A key is no field: what is saved never holds it, and what is loaded
    takes it from the environment. Copies share the encoder; what was unpickled loads it when it is first needed.
    """

    model_config = ConfigDict(extra="forbid")

    model_name: str = Field(frozen=True)
    """A name of the catalogue, or of the profile."""
    profile: dict[str, Any] = Field(frozen=True, repr=False)
    """The model's ``ModelProfile`` as JSON values: prefixes, widths, pooling, limit."""
    task: str = Field(frozen=True)
    dimension: int = Field(frozen=True)
    """Components of a vector."""
    backend: str = Field(frozen=True)
    source: str = Field(frozen=True)
    revision: str = Field(frozen=True)
    overflow: str | None = Field(frozen=True)
    url: str = Field(frozen=True)
    """Address of a server, without user name and password."""
    served_as: str = Field(frozen=True)
    options: dict[str, Any] = Field(frozen=True)
    embed_batch_size: int = Field(default=512, gt=0, le=2048)
    """Texts given to the core at once, which plans batches of its own: the more it sees, the better it can."""
    embeddings_cache: Any = Field(default=None, frozen=True, exclude=True, repr=False)
    """The key-value store given, behind keys that tell contracts and roles apart; not saved."""

    _encoder: Encoder | None = PrivateAttr(default=None)

    def __init__(
        self,
        model_name: str | ModelProfile,
        *,
        task: Task | str | None = None,
        dimension: int | None = None,
        backend: str | None = None,
        source: str | Path | None = None,
        revision: str | None = None,
        overflow: Overflow | None = None,
        url: str | None = None,
        api_key: str | None = None,
        served_as: str | None = None,
        options: object = None,
        profile: Mapping[str, Any] | None = None,
        embeddings_cache: Any = None,
        **fields: Any,
    ) -> None:
        """Load the model.

        Args:
            model_name: a catalogue name, or a ``ModelProfile`` for any other model.
            task: the one in a merged name by default, else retrieval.
            dimension: one of the model's Matryoshka widths; full width by default.
            backend: what runs the model; by default the profile's own, else onnx or torch.
            source: a folder or hub name of the weights.
            revision: the revision of the weights.
            overflow: what to do with texts over the token limit: truncate (with a warning) or error; by default the
                backend decides.
            url: address of a server, for remote backends.
            api_key: key of the server; never stored.
            served_as: the model's name on that server.
            options: the backend's own options dataclass, or a mapping of its fields.
            profile: the profile as ``to_dict`` saved it.
            embeddings_cache: a LlamaIndex ``BaseKVStore``; may be shared by any models.
            fields: those of ``BaseEmbedding``: embed_batch_size, num_workers, callback_manager, rate_limiter.

        Raises:
            UnknownModel, UnknownTask, InvalidDimension, InvalidInput: not offered.
            MissingExtra, ModelError: the model cannot be loaded.
        """
        encoder = Encoder.load(
            _find_profile(model_name, profile),
            task=task,
            dimension=dimension,
            backend=backend,
            source=source,
            revision=revision,
            overflow=overflow,
            url=url,
            api_key=api_key,
            served_as=served_as,
            options=options,
        )
        assert encoder.settings is not None  # an encoder that was loaded knows how
        super().__init__(
            model_name=encoder.profile.name,
            embeddings_cache=RoleCache.over(embeddings_cache, encoder.contract),
            **encoder.settings.to_json(),
            **fields,
        )
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises the class."""
        return "JinaV5Embedding"

    @property
    def encoder(self) -> Encoder:
        """What makes the vectors."""
        if self._encoder is None:
            with _LOADING:
                self._encoder = self._encoder or self._load()
        return self._encoder

    @property
    def contract(self) -> Contract:
        """The contract of every vector this model makes."""
        return self.encoder.contract

    def to_payload(self) -> dict[str, Any]:
        """Return what LlamaIndex's events say about the model."""
        names = ("model_name", "task", "dimension", "embed_batch_size")
        return {"class_name": self.class_name(), **{name: getattr(self, name) for name in names}}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy that shares the encoder.

        Raises:
            InvalidInput: a change to a field that decides the vectors.
        """
        changes = dict(update or {})
        if fixed := [name for name in changes if name in ("model_name", "embeddings_cache", *_SETTINGS)]:
            raise InvalidInput(f"{fixed[0]} of a loaded model cannot be changed: make another {type(self).__name__}")
        return super().model_copy(update=changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JinaV5Embedding) and self.to_dict() == other.to_dict()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (type(self), self.to_dict())

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed a query; the cache, if any, is told that it is one."""
        return super().get_query_embedding(Query(query))

    async def aget_query_embedding(self, query: str) -> list[float]:
        """``get_query_embedding`` without blocking the event loop."""
        return await super().aget_query_embedding(Query(query))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.encoder.encode_queries([query])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await (await self._wake()).aencode_queries([query]))[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode_documents(texts).tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await (await self._wake()).aencode_documents(texts)).tolist()

    async def _wake(self) -> Encoder:
        return self._encoder or await asyncio.to_thread(lambda: self.encoder)

    def _load(self) -> Encoder:
        values = {name: getattr(self, name) for name in _SETTINGS}
        return Encoder.from_settings(EncoderSettings.from_json(values))


def _revive(kind: type[JinaV5Embedding], saved: Mapping[str, Any]) -> JinaV5Embedding:
    """Make a model of what was pickled, without loading the encoder."""
    model = kind.__new__(kind)
    BaseEmbedding.__init__(model, **{name: value for name, value in saved.items() if name != "class_name"})
    return model


def _find_profile(model_name: str | ModelProfile, profile: Mapping[str, Any] | None) -> str | ModelProfile:
    if profile is None:
        return model_name
    saved = ModelProfile.from_json(dict(profile))
    if model_name != saved.name:
        raise InvalidInput(f"model_name is {model_name!r}, but the profile is that of {saved.name!r}")
    return saved
