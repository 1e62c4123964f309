"""JinaV5EmbeddingFunction: LanceDB's embedding function over the encoder."""

# LanceDB's own functions have few types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

from lancedb.embeddings import TextEmbeddingFunction, register
from pydantic import ConfigDict, Field, PrivateAttr

from jinavec import Contract, Encoder, ModelProfile
from jinavec.backends.base import Overflow
from jinavec.settings import without_user


@register("jinavec")
class JinaV5EmbeddingFunction(TextEmbeddingFunction):
    """Embeds the source column as documents, and what ``table.search`` asks as queries.

    ```python
    function = get_registry().get("jinavec").create(model="jina-embeddings-v5-text-nano", dimension=256)

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()
    ```

    The fields are those of ``jinavec.Encoder.load``. LanceDB keeps them with the table: a key only as ``$var:NAME``,
    and an address without user name and password, unless it is a ``$var:NAME`` as well. Weights are loaded when the
    first text is embedded.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    model: str | dict[str, Any]
    """A name from ``jinavec models``, or the values of a profile as ``ModelProfile.to_json`` gives them."""
    task: str | None = None
    dimension: int | None = None
    backend: str | None = None
    source: str | None = None
    revision: str | None = None
    overflow: Overflow | None = None
    url: str | None = Field(default=None, repr=False)
    api_key: str | None = Field(default=None, repr=False)
    served_as: str | None = None
    options: dict[str, Any] | None = None

    _encoder: Encoder | None = PrivateAttr(default=None)
    _contract: Contract = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._contract = Contract.of(self._find_model(), self.task, self.dimension)  # refuses what does not exist

    @staticmethod
    def sensitive_keys() -> list[str]:
        """Return the fields that LanceDB must not write down."""
        return ["api_key"]

    def safe_model_dump(self) -> dict[str, Any]:
        """Return what LanceDB writes down with a table."""
        written: dict[str, Any] = super().safe_model_dump()
        return written | {"url": without_user(written["url"])} if written.get("url") else written

    def ndims(self) -> int:
        """Return the components of a vector."""
        return self._contract.dimension

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed texts as documents."""
        return list(self._load().encode_documents(texts))

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed a text, or several, as queries."""
        return list(self._load().encode_queries(self.sanitize_input(query)))

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed documents; the encoder retries what is worth it, and other errors reach the caller as they are."""
        return self.compute_source_embeddings(*args, **kwargs)

    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed queries, likewise."""
        return self.compute_query_embeddings(*args, **kwargs)

    def _find_model(self) -> str | ModelProfile:
        return self.model if isinstance(self.model, str) else ModelProfile.from_json(self.model)

    def _load(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder.load(
                self._find_model(),
                task=self.task,
                dimension=self.dimension,
                backend=self.backend,
                source=self.source,
                revision=self.revision,
                overflow=self.overflow,
                url=self.url,
                api_key=self.api_key,
                served_as=self.served_as,
                options=self.options,
            )
        return self._encoder
