"""Hybrid search: words (BM25) and vectors in one ranking, fused by the server or, where it cannot, here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from jinavec.errors import InvalidInput, brief
from jinavec.filters import Filter
from jinavec.records import Hit
from jinavec.vectors import Float32
from jinavec_integrations.elasticsearch import queries
from jinavec_integrations.elasticsearch.calls import Steps
from jinavec_integrations.elasticsearch.convert import read_record
from jinavec_integrations.elasticsearch.fusion import RANK_CONSTANT, Fusion, linear, rrf
from jinavec_integrations.elasticsearch.search import Searcher


@dataclass(frozen=True, kw_only=True)
class Blend:
    """How the two rankings become one.

    Raises:
        InvalidInput: a value that cannot be used.
    """

    k: int
    fusion: Fusion
    weight: float
    """Of the vectors in a linear fusion; the words have the rest."""
    window: int
    """Hits of each side that are fused; at least k."""

    def __post_init__(self) -> None:
        if not 1 <= self.k <= queries.MOST:
            raise InvalidInput(f"k must lie between 1 and {queries.MOST}, not {brief(self.k)}")
        if self.fusion not in get_args(Fusion):
            raise InvalidInput(f"fusion is 'rrf' or 'linear', not {brief(self.fusion)}")
        if not 0 <= self.weight <= 1:
            raise InvalidInput(f"weight is the vectors' part, between 0 and 1, not {brief(self.weight)}")
        if self.window < 1:
            raise InvalidInput(f"window must be at least 1, not {brief(self.window)}")

    @property
    def depth(self) -> int:
        """Hits of each side that are asked for."""
        return min(max(self.window, self.k), queries.MOST)

    @property
    def best(self) -> float:
        """The score of a record that is first on both sides."""
        return 2 / (RANK_CONSTANT + 1) if self.fusion == "rrf" else 1.0


def fuse_on_server(
    searcher: Searcher, text: str, vector: Float32, condition: Filter | None, blend: Blend
) -> Steps[list[Hit]]:
    """Ask for both rankings, fused by one of Elasticsearch's retrievers."""
    knn, words = searcher.nearest(vector, blend.depth, condition), searcher.words(text, condition)
    if blend.fusion == "rrf":
        retriever = queries.rrf(knn, words, blend.depth, RANK_CONSTANT)
    else:
        retriever = queries.linear(knn, words, blend.depth, blend.weight)
    found = yield from searcher.ask(blend.k, retriever=retriever, source=searcher.layout.names.source)
    return [Hit(read_record(hit, searcher.layout), min(1.0, hit["_score"] / blend.best)) for hit in found]


def fuse_here(
    searcher: Searcher, text: str, vector: Float32, condition: Filter | None, blend: Blend
) -> Steps[list[Hit]]:
    """Ask for both rankings one after the other, and fuse them as the retrievers do."""
    layout = searcher.layout
    found = yield from searcher.ask(blend.depth, query=searcher.words(text, condition), source=layout.names.source)
    by_words = [Hit(read_record(hit, layout), float(hit["_score"])) for hit in found]
    by_vector = yield from searcher.search(vector, blend.depth, condition)
    if blend.fusion == "rrf":
        scores = rrf([[hit.record.id for hit in side] for side in (by_words, by_vector)])
    else:
        sides = [{hit.record.id: hit.score for hit in side} for side in (by_words, by_vector)]
        scores = linear(sides, [1 - blend.weight, blend.weight])
    records = {hit.record.id: hit.record for hit in (*by_words, *by_vector)}
    return [Hit(records[id], min(1.0, score / blend.best)) for id, score in list(scores.items())[: blend.k]]
