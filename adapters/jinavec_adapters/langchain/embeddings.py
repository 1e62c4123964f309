"""JinaV5Embeddings: LangChain's embeddings interface over the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, cast

from langchain_core.embeddings import Embeddings
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    SkipValidation,
)

from jinavec import Contract, Encoder, ModelProfile
from jinavec.backends.base import Overflow
from jinavec.encoder import Progress


def _read_profile(value: object) -> object:
    return ModelProfile.from_json(cast("object", value)) if isinstance(value, dict) else value


_Profile = Annotated[
    InstanceOf[ModelProfile],
    BeforeValidator(_read_profile),
    PlainSerializer(ModelProfile.to_json),
]


class JinaV5Embeddings(BaseModel, Embeddings):
    """Embeds documents as documents and queries as queries, under one contract.

    ```python
    embeddings = JinaV5Embeddings(model="jina-embeddings-v5-text-nano", task="retrieval", dimension=256)
    ```

    The fields are those of ``jinavec.Encoder.load``, cannot be changed afterwards, and decide every vector; batches,
    retries and the choice of the backend are the encoder's. ``model="lexical"`` needs no weights.

    A cache gets ``cache_namespace``, and queries a store of their own: LangChain's ``query_embedding_cache=True`` would
    answer a query with the vector of the document of the same text.

    ```python
    CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        documents,
        namespace=embeddings.cache_namespace,
        query_embedding_cache=queries,  # another store, or nothing
        key_encoder="sha256",
    )
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

    model: str | _Profile
    """A name from ``jinavec models``, or a profile of one's own."""
    task: str | None = None
    """retrieval by default; or text-matching, clustering, classification."""
    dimension: int | None = None
    """A width the model was trained for; its full width by default."""
    backend: str | None = None
    """What runs the model; by default the model's own, or whichever is installed."""
    source: str | Path | None = None
    """A folder or hub name of the weights."""
    revision: str | None = None
    """The revision of the weights."""
    overflow: Overflow | None = None
    """What to do with texts over the token limit: truncate (with a warning) or error."""
    url: str | None = Field(default=None, repr=False, exclude=True)
    """Address of a server; not shown, since it may carry a user name and password."""
    api_key: SecretStr | None = Field(default=None, repr=False, exclude=True)
    """Key of the server."""
    served_as: str | None = None
    """The model's name on that server."""
    options: Any = None
    """The backend's own options: its dataclass, or a mapping of names to values."""
    progress: SkipValidation[Progress | None] = Field(default=None, repr=False, exclude=True)
    """Called with (texts done, texts in all) while documents are embedded."""

    _encoder: Encoder = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._encoder = Encoder.load(
            self.model,
            task=self.task,
            dimension=self.dimension,
            backend=self.backend,
            source=self.source,
            revision=self.revision,
            overflow=self.overflow,
            url=self.url,
            api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            served_as=self.served_as,
            options=self.options,
        )

    @classmethod
    def from_encoder(cls, encoder: Encoder, progress: Progress | None = None) -> Self:
        """Embed through an encoder that is loaded already, such as one with a backend of one's own."""
        embeddings = cls.model_construct(
            model=encoder.profile,
            task=encoder.task,
            dimension=encoder.dimension,
            backend=encoder.backend.name,
            overflow=encoder.overflow,
            progress=progress,
        )
        embeddings._encoder = encoder
        return embeddings

    @property
    def encoder(self) -> Encoder:
        """The encoder beneath."""
        return self._encoder

    @property
    def contract(self) -> Contract:
        """The contract of every vector."""
        return self._encoder.contract

    @property
    def cache_namespace(self) -> str:
        """A name for caches of these vectors, safe in file names: equal exactly when the contracts are."""
        return f"jinavec-{self.contract.digest}-"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents; each vector has ``dimension`` components and unit length."""
        return self._encoder.encode_documents(texts, progress=self.progress).tolist()

    def embed_query(self, text: str) -> list[float]:
        """Embed a text as a query."""
        return self._encoder.encode_queries([text])[0].tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents without blocking the event loop."""
        return (await self._encoder.aencode_documents(texts, progress=self.progress)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text as a query without blocking the event loop."""
        return (await self._encoder.aencode_queries([text]))[0].tolist()
