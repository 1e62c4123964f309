"""Presets: a way to quantize with the search parameters that belong to it; pure, as REST values.

Quantized vectors stay in memory and find the candidates; the originals stay on disk and score them again. Scoring
again without more candidates than hits only reorders them, so every preset that loses something oversamples.
"""

from __future__ import annotations

from math import inf
from typing import Any

from jinavec.errors import InvalidInput
from jinavec_integrations.qdrant.options import Preset, QdrantOptions

Version = tuple[int, int]
DEFAULT: Preset = "scalar"
SHORT_STEPS = [(0.97, 10), (0.999, 30)]
"""(recall@10 reached, candidates per hit that the short vector of a Matryoshka collection finds)."""

WIDTHS = (64, 256, 384, 768)
"""Dimensions at which recall was measured; another counts as the next smaller of them."""

Step = tuple[float, int, tuple[float, float, float, float]]
STEPS: dict[Preset, list[Step]] = {
    "exact": [],
    "scalar": [
        (1.5, 128, (0.98, 0.99, 0.99, 0.99)),
        (4.0, 256, (0.999, 0.999, 0.998, 0.995)),
        (4.0, 512, (0.999, 0.999, 0.999, 0.999)),
    ],
    "turbo": [
        (1.5, 128, (0.95, 0.98, 0.99, 0.99)),
        (3.0, 128, (0.99, 0.99, 0.99, 0.99)),
        (4.0, 256, (0.995, 0.999, 0.998, 0.995)),
        (6.0, 512, (0.999, 0.999, 0.999, 0.999)),
    ],
    "binary": [
        (4.0, 128, (0.37, 0.62, 0.88, 0.82)),
        (6.0, 128, (0.45, 0.70, 0.92, 0.86)),
        (8.0, 128, (0.51, 0.77, 0.95, 0.89)),
        (12.0, 128, (0.60, 0.84, 0.97, 0.92)),
        (16.0, 128, (0.66, 0.88, 0.98, 0.94)),
    ],
    "binary_asymmetric": [
        (4.0, 128, (0.53, 0.77, 0.96, 0.94)),
        (6.0, 128, (0.62, 0.85, 0.98, 0.96)),
        (8.0, 128, (0.68, 0.89, 0.99, 0.97)),
        (12.0, 128, (0.76, 0.94, 0.99, 0.98)),
        (16.0, 128, (0.82, 0.96, 0.99, 0.98)),
    ],
}
"""By preset: (oversampling, hnsw_ef, recall@10 by ``WIDTHS``): the least that ``benchmarks/qdrant_recall.py`` measures
on synthetic vectors and on real text: sentences of XQuAD in six languages by wordllama-256, MiniLM and lexical.
"""

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


def reach(preset: Preset, dimension: int, most: float = inf) -> float:
    """Return the recall that a preset was measured to reach with at most so much oversampling; 1 where it is exact."""
    column = _column(dimension)
    return max(
        (reached[column] for oversampling, _, reached in STEPS[preset] if oversampling <= most),
        default=0.0 if STEPS[preset] else 1.0,
    )


def search_params(preset: Preset, recall: float, dimension: int, limit: int = 10) -> dict[str, Any]:
    """Return the search parameters of a preset for a target recall of the best ``limit``.

    Of fewer than ten hits, as many candidates are scored as of ten: the few best hide no less among the many.
    """
    steps, column = STEPS[preset], _column(dimension)
    if not steps:
        return {"exact": True}
    oversampling, ef, _ = next((step for step in steps if step[2][column] >= recall), steps[-1])
    return {"hnsw_ef": ef, "quantization": {"rescore": True, "oversampling": oversampling * max(1.0, 10 / limit)}}


def _column(dimension: int) -> int:
    return max([number for number, width in enumerate(WIDTHS) if width <= dimension], default=0)


def candidates(recall: float, limit: int) -> int:
    """Return how many points the short vector of a Matryoshka collection finds for the full one to score."""
    factor = next((factor for reached, factor in SHORT_STEPS if reached >= recall), SHORT_STEPS[-1][1])
    return factor * max(limit, 10)


def _placed(params: dict[str, Any], memory: str, version: Version) -> dict[str, Any]:
    return params | ({"memory": memory} if version >= _MEMORY else {"on_disk": memory == "cold"})
