"""Searcher: the nearest records of one index, by floats, bytes, or bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jinavec.filters import Filter
from jinavec.records import Hit
from jinavec.vectors import Float32, asymmetric
from jinavec_integrations.elasticsearch import queries
from jinavec_integrations.elasticsearch.convert import SOURCE, bits_cosine, query_vector, read_bits, read_hits
from jinavec_integrations.elasticsearch.documents import read_documents
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.mapping import BITS, Layout
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


@dataclass(frozen=True)
class Searcher:
    """Asks one index, as its layout demands."""

    client: Elasticsearch
    index: str
    where: str
    """Index and server, for messages."""
    layout: Layout
    options: ElasticsearchOptions

    def search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        """Return the k nearest records, best first, scored by cosine."""
        if self.layout.storage == "bit":
            return self._search_bits(query, k, condition)
        return read_hits(self.ask(k, knn=self.nearest(query, k, condition), source=SOURCE))

    def nearest(self, query: Float32, k: int, condition: Filter | None) -> dict[str, Any]:
        """Return the ``knn`` section for a query."""
        return queries.nearest(
            self.layout,
            query_vector(query, self.layout),
            k,
            condition,
            candidates=self.options.candidates,
            oversample=self.options.oversample,
        )

    def ask(self, size: int, **body: Any) -> list[dict[str, Any]]:
        """Return the hits of a search request."""
        with reported(self.where):
            return self.client.search(index=self.index, size=size, **body)["hits"]["hits"]

    def _search_bits(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        """Find candidates by Hamming distance, and order them by their floats or by their bits."""
        count = max(k, self.options.candidates or queries.bit_candidates(k, query.size))
        section = self.nearest(query, count, condition)
        if self.layout.float_field:
            ids = [hit["_id"] for hit in self.ask(count, knn=section, source=False)]
            return read_hits(self.ask(k, knn=queries.among(query.tolist(), k, ids), source=SOURCE)) if ids else []
        found = self.ask(count, knn=section, source_includes=[BITS], fields=[BITS])
        scores = bits_cosine(asymmetric(query, read_bits(found, query.size)))
        order: list[int] = np.argsort(-scores, kind="stable")[:k].tolist()
        best: dict[str, float] = {found[position]["_id"]: float(scores[position]) for position in order}
        records = read_documents(self.client, self.index, list(best), self.where)
        return [Hit(records[id], score) for id, score in best.items() if id in records]
