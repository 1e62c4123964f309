"""The embedding services of ``elasticsearch.helpers.vectorstore``, sync and async."""

from __future__ import annotations

from typing import Unpack

from jinavec import Contract, Encoder, EncoderArguments, ModelProfile
from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec_adapters.shared.given import given_encoder

require("elasticsearch.helpers.vectorstore", "elasticsearch")
from elasticsearch.helpers.vectorstore import AsyncEmbeddingService, EmbeddingService  # noqa: E402


class _Embeds:
    """Holds the encoder; the services differ in how they call it."""

    def __init__(
        self,
        model: str | ModelProfile | Encoder | None = None,
        *,
        encoder: Encoder | None = None,
        **arguments: Unpack[EncoderArguments],
    ) -> None:
        """Embed with an encoder, or with a model loaded as ``Encoder.load`` does.

        Args:
            model: a catalogue name or a profile; or an encoder.
            encoder: an encoder, in place of a model.
            arguments: those of ``jinavec.EncoderArguments``, for a model.

        Raises:
            InvalidInput: neither model nor encoder, or an encoder and something that would choose its model again.
            JinavecError: what ``Encoder.load`` refuses.
        """
        if model is not None and encoder is not None:
            raise InvalidInput("an encoder is given, so its model cannot be chosen again")
        given = encoder if model is None else model
        if given is None:
            raise InvalidInput("name a model, or give an encoder=")
        self.encoder = given_encoder(given, **arguments)

    @property
    def contract(self) -> Contract:
        """The contract of every vector this service makes."""
        return self.encoder.contract

    @property
    def dimension(self) -> int:
        """Components of a vector: the store's ``num_dimensions``."""
        return self.encoder.dimension

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.encoder!r})"


class JinaEmbeddingService(_Embeds, EmbeddingService):
    """Embeds documents and queries, each in its role, for ``VectorStore``."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents; lists of Python floats, of unit length."""
        return self.encoder.encode_documents(texts).tolist()

    def embed_query(self, query: str) -> list[float]:
        """Embed a text as a query."""
        return self.encoder.encode_queries([query])[0].tolist()


class AsyncJinaEmbeddingService(_Embeds, AsyncEmbeddingService):
    """Embeds documents and queries, each in its role, for ``AsyncVectorStore``; never blocks the event loop."""

    async def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as documents; lists of Python floats, of unit length."""
        return (await self.encoder.aencode_documents(texts)).tolist()

    async def embed_query(self, query: str) -> list[float]:
        """Embed a text as a query."""
        return (await self.encoder.aencode_queries([query]))[0].tolist()
