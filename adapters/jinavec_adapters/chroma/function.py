"""JinaV5EmbeddingFunction: Chroma's embedding function over the encoder."""

from __future__ import annotations

from typing import Any, Unpack

from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import (
    known_embedding_functions,  # pyright: ignore[reportUnknownVariableType]
    register_embedding_function,  # pyright: ignore[reportUnknownVariableType]
)

from jinavec import Contract, Encoder, EncoderArguments, EncoderSettings, ModelProfile, Task
from jinavec.errors import InvalidInput
from jinavec.models import CATALOGUE
from jinavec.vectors import Float32
from jinavec_adapters.shared.given import given_encoder

_PLAIN = "jinavec"


@register_embedding_function
class JinaV5EmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds what is added as documents, and the texts of ``collection.query`` as queries.

    ```python
    function = JinaV5EmbeddingFunction("jina-embeddings-v5-text-nano", task="retrieval", dimension=256)
    collection = client.create_collection("notes", embedding_function=function)
    ```

    Chroma stores the encoder settings, never a key, with the collection: ``client.get_collection("notes")`` restores
    this function once ``jinavec_adapters.chroma`` has been imported (and, for a ``ModelProfile`` of one's own, once a
    function of it has been made). All that Chroma compares is the name, so it carries the contract: a collection of
    one model cannot be opened with another.
    """

    def __init__(self, model: str | ModelProfile | Encoder, **arguments: Unpack[EncoderArguments]) -> None:
        """Embed through a model, with the arguments of ``Encoder.load``, or through an encoder loaded already.

        Raises:
            InvalidInput: an encoder, and arguments that would choose its model again.
            JinavecError: what ``Encoder.load`` refuses.
        """
        self._encoder = given_encoder(model, **arguments)
        name = _name(self._encoder.contract)
        vars(self)["name"] = lambda: name
        known_embedding_functions[name] = type(self)

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts as documents."""
        return _rows(self._encoder.encode_documents(input))

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed texts as queries."""
        return _rows(self._encoder.encode_queries(input))

    @staticmethod
    def name() -> str:
        """Return the name in Chroma's registry; that of an object carries its contract."""
        return _PLAIN

    def default_space(self) -> Space:
        """Return cosine: the vectors have unit length."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """Return the encoder's settings as plain JSON values, without a key.

        Raises:
            InvalidInput: the encoder was not made by ``Encoder.load``, so that it cannot be loaded again.
        """
        if self._encoder.settings is None:
            raise InvalidInput("Chroma stores how to load the encoder: give one that Encoder.load made")
        return self._encoder.settings.to_json()

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> JinaV5EmbeddingFunction:
        """Load the encoder that ``get_config`` described; a server's key comes from the environment."""
        return JinaV5EmbeddingFunction(Encoder.from_settings(EncoderSettings.from_json(config)))

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check that a configuration can be read.

        Raises:
            InvalidInput: it cannot.
        """
        EncoderSettings.from_json(config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Refuse a configuration whose vectors cannot be compared with those in the collection.

        Raises:
            ContractMismatch: each differing field of both.
        """
        _contract(old_config).check(_contract(new_config), ours="the collection", theirs="the new configuration")


class _Name(str):
    """A name that equals that of collections made by jinavec 0.1 too, which carry none of a contract."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) or other == str(_PLAIN)

    def __ne__(self, other: object) -> bool:
        return not self == other


def _name(contract: Contract) -> str:
    return _Name(f"{_PLAIN}-{contract.model}-{contract.task}-{contract.dimension}-{contract.digest}")


def _register_catalogue() -> None:
    """Let Chroma find the function of each name that a model of the catalogue can have."""
    for profile in CATALOGUE.values():
        for task in [profile.task] if profile.task else Task:
            for dimension in profile.dimensions:
                known_embedding_functions[_name(Contract.of(profile, task, dimension))] = JinaV5EmbeddingFunction


_register_catalogue()


def _contract(config: dict[str, Any]) -> Contract:
    settings = EncoderSettings.from_json(config)
    return Contract.of(settings.profile, settings.task, settings.dimension)


def _rows(vectors: Float32) -> Embeddings:
    return list(vectors)
