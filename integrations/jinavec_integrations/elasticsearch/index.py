"""ElasticsearchIndex: the engine over one index of an Elasticsearch server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.contract import Contract
from jinavec.encoder import Encoder
from jinavec.engine import Engine, Precision
from jinavec.errors import EngineError, IndexNotFound, InvalidInput, InvalidVectors, RecordsFailed, brief
from jinavec.extras import require
from jinavec.filters import Filter, FilterDict, parse_filter
from jinavec.ingest import Numbered, Steps, ingest_all
from jinavec.options import read_options
from jinavec.records import Hit, Record
from jinavec.vectors import Float32, asymmetric
from jinavec_integrations.elasticsearch import bulk, queries
from jinavec_integrations.elasticsearch.connect import Place, check_client, connect, server_version
from jinavec_integrations.elasticsearch.convert import (
    SOURCE,
    bits_cosine,
    check_record,
    document_id,
    documents,
    query_vector,
    read_bits,
    read_hits,
    read_record,
)
from jinavec_integrations.elasticsearch.faults import Fault, lacks_fusion, refused, reported
from jinavec_integrations.elasticsearch.fusion import RANK_CONSTANT, Fusion, linear, rrf
from jinavec_integrations.elasticsearch.mapping import BITS, Layout, Meta, Version, settings_of
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_GOT = 500
"""Documents asked for at a time."""
_REFRESHED = 8000
"""Documents of an ingest after which they are made searchable: the server works on its graphs meanwhile, and not on all
of them at the end, when nothing is left to embed."""


class ElasticsearchIndex(Engine):
    """An index of an Elasticsearch server, under the contract in its mapping; thread-safe.

    Elasticsearch has no transactions: a record that the server refuses is named in ``RecordsFailed``, and the others of
    the call are stored. Everything that can be checked is checked before the first record is sent.
    """

    options_type = ElasticsearchOptions

    def __init__(self, client: Elasticsearch, place: Place, options: ElasticsearchOptions, version: Version) -> None:
        """Use an index that is there; ``open_target`` finds and creates one.

        Raises:
            IndexNotFound: no such index.
            EngineError, IndexDamaged: it is no index of jinavec.
        """
        self._client: Elasticsearch | None = client
        self._place = place
        self._options = options
        self._version = version
        self._where = str(place)
        meta = self._read_meta(client)
        self.contract, self.layout, self.settings = meta.contract, meta.layout, meta.settings
        self._fuses_here = self.layout.storage == "bit"  # a retriever cannot rescore bits

    @classmethod
    def open_target(cls, location: str, *, contract: Contract | None, encoder: Encoder | None, options: object) -> Self:
        """Open ``elasticsearch:URL/INDEX``; create it if there is a contract and nothing there."""
        chosen = read_options(ElasticsearchOptions, options)
        place = Place.parse(location)
        client = connect(place.server) if chosen.client is None else check_client(chosen.client)
        try:
            version = server_version(client, str(place))
            try:
                index = cls(client, place, chosen, version)
            except IndexNotFound:
                if contract is None:
                    raise
                _create(client, place, contract, encoder, chosen, version)
                index = cls(client, place, chosen, version)
            index._check_options()
            if contract is not None:
                index.contract.check(contract, theirs="the contract" if encoder is None else "the encoder")
            index.encoder = encoder
        except BaseException:
            if chosen.client is None:
                client.close()
            raise
        return index

    @property
    def client(self) -> Elasticsearch:
        """The client, for what this class does not offer.

        Raises:
            EngineError: the index was closed.
        """
        if self._client is None:
            raise EngineError(f"the index {self._where} is closed; open it again")
        return self._client

    def count(self) -> int:
        """Return the number of records."""
        with reported(self._where):
            return int(self.client.count(index=self._place.index)["count"])

    @property
    def vector_precision(self) -> Precision:
        """float32 where the storage keeps floats; else int8 (byte) or bits (bit)."""
        if self.layout.float_field:
            return "float32"
        return "int8" if self.layout.storage == "byte" else "bits"

    def info(self) -> dict[str, Any]:
        """Return server, storage, counts, bytes, contract and encoder settings, as plain JSON values."""
        records = self.count()
        return {
            "engine": "elasticsearch",
            "server": self._place.server,
            "index": self._place.index,
            "version": ".".join(map(str, self._version)),
            "records": records,
            "storage": self.layout.storage,
            "rescore": self.layout.rescore,
            "bytes": self._bytes(),
            "contract": self.contract.to_json(),
            "encoder": None if self.settings is None else self.settings.to_json(),
        }

    def close(self) -> None:
        """Close the connections, unless the client was given; closing twice is allowed."""
        if self._client is not None and self._options.client is None:
            self._client.close()
        self._client = None

    def ingest(
        self,
        records: Iterable[Record],
        vectors: ArrayLike | None = None,
        *,
        resume: bool = False,
        batch: int = 1000,
        threads: int = 2,
        progress: Callable[[int], None] | None = None,
        on_failure: Callable[[str, str], None] | None = None,
    ) -> int:
        """Store records as they come, embedding while earlier ones are sent; memory does not grow with their number.

        Args:
            records: read as fast as they are stored.
            vectors: (n, dimension), a row for each record, such as a memory-mapped file; without them the engine's
                encoder embeds the texts.
            resume: pass over records that are stored already, with the same text and metadata.
            batch: records embedded and sent at a time.
            threads: requests under way at a time.
            progress: called with the number of records done so far.
            on_failure: called with id and reason of each record the server refused; without it they are raised at the
                end, when everything else is stored.

        Returns:
            The number of records stored, without those passed over.

        Raises:
            RecordsFailed: names those that were not stored.
            InvalidRecord, InvalidVectors, EngineError: ends the run; what ``progress`` counted is stored.
        """
        rows = None if vectors is None else np.asarray(vectors)
        refused: dict[str, str] = {}
        count = 0

        def done(more: int, failed: Mapping[str, str]) -> None:
            nonlocal count
            count += more
            for id, why in failed.items():
                (refused.__setitem__ if on_failure is None else on_failure)(id, why)
            if progress is not None:
                progress(count)

        unseen, lock = 0, Lock()

        def store(changed: list[Record], vectors: Float32) -> dict[str, str]:
            nonlocal unseen
            failed = self._store(changed, vectors)
            with lock:
                unseen += len(changed)
                due = unseen >= _REFRESHED
                unseen = 0 if due else unseen
            if due:
                self._refresh()
            return failed

        steps = Steps(
            check=self._check_record,
            stored=(lambda given: self.get([record.id for record in given])) if resume else lambda _: [],
            embed=self._embed if rows is None else lambda numbered, _: self._rows(rows, numbered),
            store=store,
            done=done,
        )
        if rows is None:
            self._need_encoder("vectors")
        self._prepare()
        try:
            stored = ingest_all(records, steps, batch=batch, threads=threads)
        finally:
            self._refresh()
        if refused:
            raise RecordsFailed(self._where, count, refused)
        if rows is not None and len(rows) != count:
            raise InvalidVectors(f"there are {len(rows)} vectors, and only {count} records, which are stored")
        return stored

    def hybrid(
        self,
        text: str,
        k: int = 10,
        filter: FilterDict | None = None,
        *,
        fusion: Fusion = "rrf",
        weight: float = 0.5,
        window: int = 100,
        local: bool | None = None,
    ) -> list[Hit]:
        """Return the k best records by words (BM25) and by vectors together, best first.

        Args:
            text: the question; its vector comes from the engine's encoder.
            k: the number of hits.
            filter: a filter on the metadata.
            fusion: rrf (reciprocal rank) or linear (scores scaled to [0, 1]).
            weight: of the vectors in a linear fusion; the words have the rest.
            window: hits of each side that are fused; at least k.
            local: fuse here and not in the server; by default where the server's licence or version demands it.

        Returns:
            Hits whose score is the fused one in [0, 1], 1 for what is first on both sides; it is no cosine.

        Raises:
            InvalidInput: a value that cannot be used, or an index opened without an encoder.
        """
        _check_fusion(k, fusion, weight, window)
        condition = None if filter is None else parse_filter(filter)
        vector = self._need_encoder("a query vector to search()").encode_queries([text])[0]
        window = min(max(window, k), queries.MOST)
        by_words = queries.words(text, condition)
        if not (self._fuses_here if local is None else local):
            knn = self._nearest(query_vector(vector, self.layout), window, condition)
            if fusion == "rrf":
                retriever, most = queries.rrf(knn, by_words, window, RANK_CONSTANT), 2 / (RANK_CONSTANT + 1)
            else:
                retriever, most = queries.linear(knn, by_words, window, weight), 1.0
            self._check_meta()
            found = self._retrieve(retriever, k, may_fail=local is None)
            if found is not None:
                return [Hit(read_record(hit), min(1.0, hit["_score"] / most)) for hit in found]
        return self._fuse(self._search(vector, window, condition), by_words, k, fusion, weight, window)

    def _retrieve(self, retriever: dict[str, Any], k: int, *, may_fail: bool) -> list[dict[str, Any]] | None:
        """Return the hits of a retriever, or None where the server does not have it and that is allowed."""
        errors = require("elasticsearch", "elasticsearch")
        with reported(self._where):
            try:
                return self._ask(k, retriever=retriever, source=SOURCE)
            except errors.ApiError as error:
                if not (may_fail and lacks_fusion(Fault.read(error.meta.status, error.body))):
                    raise
                self._fuses_here = True
                return None

    def _fuse(
        self, by_vector: list[Hit], words: dict[str, Any], k: int, fusion: Fusion, weight: float, window: int
    ) -> list[Hit]:
        with reported(self._where):
            found = self._ask(window, query=words, source=SOURCE)
        by_words = {(record := read_record(hit)).id: (record, float(hit["_score"])) for hit in found}
        records = {id: record for id, (record, _) in by_words.items()} | {
            hit.record.id: hit.record for hit in by_vector
        }
        if fusion == "rrf":
            scores, most = rrf([list(by_words), [hit.record.id for hit in by_vector]]), 2 / (RANK_CONSTANT + 1)
        else:
            sides = [{id: score for id, (_, score) in by_words.items()}, {h.record.id: h.score for h in by_vector}]
            scores, most = linear(sides, [1 - weight, weight]), 1.0
        return [Hit(records[id], min(1.0, score / most)) for id, score in list(scores.items())[:k]]

    def _add(self, records: list[Record], vectors: Float32) -> None:
        for record in records:
            self._check_record(record)
        self._prepare()
        refused = self._store(records, vectors)
        self._refresh()
        if refused:
            raise RecordsFailed(self._where, len(records), refused)

    def _check_record(self, record: Record) -> None:
        check_record(record, self.contract.dimension)

    def _prepare(self) -> None:
        """Make sure that what will be stored belongs here."""
        self._check_meta()
        self._remember_settings()

    def _embed(self, numbered: list[Numbered], check: Callable[[], None]) -> Float32:
        texts = [record.text for _, record in numbered]

        def advance(done: int, total: int) -> None:
            check()

        return self._need_encoder("vectors").encode_documents(texts, progress=advance)

    def _rows(self, vectors: NDArray[Any], numbered: list[Numbered]) -> Float32:
        numbers = [number for number, _ in numbered]
        if numbers and numbers[-1] >= len(vectors):
            raise InvalidVectors(f"there are {len(vectors)} vectors, and more records than that")
        return self._check_vectors(vectors[numbers], len(numbers))

    def _store(self, records: list[Record], vectors: Float32) -> dict[str, str]:
        """Send records; return why, by id, for those that were refused."""
        actions = documents(records, vectors, self.layout, self._version)
        answers = dict(bulk.send(self.client, self._place.index, actions, self._where))
        reasons = {record.id: answers.get(document_id(record.id) or "", "no answer came for it") for record in records}
        return {id: why for id, why in reasons.items() if why}

    def _delete(self, ids: list[str]) -> int:
        actions = [{"_op_type": "delete", "_id": id} for id in map(document_id, ids) if id is not None]
        client = self.client
        if not actions:
            return 0
        answers = dict(bulk.send(client, self._place.index, actions, self._where))
        self._refresh()
        failed = [why for why in answers.values() if why not in ("", "not found")]
        if failed:
            raise EngineError(f"{self._where} did not delete {len(failed)} of {len(actions)} records: {failed[0]}")
        return sum(not why for why in answers.values())

    def _get(self, ids: list[str]) -> list[Record]:
        client = self.client
        wanted = [id for id in map(document_id, ids) if id is not None]
        found: list[Record] = []
        with reported(self._where):
            for first in range(0, len(wanted), _GOT):
                answer = client.mget(index=self._place.index, ids=wanted[first : first + _GOT], source_includes=SOURCE)
                for document in answer["docs"]:
                    if "error" in document:
                        raise refused(document, 400, self._where)
                    if document["found"]:
                        found.append(read_record(document))
        return found

    def _search(self, query: Float32, k: int, condition: Filter | None) -> list[Hit]:
        self._check_meta()
        k = self._reachable(k)
        vector = query_vector(query, self.layout)
        with reported(self._where):
            if self.layout.storage == "bit":
                return self._search_bits(query, vector, k, condition)
            return read_hits(self._ask(k, knn=self._nearest(vector, k, condition), source=SOURCE))

    def _search_bits(self, query: Float32, vector: Any, k: int, condition: Filter | None) -> list[Hit]:
        """Find candidates by Hamming distance, and order them by their floats or by their bits."""
        count = max(k, self._options.candidates or queries.bit_candidates(k, self.contract.dimension))
        section = self._nearest(vector, count, condition)
        if self.layout.float_field:
            ids = [hit["_id"] for hit in self._ask(count, knn=section, source=False)]
            return read_hits(self._ask(k, knn=queries.among(query.tolist(), k, ids), source=SOURCE)) if ids else []
        found = self._ask(count, knn=section, source_includes=[BITS], fields=[BITS])
        codes = read_bits(found, self.contract.dimension)
        scores = bits_cosine(asymmetric(query, codes))
        best = (-scores).argsort(kind="stable")[:k].tolist()
        records = {record.id: record for record in self._get([found[row]["_id"] for row in best])}
        return [Hit(record, float(scores[row])) for row, record in zip(best, records.values(), strict=True)]

    def _nearest(self, vector: Any, k: int, condition: Filter | None) -> dict[str, Any]:
        candidates, oversample = self._options.candidates, self._options.oversample
        return queries.nearest(self.layout, vector, k, condition, candidates=candidates, oversample=oversample)

    def _ask(self, size: int, **body: Any) -> list[dict[str, Any]]:
        return self.client.search(index=self._place.index, size=size, **body)["hits"]["hits"]

    def _refresh(self) -> None:
        """Make what was stored searchable."""
        with reported(self._where):
            self.client.indices.refresh(index=self._place.index)

    def _reachable(self, k: int) -> int:
        """Return k, or the number of records where it asks for more than there are."""
        if k <= queries.MOST:
            return k
        count = self.count()
        if count > queries.MOST:
            raise InvalidInput(
                f"k={brief(k)}: Elasticsearch gives at most {queries.MOST} hits, and the index holds {count} records"
            )
        return max(count, 1)

    def _bytes(self) -> int | None:
        """Return the size on disk, where the server tells it: serverless ones do not."""
        try:
            with reported(self._where):
                stats = self.client.indices.stats(index=self._place.index, metric="store")
        except EngineError:
            return None
        return int(stats["_all"]["primaries"]["store"]["size_in_bytes"])

    def _check_options(self) -> None:
        for name in ("storage", "rescore"):
            wanted, kept = getattr(self._options, name), getattr(self.layout, name)
            if wanted not in (None, kept):
                raise InvalidInput(
                    f"{self._where}: the index has {name} {kept!r}, not {wanted!r}; it is chosen when an index is made"
                )

    def _check_meta(self) -> Meta:
        """Compare the contract with the one in the mapping now: the index may have been made anew since."""
        meta = self._read_meta(self.client)
        meta.contract.check(self.contract, ours="the index", theirs="what was opened")
        if meta.layout != self.layout:
            raise EngineError(f"{self._where}: the index was made anew with another storage; open it again")
        return meta

    def _read_meta(self, client: Elasticsearch) -> Meta:
        with reported(self._where):
            mappings = client.indices.get_mapping(index=self._place.index).body
        if len(mappings) != 1:
            raise EngineError(f"{self._where}: the name stands for {len(mappings)} indices; name one of them")
        (found,) = mappings.values()
        meta = Meta.read(self._where, found["mappings"])
        meta.check_fields(self._where, found["mappings"])
        return meta

    def _remember_settings(self) -> None:
        used = None if self.encoder is None else self.encoder.settings
        if used is None or (self.settings is not None and used.to_json() == self.settings.to_json()):
            return
        with reported(self._where):
            (found,) = self.client.indices.get_mapping(index=self._place.index).body.values()
            meta = Meta.read(self._where, found["mappings"]).with_settings(used)
            content = {**found["mappings"]["_meta"], **meta.to_json()}
            self.client.indices.put_mapping(index=self._place.index, meta=content)
        self.settings = used

    def __repr__(self) -> str:
        return f"ElasticsearchIndex({self._where!r}, storage={self.layout.storage!r})"


def _create(
    client: Elasticsearch,
    place: Place,
    contract: Contract,
    encoder: Encoder | None,
    options: ElasticsearchOptions,
    version: Version,
) -> None:
    layout = Layout.choose(options, contract.dimension, version)
    meta = Meta(contract=contract, layout=layout, settings=None if encoder is None else encoder.settings)
    errors = require("elasticsearch", "elasticsearch")
    with reported(str(place)):
        try:
            client.indices.create(index=place.index, mappings=meta.mapping(), settings=settings_of(options))
        except errors.BadRequestError as error:
            if error.message != "resource_already_exists_exception":
                raise  # else someone else was quicker


def _check_fusion(k: int, fusion: str, weight: float, window: int) -> None:
    if not 1 <= k <= queries.MOST:
        raise InvalidInput(f"k must lie between 1 and {queries.MOST}, not {brief(k)}")
    if fusion not in get_args(Fusion):
        raise InvalidInput(f"fusion is 'rrf' or 'linear', not {brief(fusion)}")
    if not 0 <= weight <= 1:
        raise InvalidInput(f"weight is the vectors' part, between 0 and 1, not {brief(weight)}")
    if window < 1:
        raise InvalidInput(f"window must be at least 1, not {brief(window)}")
