"""JinaV5EmbeddingFunction: LanceDB's embedding function over the encoder."""

# LanceDB's own functions have few types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

from lancedb.embeddings import TextEmbeddingFunction, register
from pydantic import ConfigDict, Field

from jinavec import Contract, Encoder
from jinavec.settings import without_user
from jinavec_adapters.shared.fields import EncoderFields, Profile
from jinavec_adapters.shared.keywords import refuse_unknown


@register("jinavec")
class JinaV5EmbeddingFunction(EncoderFields, TextEmbeddingFunction):
    """Embeds the source column as documents, and the texts of ``table.search`` as queries.

    ```python
    function = get_registry().get("jinavec").create(model="jina-embeddings-v5-text-nano", dimension=256)

    class Note(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()
    ```

    The fields are the arguments of ``jinavec.Encoder.load`` (see ``jinavec.EncoderArguments``). LanceDB stores them
    with the table: a key only as ``$var:NAME``, an address without user name and password, unless it is a ``$var:NAME``
    too. Weights are loaded when the first text is embedded.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    model: str | Profile
    """A name from ``jinavec models``, or a profile of one's own."""
    api_key: str | None = Field(default=None, repr=False)
    """Key of the server, as ``$var:NAME`` of LanceDB's registry; by default that of the environment."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.ndims()  # refuses what does not exist

    @property
    def contract(self) -> Contract:
        """The contract of every vector; known before the weights are loaded."""
        return Contract.of(self.model, self.task, self.dimension)

    @staticmethod
    def sensitive_keys() -> list[str]:
        """Return the fields that LanceDB must not write down."""
        return ["api_key"]

    def safe_model_dump(self) -> dict[str, Any]:
        """Return what LanceDB writes down with a table: the arguments of ``create``, as plain JSON values."""
        given: dict[str, Any] = super().safe_model_dump()
        plain = self.model_dump(mode="json")
        written = {name: value if isinstance(value, str) else plain[name] for name, value in given.items()}
        return written | {"url": without_user(written["url"])} if written.get("url") else written

    def ndims(self) -> int:
        """Return the dimension of the vectors."""
        return self.contract.dimension

    def SourceField(self, **kwargs: Any) -> Any:
        """Return the field of the texts, with the arguments of pydantic's ``Field``."""
        refuse_unknown(Field, kwargs)
        return super().SourceField(**kwargs)

    def VectorField(self, **kwargs: Any) -> Any:
        """Return the field of the vectors, likewise."""
        refuse_unknown(Field, kwargs)
        return super().VectorField(**kwargs)

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed texts as documents."""
        refuse_unknown(self.generate_embeddings, [*map(repr, args), *kwargs])
        return list(self.encoder.encode_documents(texts))

    def compute_source_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed a text, or several, as documents."""
        return self.generate_embeddings(self.sanitize_input(texts), *args, **kwargs)

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed a text, or several, as queries."""
        refuse_unknown(self.compute_query_embeddings, [*map(repr, args), *kwargs])
        return list(self.encoder.encode_queries(self.sanitize_input(query)))

    def compute_source_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed documents; the encoder does its own retries, so LanceDB's are left out."""
        return self.compute_source_embeddings(*args, **kwargs)

    def compute_query_embeddings_with_retry(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Embed queries, likewise."""
        return self.compute_query_embeddings(*args, **kwargs)

    def _load(self) -> Encoder:
        return Encoder.load(self.model, api_key=self.api_key, **self.arguments)
