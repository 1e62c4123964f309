"""AsyncEmbeddingProvider: the interface by which mcp-server-qdrant asks for vectors."""

from __future__ import annotations

from typing import Self, Unpack

from jinavec.encoder import Encoder
from jinavec.errors import InvalidType
from jinavec.models import ModelProfile
from jinavec.settings import EncoderArguments


class AsyncEmbeddingProvider:
    """An encoder with the surface of ``mcp_server_qdrant.embeddings.base.EmbeddingProvider``.

    It never blocks the event loop. Give it to ``QdrantConnector`` or ``QdrantMCPServer`` as ``embedding_provider``.
    """

    def __init__(self, encoder: Encoder, *, vector_name: str | None = None) -> None:
        """Embed through an encoder.

        Args:
            encoder: what embeds.
            vector_name: of the vector in the collection; by default the model's name.
        """
        if not isinstance(encoder, Encoder):
            raise InvalidType(
                f"an Encoder is needed, not {type(encoder).__name__}; or: AsyncEmbeddingProvider.load(model)"
            )
        self.encoder = encoder
        self._vector_name = vector_name or encoder.profile.name

    @classmethod
    def load(
        cls, model: str | ModelProfile, *, vector_name: str | None = None, **arguments: Unpack[EncoderArguments]
    ) -> Self:
        """Load a model as ``Encoder.load`` does, with its arguments and its errors."""
        encoder = Encoder.load(model, **arguments)
        return cls(encoder, vector_name=vector_name)

    async def embed_documents(self, documents: list[str]) -> list[list[float]]:
        """Return a unit vector for each document."""
        return (await self.encoder.aencode_documents(documents)).tolist()

    async def embed_query(self, query: str) -> list[float]:
        """Return the unit vector of a query."""
        return (await self.encoder.aencode_queries([query]))[0].tolist()

    def get_vector_name(self) -> str:
        """Return the name of the vector in the collection."""
        return self._vector_name

    def get_vector_size(self) -> int:
        """Return the number of components of a vector."""
        return self.encoder.dimension
