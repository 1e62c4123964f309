"""Searcher: the nearest records of one index, by floats, bytes, or bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jinavec.filters import Filter
from jinavec.records import Hit
from jinavec.vectors import Float32, asymmetric
from jinavec_integrations.elasticsearch import queries
from jinavec_integrations.elasticsearch.calls import Call, Steps
from jinavec_integrations.elasticsearch.convert import bits_cosine, query_vector, read_bits, read_hits
from jinavec_integrations.elasticsearch.documents import read_documents
from jinavec_integrations.elasticsearch.filters import Places, Query, translate
from jinavec_integrations.elasticsearch.mapping import Layout
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions


@dataclass(frozen=True)
class Searcher:
    """Asks one index, as its layout demands."""

    index: str
    where: str
    """Index and server, for messages."""
    layout: Layout
    places: Places
    options: ElasticsearchOptions

    def search(self, query: Float32, k: int, condition: Filter | None) -> Steps[list[Hit]]:
        """Return the k nearest records, best first, scored by cosine."""
        if self.layout.storage == "bit":
            return (yield from self._search_bits(query, k, condition))
        found = yield from self.ask(k, knn=self.nearest(query, k, condition), source=self.layout.names.source)
        return read_hits(found, self.layout)

    def nearest(self, query: Float32, k: int, condition: Filter | None) -> dict[str, Any]:
        """Return the ``knn`` section for a query."""
        return queries.nearest(
            self.layout,
            query_vector(query, self.layout),
            k,
            self.filter(condition),
            candidates=self.options.candidates,
            oversample=self.options.oversample,
        )

    def words(self, text: str, condition: Filter | None) -> Query:
        """Return the query by the words of a text."""
        return queries.words(self.layout.names.text, text, self.filter(condition))

    def filter(self, condition: Filter | None) -> Query | None:
        """Return the query of a filter."""
        return None if condition is None else translate(condition, self.places)

    def ask(self, size: int, **body: Any) -> Steps[list[dict[str, Any]]]:
        """Return the hits of a search request."""
        answer = yield Call("search", {"index": self.index, "size": size, **body})
        return answer["hits"]["hits"]

    def _search_bits(self, query: Float32, k: int, condition: Filter | None) -> Steps[list[Hit]]:
        """Find candidates by Hamming distance, and order them by their floats or by their bits."""
        names = self.layout.names
        count = max(k, self.options.candidates or queries.bit_candidates(k, query.size))
        section = self.nearest(query, count, condition)
        if self.layout.float_field:
            ids = [hit["_id"] for hit in (yield from self.ask(count, knn=section, source=False))]
            if not ids:
                return []
            exact = queries.among(names.vector, query.tolist(), k, ids)
            return read_hits((yield from self.ask(k, knn=exact, source=names.source)), self.layout)
        found = yield from self.ask(count, knn=section, source_includes=[names.bits], fields=[names.bits])
        scores = bits_cosine(asymmetric(query, read_bits(found, query.size, names.bits)))
        order: list[int] = np.argsort(-scores, kind="stable")[:k].tolist()
        best: dict[str, float] = {found[position]["_id"]: float(scores[position]) for position in order}
        records = yield from read_documents(self.index, list(best), self.layout, self.where)
        return [Hit(records[id], score) for id, score in best.items() if id in records]
