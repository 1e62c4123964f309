"""JinaV5Embeddings: LangChain's embeddings interface over the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
from pydantic import ConfigDict, Field, SecretStr, SkipValidation

from jinavec import Encoder
from jinavec.encoder import TextsDone
from jinavec.errors import InvalidType
from jinavec.settings import without_user
from jinavec_adapters.shared.fields import EncoderFields, Profile


class JinaV5Embeddings(EncoderFields, Serializable, Embeddings):
    """Embeds documents as documents and queries as queries, under one contract.

    ```python
    embeddings = JinaV5Embeddings(model="jina-embeddings-v5-text-nano", task="retrieval", dimension=256)
    ```

    The fields are the arguments of ``jinavec.Encoder.load`` (see ``jinavec.EncoderArguments``), cannot be changed
    afterwards, and decide every vector; batches, retries and the choice of the backend are the encoder's.
    ``model="lexical"`` needs no weights.

    In a cache use ``cache_namespace``, and a separate store for queries: LangChain's ``query_embedding_cache=True``
    would answer a query with the document vector of the same text.

    ```python
    CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        documents,
        namespace=embeddings.cache_namespace,
        query_embedding_cache=queries,  # another store, or nothing
        key_encoder="sha256",
    )
    ```

    Copies share the encoder; copies with changed fields load their own. What is pickled, or written by LangChain's
    ``dumps``, holds no key and no password: the encoder is loaded again with the key of the environment.

    ```python
    loads(dumps(embeddings), allowed_objects=[JinaV5Embeddings], valid_namespaces=["jinavec_adapters"])
    ```

    Raises:
        ValidationError: a field that does not exist, or of the wrong kind.
        JinavecError: what ``Encoder.load`` refuses.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        hide_input_in_errors=True,  # a key may be among it
    )

    model: str | Profile
    """A name from ``jinavec models``, or a profile of one's own."""
    api_key: SecretStr | None = Field(default=None, repr=False, exclude=True)
    """Key of the server; by default that of the environment for its address."""
    progress: SkipValidation[TextsDone | None] = Field(default=None, repr=False, exclude=True)
    """Called with (texts done, texts in all) while documents are embedded."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._encoder = self._load()

    @classmethod
    def from_encoder(cls, encoder: Encoder, progress: TextsDone | None = None) -> Self:
        """Embed through an encoder that is loaded already, such as one with a backend of one's own."""
        how = {"backend": encoder.backend.name} if encoder.settings is None else vars(encoder.settings)
        fields: dict[str, Any] = {name: value or None for name, value in how.items() if name != "profile"}
        fields |= {"task": encoder.task.value, "dimension": encoder.dimension, "overflow": encoder.overflow}
        embeddings = cls.model_construct(model=encoder.profile, progress=progress, **fields)
        embeddings._encoder = encoder
        return embeddings

    @property
    def cache_namespace(self) -> str:
        """A name for caches of these vectors, safe in file names: equal exactly when the contracts are."""
        return f"jinavec-{self.contract.digest}-"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents; each vector has ``dimension`` components and unit length."""
        return self.encoder.encode_documents(texts, progress=self.progress).tolist()

    def embed_query(self, text: str) -> list[float]:
        """Embed a text as a query."""
        return self.encoder.encode_queries([text])[0].tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents without blocking the event loop."""
        return (await (await self._aencoder()).aencode_documents(texts, progress=self.progress)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text as a query without blocking the event loop."""
        return (await (await self._aencoder()).aencode_queries([text]))[0].tolist()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy that shares the encoder, or, with changed fields, one that loads its own."""
        if not update:
            return self.__copy__()
        self._need_settings("changed")
        return type(self)(**dict(self) | dict(update))

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: LangChain's ``dumps`` can write it."""
        return True

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return what LangChain's ``dumps`` writes: every field but key and progress."""
        if self._is_custom:
            return self.to_json_not_implemented()
        fields = self.model_dump(mode="json", exclude_none=True)
        return {"lc": 1, "type": "constructor", "id": self.lc_id(), "kwargs": fields}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JinaV5Embeddings):
            return NotImplemented
        if self._is_custom or other._is_custom:
            return self._encoder is other._encoder
        return self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash((type(self), str(self.model), self.task, self.dimension))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.__copy__()  # nothing of it can change

    def __getstate__(self) -> dict[Any, Any]:
        self._need_settings("pickled")
        hidden = {"api_key": None, "progress": None, "url": self.url and without_user(self.url)}
        state = super().__getstate__()
        return state | {"__dict__": state["__dict__"] | hidden, "__pydantic_private__": {"_encoder": None}}

    @property
    def _is_custom(self) -> bool:
        return self._encoder is not None and self._encoder.settings is None

    def _need_settings(self, what: str) -> None:
        if self._is_custom:
            raise InvalidType(f"embeddings over an encoder that Encoder.load did not make cannot be {what}")

    def _load(self) -> Encoder:
        key = None if self.api_key is None else self.api_key.get_secret_value()
        return Encoder.load(self.model, api_key=key, **self.arguments)
