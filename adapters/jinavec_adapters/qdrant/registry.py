"""Registration: the class through which fastembed, and so qdrant-client, embeds with our models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from jinavec.encoder import Encoder
from jinavec.errors import InvalidType
from jinavec.extras import require
from jinavec.models import ModelProfile, find_model
from jinavec.tasks import Role
from jinavec.vectors import Float32
from jinavec_adapters.qdrant.loaded_models import MODELS, LoadedModel, add_models, names
from jinavec_adapters.shared.keywords import refuse_unknown


def register(*encoders: Encoder) -> None:
    """Make ``models.Document`` of qdrant-client work with every model of the catalog; calling it again is allowed.

    Models are loaded at their first use, once: options only choose a view (task, dimensions). Upserted Documents get
    the document prefix, queries (prefetch and recommend included) the query prefix.

    Two limits are the client's. It is not safe to embed Documents in several threads through one client, and
    ``AsyncQdrantClient`` blocks the event loop while it embeds. Where that matters, give each thread a client of its
    own, or embed with an ``Encoder`` (``encode_queries``, ``await aencode_queries``) and give the client the vectors.
    For ``parallel=`` put ``import jinavec_adapters.qdrant.registered`` at the top of the script.

    Args:
        encoders: models loaded in a way of one's own (other weights, a server), or outside the catalogue; each takes
            the place of the model of its name, also in clients that embedded before. Its task, dimension and overflow
            hold for Documents whose options say nothing else.

    Raises:
        MissingExtra: fastembed is not installed, through which qdrant-client embeds.
    """
    for encoder in encoders:
        if not isinstance(encoder, Encoder):
            raise InvalidType(f"register takes encoders, not {type(encoder).__name__}")
    registry = require("fastembed", "fastembed").TextEmbedding.EMBEDDINGS_REGISTRY
    add_models(encoders)
    if _model_class() not in registry:
        registry.insert(0, _model_class())  # first: should fastembed ever know a name too, ours counts


def vector_params(model: str | ModelProfile, options: Mapping[str, Any] | None = None, **params: Any) -> Any:
    """Return the ``VectorParams`` of a collection for Documents of a model with these options.

    Args:
        model: as in ``models.Document``.
        options: as in ``models.Document``; ``get_embedding_size`` of the client knows nothing of them. What they leave
            out is as the registered encoder has it, where one was.
        params: anything else that ``models.VectorParams`` takes, but the size.

    Raises:
        UnknownModel, UnknownTask, InvalidDimension, InvalidInput: not offered.
    """
    models = require("qdrant_client.models", "qdrant")
    loaded = MODELS.get(model.lower()) if isinstance(model, str) else None
    size = (loaded or LoadedModel(find_model(model))).options(options).dimension
    return models.VectorParams(size=size, **{"distance": models.Distance.COSINE} | params)


@cache
def _model_class() -> type[Any]:
    """Return the class in fastembed's registry; it cannot be written down before fastembed is imported."""
    base: Any = require("fastembed.text.text_embedding_base", "fastembed").TextEmbeddingBase

    class JinavecTextEmbedding(base):
        """A view of one of our models, with the interface of fastembed's own."""

        def __init__(
            self,
            model_name: str,
            cache_dir: str | None = None,
            threads: int | None = None,
            *,
            providers: object = None,
            cuda: object = False,
            device_ids: object = None,
            lazy_load: bool = False,
            **options: Any,
        ) -> None:
            base.__init__(self, model_name, cache_dir, threads)
            self._given = options
            self._use(MODELS[model_name.lower()])

        def _use(self, loaded: LoadedModel) -> None:
            self._loaded, self._options = loaded, loaded.options(self._given)
            self._encoder: Encoder | None = None

        @classmethod
        def _list_supported_models(cls) -> list[Any]:
            return _descriptions()

        @classmethod
        def get_embedding_size(cls, model_name: str) -> int:
            return MODELS[model_name.lower()].options(None).dimension

        @property
        def embedding_size(self) -> int:
            return self._options.dimension

        def embed(
            self, documents: str | Iterable[str], batch_size: int = 256, parallel: int | None = None, **unknown: Any
        ) -> Iterator[Float32]:
            refuse_unknown(self.embed, unknown)
            return self._encode(documents, Role.DOCUMENT)

        def passage_embed(
            self, texts: Iterable[str], batch_size: int = 256, parallel: int | None = None, **unknown: Any
        ) -> Iterator[Float32]:
            refuse_unknown(self.passage_embed, unknown)
            return self._encode(texts, Role.DOCUMENT)

        def query_embed(
            self, query: str | Iterable[str], batch_size: int = 256, parallel: int | None = None, **unknown: Any
        ) -> Iterator[Float32]:
            refuse_unknown(self.query_embed, unknown)
            return self._encode(query, Role.QUERY)

        def _encode(self, texts: str | Iterable[str], role: Role) -> Iterator[Float32]:
            if (newest := MODELS[self.model_name.lower()]) is not self._loaded:
                self._use(newest)  # another encoder was registered since; clients keep this object
            self._options.check_role(self._loaded.profile, role)
            self._encoder = self._encoder or self._loaded.encoder(self._options)
            yield from self._encoder.encode([texts] if isinstance(texts, str) else texts, role=role)

    return JinavecTextEmbedding


def _descriptions() -> list[Any]:
    """Return what fastembed lists of our models."""
    fastembed = require("fastembed.common.model_description", "fastembed")
    return [
        fastembed.DenseModelDescription(
            model=name,
            sources=fastembed.ModelSource(hf=model.profile.source or name),
            model_file="",
            description=model.profile.note,
            license=model.profile.license,
            size_in_GB=0.0,
            dim=model.options(None).dimension,
        )
        for model in dict.fromkeys(MODELS.values())
        for name in names(model.profile)
    ]
