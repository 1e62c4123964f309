"""JinaV5Embedding: LlamaIndex's embedding model over ``jinavec.Encoder``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, Unpack

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager

from jinavec import Encoder, EncoderArguments, ModelProfile
from jinavec.errors import InvalidInput
from jinavec_adapters.llama_index.cache import Query, RoleCache
from jinavec_adapters.llama_index.recent import Recent
from jinavec_adapters.shared.fields import EncoderFields
from jinavec_adapters.shared.keywords import refuse_unknown


class EmbeddingArguments(EncoderArguments, total=False):
    """The arguments of ``Encoder.load``, and the fields of LlamaIndex's ``BaseEmbedding``."""

    embed_batch_size: int
    num_workers: int | None
    callback_manager: CallbackManager
    rate_limiter: Any


class JinaV5Embedding(EncoderFields, BaseEmbedding):
    """Embeds queries as queries and nodes as documents, under one contract.

    The fields say how the encoder was loaded, defaults filled in (see ``jinavec.EncoderArguments``), and none can be
    changed afterwards. A key is no field: what is saved never holds it, and what is loaded takes it from the
    environment. Copies share the encoder; what was unpickled loads it when it is first needed.
    """

    model_config = ConfigDict(extra="forbid")

    model_name: str = Field(frozen=True)
    """A name of the catalogue, or of the profile."""
    profile: dict[str, Any] = Field(frozen=True, repr=False)
    """The model's ``ModelProfile`` as JSON values: prefixes, dimensions, pooling, limit."""
    embed_batch_size: int = Field(default=512, gt=0, le=2048)
    """Texts given to the core at once, which plans batches of its own: the more it sees, the better it can."""
    embeddings_cache: Any = Field(default=None, frozen=True, exclude=True, repr=False)
    """The key-value store given, behind keys that tell contracts and roles apart; not saved."""

    _recent: Recent = PrivateAttr(default_factory=Recent)

    def __init__(
        self,
        model_name: str | ModelProfile,
        *,
        profile: Mapping[str, Any] | None = None,
        embeddings_cache: Any = None,
        **arguments: Unpack[EmbeddingArguments],
    ) -> None:
        """Load the model.

        Args:
            model_name: a catalogue name, or a ``ModelProfile`` for any other model.
            profile: the profile as ``to_dict`` saved it.
            embeddings_cache: a LlamaIndex ``BaseKVStore``; may be shared by any models.
            arguments: those of ``Encoder.load``, and embed_batch_size, num_workers, callback_manager, rate_limiter of
                ``BaseEmbedding``.

        Raises:
            UnknownModel, UnknownTask, InvalidDimension, InvalidInput: not offered.
            MissingExtra, ModelError: the model cannot be loaded.
        """
        fields: dict[str, Any] = dict(arguments)
        load = {name: fields.pop(name) for name in EncoderArguments.__annotations__ if name in fields}
        encoder = Encoder.load(_find_profile(model_name, profile), **load)
        assert encoder.settings is not None  # an encoder that was loaded knows how
        BaseEmbedding.__init__(
            self,
            model_name=encoder.profile.name,
            embeddings_cache=RoleCache.over(embeddings_cache, encoder.contract),
            **encoder.settings.to_json(),
            **fields,
        )
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serializes the class."""
        return "JinaV5Embedding"

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
        fields = type(self).model_fields
        if fixed := [name for name in changes if name in fields and fields[name].frozen]:
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

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts as documents, ``embed_batch_size`` at once."""
        refuse_unknown(self.get_text_embedding_batch, kwargs)
        return super().get_text_embedding_batch(texts, show_progress)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """``get_text_embedding_batch`` without blocking the event loop."""
        refuse_unknown(self.aget_text_embedding_batch, kwargs)
        return await super().aget_text_embedding_batch(texts, show_progress)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.encoder.encode_queries([query])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await (await self._aencoder()).aencode_queries([query]))[0].tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._recent.note(texts, self.encoder.encode_documents(texts).tolist())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._recent.note(texts, (await (await self._aencoder()).aencode_documents(texts)).tolist())

    def embedding_again(self, text: str) -> list[float]:
        """Return the embedding of a text as a document: the same one, if it is among those that were made last."""
        return self._recent.get(text) or self.get_text_embedding(text)

    def _load(self) -> Encoder:
        return Encoder.load(ModelProfile.from_json(self.profile), **self.arguments)


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
