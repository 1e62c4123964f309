"""Haystack's two embedders over the encoder: one for queries, one for documents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Self, Unpack, cast

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import Secret, deserialize_secrets_inplace

from jinavec import Contract, Encoder, ModelProfile
from jinavec.errors import InvalidType, brief
from jinavec.settings import SettingsArguments, check_arguments, written_arguments
from jinavec.vectors import Float32


class _Embedder:
    """What both share: the arguments of ``Encoder.load``, their round trip through a dict, and the encoder."""

    def __init__(
        self,
        model: str | ModelProfile | dict[str, Any],
        *,
        api_key: Secret | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> None:
        """Take the arguments of ``jinavec.Encoder.load``; ``warm_up``, or the first run, loads the weights.

        Args:
            model: a name from ``jinavec models``, or a profile of one's own.
            api_key: key of the server; written to a pipeline's file only as the name of its variable.
            arguments: those of ``jinavec.EncoderArguments``; a pipeline's file gets ``url`` without user name and
                password.

        Raises:
            InvalidType: an unknown argument; the message lists the known ones.
            UnknownModel, UnknownTask, InvalidDimension: not offered.
        """
        check_arguments(arguments)
        self.model = ModelProfile.from_json(model) if isinstance(model, dict) else model
        self.contract = Contract.of(self.model, arguments.get("task"), arguments.get("dimension"))
        self.api_key = api_key
        self._arguments = arguments
        self._encoder: Encoder | None = None

    def warm_up(self) -> None:
        """Load the encoder."""
        self._encode_with()

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values."""
        return default_to_dict(self, **self._init_parameters())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read a component back."""
        deserialize_secrets_inplace(data["init_parameters"], keys=["api_key"])
        return default_from_dict(cls, data)

    def _init_parameters(self) -> dict[str, Any]:
        model = self.model.to_json() if isinstance(self.model, ModelProfile) else self.model
        key = None if self.api_key is None else self.api_key.to_dict()
        return {"model": model, "api_key": key, **written_arguments(self._arguments)}

    def _encode_with(self) -> Encoder:
        if self._encoder is None:
            key = None if self.api_key is None else self.api_key.resolve_value()
            self._encoder = Encoder.load(self.model, api_key=key, **self._arguments)
        return self._encoder


@component
class JinaV5TextEmbedder(_Embedder):
    """Embeds a text as a query.

    ```python
    pipeline.add_component("embedder", JinaV5TextEmbedder("jina-embeddings-v5-text-nano", dimension=256))
    ```
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return the embedding of a query."""
        return {"embedding": self._encode_with().encode_queries([text])[0].tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """``run`` without blocking the event loop."""
        encoder = await asyncio.to_thread(self._encode_with)
        return {"embedding": (await encoder.aencode_queries([text]))[0].tolist()}


@component
class JinaV5DocumentEmbedder(_Embedder):
    """Embeds documents as documents; the documents given stay as they are, copies carry the embeddings."""

    def __init__(
        self,
        model: str | ModelProfile | dict[str, Any],
        *,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        api_key: Secret | None = None,
        **arguments: Unpack[SettingsArguments],
    ) -> None:
        """Take what the text embedder takes, and which metadata to embed.

        Args:
            model: a name from ``jinavec models``, or a profile of one's own.
            meta_fields_to_embed: metadata to put before the content, where a document has it.
            embedding_separator: what stands between them.
            api_key: key of the server, as of ``JinaV5TextEmbedder``.
            arguments: those of ``jinavec.EncoderArguments``.
        """
        _Embedder.__init__(
            self, model, api_key=api_key, **arguments
        )  # not super(): the decorator makes another class of this one
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return the documents with their embeddings."""
        texts = self._texts(documents)
        return _embedded(documents, self._encode_with().encode_documents(texts))

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """``run`` without blocking the event loop."""
        texts = self._texts(documents)
        encoder = await asyncio.to_thread(self._encode_with)
        return _embedded(documents, await encoder.aencode_documents(texts))

    def _init_parameters(self) -> dict[str, Any]:
        own = {"meta_fields_to_embed": self.meta_fields_to_embed, "embedding_separator": self.embedding_separator}
        return _Embedder._init_parameters(self) | own

    def _texts(self, documents: list[Document]) -> list[str]:
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InvalidType(f"documents must be a list of Document objects, not {brief(cast('object', documents))}")
        return [self._text(document) for document in documents]

    def _text(self, document: Document) -> str:
        meta = [str(document.meta[name]) for name in self.meta_fields_to_embed if document.meta.get(name) is not None]
        return self.embedding_separator.join([*meta, document.content or ""])


def _embedded(documents: list[Document], vectors: Float32) -> dict[str, Any]:
    pairs = zip(documents, vectors.tolist(), strict=True)
    return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}
