"""Presets: a way to quantize with the search parameters that belong to it; pure, as REST values.

Quantized vectors stay in memory and find the candidates; the originals stay on disk and score them again. Scoring
again without more candidates than hits only reorders them, so every preset that loses something oversamples.
"""

from __future__ import annotations

from typing import Any

from jinavec.errors import InvalidInput
from jinavec_integrations.qdrant.options import Preset, QdrantOptions

Version = tuple[int, int]
DEFAULT: Preset = "scalar"
SHORT_STEPS = [(0.97, 10), (0.999, 30)]
"""(recall@10 reached, candidates per hit that the short vector of a Matryoshka collection finds)."""

Step = tuple[float, float, int]
STEPS: dict[Preset, list[Step]] = {
    "exact": [],
    "scalar": [(0.99, 1.5, 128), (0.999, 4.0, 128)],
    "binary": [(0.80, 3.0, 128), (0.90, 3.5, 128), (0.95, 4.0, 128), (0.99, 6.0, 128), (0.999, 8.0, 256)],
    "binary_asymmetric": [(0.90, 3.0, 128), (0.95, 3.5, 128), (0.98, 4.0, 128), (0.999, 6.0, 256)],
    "turbo": [(0.99, 1.5, 128), (0.999, 2.0, 256)],
}
"""By preset: (recall@10 reached, oversampling, hnsw_ef), as ``benchmarks/qdrant_recall.py`` measures it."""

_METADATA = (1, 16)  # of a collection
_TURBO = (1, 18)
_MEMORY = (1, 19)  # memory placement by name


def check_version(preset: Preset, version: Version) -> None:
    """Refuse what client and server cannot do.

    Raises:
        InvalidInput: the collection needs a later version; the message names it.
    """
    if version < _METADATA:
        raise InvalidInput(_needs("metadata of collections, which hold the contract,", _METADATA, version))
    if preset == "turbo" and version < _TURBO:
        raise InvalidInput(_needs("collections of the preset 'turbo'", _TURBO, version) + "; use 'binary' or 'scalar'")


def _needs(what: str, needed: Version, version: Version) -> str:
    has, wants = (".".join(map(str, v)) for v in (version, needed))
    return f"{what} need Qdrant and qdrant-client {wants} or later, not {has}"


def vectors(
    dimension: int, options: QdrantOptions, version: Version, *, distance: str = "Cosine"
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the vector of a new collection, and the short one of a Matryoshka collection."""
    preset = options.preset or DEFAULT
    quantization = quantize(preset, version)
    full = _placed({"size": dimension, "distance": distance}, "cold", version)
    if preset == "exact":
        full["hnsw_config"] = {"m": 0}  # it scans: a graph would cost hours and memory for nothing
    if options.matryoshka is None:
        return full | ({"quantization_config": quantization} if quantization else {}), None
    short = _placed({"size": options.matryoshka, "distance": distance}, "cached", version)
    full["hnsw_config"] = {"m": 0}  # only scores what the short one finds
    return full, short | ({"quantization_config": quantization} if quantization else {})


def quantize(preset: Preset, version: Version) -> dict[str, Any] | None:
    """Return the quantization of a preset, pinned in memory."""
    pinned: dict[str, Any] = {"memory": "pinned"} if version >= _MEMORY else {"always_ram": True}
    if preset == "scalar":
        return {"scalar": {"type": "int8", "quantile": 0.99, **pinned}}
    if preset == "binary":
        return {"binary": pinned}
    if preset == "binary_asymmetric":
        return {"binary": {"query_encoding": "scalar8bits", **pinned}}
    if preset == "turbo":
        return {"turbo": {"bits": "bits4", **pinned}}
    return None


def search_params(preset: Preset, recall: float, limit: int = 10) -> dict[str, Any]:
    """Return the search parameters of a preset for a target recall of the best ``limit``.

    Of fewer than ten hits, as many candidates are scored as of ten: the few best hide no less among the many.
    """
    steps = STEPS[preset]
    if not steps:
        return {"exact": True}
    _, oversampling, ef = next((step for step in steps if step[0] >= recall), steps[-1])
    return {"hnsw_ef": ef, "quantization": {"rescore": True, "oversampling": oversampling * max(1.0, 10 / limit)}}


def candidates(recall: float, limit: int) -> int:
    """Return how many points the short vector of a Matryoshka collection finds for the full one to score."""
    factor = next((factor for reached, factor in SHORT_STEPS if reached >= recall), SHORT_STEPS[-1][1])
    return factor * max(limit, 10)


def _placed(params: dict[str, Any], memory: str, version: Version) -> dict[str, Any]:
    return params | ({"memory": memory} if version >= _MEMORY else {"on_disk": memory == "cold"})
