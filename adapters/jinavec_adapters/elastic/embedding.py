"""The embedding services of ``elasticsearch.helpers.vectorstore``, sync and async."""

from __future__ import annotations

from pathlib import Path

from jinavec import Contract, Encoder, ModelProfile, Task
from jinavec.backends.base import Overflow
from jinavec.errors import InvalidInput
from jinavec.extras import require

require("elasticsearch.helpers.vectorstore", "elasticsearch")
from elasticsearch.helpers.vectorstore import AsyncEmbeddingService, EmbeddingService  # noqa: E402


class _Embeds:
    """Holds the encoder; the services differ in how they call it."""

    def __init__(
        self,
        model: str | ModelProfile | Encoder | None = None,
        *,
        encoder: Encoder | None = None,
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
    ) -> None:
        """Embed with an encoder, or with a model loaded as ``Encoder.load`` does.

        Args:
            model: a catalogue name or a profile; or an encoder.
            encoder: an encoder, which must not be described again.
            task: as ``Encoder.load``, and so all the others.
            dimension: components of a vector.
            backend: what runs the model.
            source: a folder or hub name of the weights.
            revision: the revision of the weights.
            overflow: what to do with texts over the token limit; by default the backend decides.
            url: address of a server.
            api_key: key of the server.
            served_as: the model's name on that server.
            options: the backend's own options.

        Raises:
            InvalidInput: neither model nor encoder, or both.
            MissingExtra, ModelError: as ``Encoder.load``.
        """
        if isinstance(model, Encoder):
            model, encoder = None, model
        described = (task, dimension, backend, source, revision, overflow, url, api_key, served_as, options)
        if encoder is None:
            if model is None:
                raise InvalidInput("name a model, or give an encoder=")
            encoder = Encoder.load(
                model,
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
        elif model is not None or any(value is not None for value in described):
            raise InvalidInput("an encoder is given, so its model, task, dimension or backend cannot be chosen again")
        self.encoder = encoder

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
