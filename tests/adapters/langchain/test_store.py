from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the extra langchain")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from tests.support.two_roles import TWO_ROLES

from jinavec import Contract, Encoder, Task, open_engine
from jinavec.errors import ContractMismatch, InvalidFilter, InvalidInput, InvalidRecord, InvalidType, InvalidVectors
from jinavec.vectors import normalize, to_int8
from jinavec_adapters.langchain import BinaryRetriever, BinaryVectorStore, JinaV5Embeddings
from jinavec_integrations.faiss import BinaryIndex

from .encoders import Watched, keeps_the_loop_free

TOPICS = ("cats", "dogs", "birds")
TEXTS = [f"{TOPICS[number % 3]} and the number {number} {'x' * (number % 7)}" for number in range(40)]
METADATAS = [{"topic": TOPICS[number % 3], "number": number, "tags": ["all", str(number % 4)]} for number in range(40)]
IDS = [f"id {number}" for number in range(40)]
EMBEDDINGS = JinaV5Embeddings(model=TWO_ROLES, dimension=128)
VECTORS = Encoder.load(TWO_ROLES, dimension=128).encode_documents(TEXTS)


class SixWide(DeterministicFakeEmbedding):
    """Neither ours nor normalised, and of a width that is no multiple of 8."""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[BinaryVectorStore]:
    with BinaryVectorStore(path=tmp_path / "index", embedding=EMBEDDINGS) as store:
        yield store


@pytest.fixture
def store(empty: BinaryVectorStore) -> BinaryVectorStore:
    assert empty.add_texts(TEXTS, METADATAS, ids=IDS) == IDS
    return empty


def oracle(query: str, k: int) -> list[tuple[str, float]]:
    """Exact search over the vectors as int8 keeps them."""
    scores = normalize(to_int8(VECTORS)) @ np.asarray(EMBEDDINGS.embed_query(query), np.float32)
    best = np.argsort(-scores, kind="stable")[:k]
    return [(TEXTS[number], float(scores[number])) for number in best]


# searching


def test_searches_like_exact_search(store: BinaryVectorStore) -> None:
    for query in ("dogs and the number 7", "birds", "17"):
        found = store.similarity_search_with_score(query, k=7)
        wanted = oracle(query, 7)
        assert [document.page_content for document, _ in found] == [text for text, _ in wanted]
        np.testing.assert_allclose([score for _, score in found], [score for _, score in wanted], atol=1e-5)
        assert store.similarity_search(query, k=7) == [document for document, _ in found]
        assert store.similarity_search_by_vector(EMBEDDINGS.embed_query(query), k=7) == [doc for doc, _ in found]


def test_relevance_is_the_score_on_a_scale_from_0_to_1(store: BinaryVectorStore) -> None:
    scored = store.similarity_search_with_score("cats", k=40)
    relevant = store.similarity_search_with_relevance_scores("cats", k=40)
    assert [score for _, score in relevant] == [(1 + score) / 2 for _, score in scored]
    assert all(0 <= score <= 1 for _, score in relevant)
    middle = relevant[20][1]
    kept = store.similarity_search_with_relevance_scores("cats", k=40, score_threshold=middle)
    assert kept == [pair for pair in relevant if pair[1] >= middle]


def test_async_twins_give_the_same(store: BinaryVectorStore) -> None:
    vector = EMBEDDINGS.embed_query("dogs")
    even: Any = {"filter": {"topic": "dogs"}}

    async def run() -> None:
        assert await store.asimilarity_search("dogs", 5, **even) == store.similarity_search("dogs", 5, **even)
        assert await store.asimilarity_search_with_score("dogs") == store.similarity_search_with_score("dogs")
        assert await store.asimilarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
        assert await store.asimilarity_search_with_relevance_scores(
            "dogs"
        ) == store.similarity_search_with_relevance_scores("dogs")
        assert await store.amax_marginal_relevance_search("dogs") == store.max_marginal_relevance_search("dogs")
        assert await store.amax_marginal_relevance_search_by_vector(
            vector
        ) == store.max_marginal_relevance_search_by_vector(vector)
        assert await store.aget_by_ids(IDS[:3]) == store.get_by_ids(IDS[:3])
        await store.adelete(IDS[:3])
        assert store.get_by_ids(IDS[:4]) == await store.aget_by_ids(IDS[3:4])

    asyncio.run(run())


def test_async_leaves_the_event_loop_free(tmp_path: Path) -> None:
    backend = Watched()
    embeddings = JinaV5Embeddings.from_encoder(Encoder(TWO_ROLES, backend))

    async def run() -> None:
        store = await BinaryVectorStore.afrom_texts([], embeddings, path=tmp_path / "index")
        await keeps_the_loop_free(backend, asyncio.ensure_future(store.aadd_texts(["a"], ids=["a"])))
        backend.gate.clear()
        await keeps_the_loop_free(backend, asyncio.ensure_future(store.asimilarity_search("a")))
        assert [document.id for document in await store.aget_by_ids(["a"])] == ["a"]

    asyncio.run(run())


Call = Callable[[BinaryVectorStore, list[float]], Any]
ASYNC_CALLS: dict[str, tuple[str, Call]] = {
    "aadd_documents": ("add", lambda store, vector: store.aadd_documents([Document("a")])),
    "aadd_texts": ("add", lambda store, vector: store.aadd_texts(["a"])),
    "adelete": ("delete", lambda store, vector: store.adelete(["id 1"])),
    "aget_by_ids": ("get", lambda store, vector: store.aget_by_ids(["id 1"])),
    "amax_marginal_relevance_search": ("vectors", lambda store, vector: store.amax_marginal_relevance_search("a")),
    "asimilarity_search": ("search", lambda store, vector: store.asimilarity_search("a")),
    "asimilarity_search_by_vector": ("search", lambda store, vector: store.asimilarity_search_by_vector(vector)),
    "asimilarity_search_with_score": ("search", lambda store, vector: store.asimilarity_search_with_score("a")),
    "retriever": ("search", lambda store, vector: store.as_retriever(k=3).ainvoke("a")),
}


@pytest.mark.parametrize("name", ASYNC_CALLS)
async def test_the_event_loop_turns_while_the_index_works(
    name: str, store: BinaryVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index waits for the event loop: on a blocked one it would wait in vain."""
    method, call = ASYNC_CALLS[name]
    begun, turned, work = threading.Event(), threading.Event(), getattr(BinaryIndex, method)

    def patient(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert turned.wait(120), "the event loop stood still"
        return work(*args, **kwargs)

    monkeypatch.setattr(BinaryIndex, method, patient)
    task, turns = asyncio.ensure_future(call(store, EMBEDDINGS.embed_query("a"))), 0
    while turns < 100 and not task.done():
        turns += begun.is_set()
        await asyncio.sleep(0)
    turned.set()
    await task
    assert turns == 100


def test_many_threads_add_and_search_at_once(empty: BinaryVectorStore) -> None:
    def work(number: int) -> list[str | None]:
        empty.add_texts([TEXTS[number]], ids=[IDS[number]])
        assert empty.get_by_ids([IDS[number]])
        return [document.id for document in empty.similarity_search(TEXTS[number], k=1)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [[id] for id in IDS]
    assert empty.index is not None and empty.index.count() == 40


def test_mmr_picks_what_the_definition_picks(store: BinaryVectorStore) -> None:
    query = "dogs and the number 7"
    vector = np.asarray(EMBEDDINGS.embed_query(query))
    stored = normalize(to_int8(VECTORS)).astype(np.float64)
    candidates = [TEXTS.index(text) for text, _ in oracle(query, 12)]
    picked: list[int] = []
    while len(picked) < 5:  # the definition, word by word
        rest = [number for number in candidates if number not in picked]
        gain = [
            0.3 * (stored[number] @ vector) - 0.7 * max((stored[number] @ stored[other] for other in picked), default=0)
            for number in rest
        ]
        picked.append(rest[int(np.argmax(gain))])
    found = store.max_marginal_relevance_search(query, k=5, fetch_k=12, lambda_mult=0.3)
    assert [document.page_content for document in found] == [TEXTS[number] for number in picked]
    assert found != store.similarity_search(query, k=5)


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
def test_mmr_picks_what_langchain_picks(store: BinaryVectorStore, weight: float) -> None:
    assert store.index is not None
    stored = store.index.vectors(store.index.ids())
    for query in ("dogs and the number 7", "birds"):
        vector = EMBEDDINGS.embed_query(query)
        nearest = store.similarity_search_by_vector(vector, k=20)
        candidates = [stored[document.id or ""].tolist() for document in nearest]
        theirs = maximal_marginal_relevance(np.asarray(vector), candidates, weight, k=8)
        ours = store.max_marginal_relevance_search(query, k=8, lambda_mult=weight)
        assert ours == [nearest[number] for number in theirs]


def test_mmr_refuses_a_weight_outside_0_to_1(store: BinaryVectorStore) -> None:
    with pytest.raises(InvalidInput, match=r"from 0 to 1, not 1\.5"):
        store.max_marginal_relevance_search("dogs", lambda_mult=1.5)


def test_mmr_filters_and_fetches_at_least_k(store: BinaryVectorStore) -> None:
    found = store.max_marginal_relevance_search("dogs", k=30, fetch_k=2)
    assert len({document.id for document in found}) == 30
    found = store.max_marginal_relevance_search("dogs", k=3, filter={"topic": "birds"})
    assert {document.metadata["topic"] for document in found} == {"birds"}


FILTERS: list[tuple[dict[str, Any] | Callable[[Document], bool], Callable[[dict[str, Any]], bool]]] = [
    ({"topic": "cats"}, lambda m: m["topic"] == "cats"),
    ({"topic": {"in": ["cats", "dogs"]}}, lambda m: m["topic"] in ("cats", "dogs")),
    ({"number": {"gte": 10, "lt": 20}}, lambda m: 10 <= m["number"] < 20),
    ({"or": [{"topic": {"ne": "cats"}}, {"number": 0}]}, lambda m: m["topic"] != "cats" or m["number"] == 0),
    ({"not": {"tags": "3"}}, lambda m: "3" not in m["tags"]),
    (lambda document: document.metadata["number"] > 35, lambda m: m["number"] > 35),
    (lambda document: "number 3 " in document.page_content, lambda m: m["number"] == 3),
    (lambda document: False, lambda m: False),
]


@pytest.mark.parametrize(("condition", "passes"), FILTERS)
def test_filters_come_before_the_search(store: BinaryVectorStore, condition: Any, passes: Any) -> None:
    passing = [text for text, metadata in zip(TEXTS, METADATAS, strict=True) if passes(metadata)]
    ranked = [text for text, _ in oracle("birds", 40) if text in passing]
    for k in (2, 40):
        found = store.similarity_search("birds", k=k, filter=condition)
        assert [document.page_content for document in found] == ranked[:k]


def test_bad_searches_are_refused(store: BinaryVectorStore) -> None:
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"k": 0}, InvalidInput),
        ({"filter": {"topic": {"like": "c"}}}, InvalidFilter),
        ({"filter": "topic"}, InvalidFilter),
        ({"filters": {"topic": "cats"}}, TypeError),
    ]
    for bad, error in refused:
        with pytest.raises(error):
            store.similarity_search("cats", **bad)
        with pytest.raises(error):
            store.max_marginal_relevance_search("cats", **bad)
    with pytest.raises(InvalidVectors):
        store.similarity_search_by_vector([1.0] * 64)


# adding and deleting


def test_generators_are_used_up_once(empty: BinaryVectorStore) -> None:
    ids = empty.add_texts((text for text in TEXTS), (metadata for metadata in METADATAS), ids=(id for id in IDS))
    assert ids == IDS
    documents = (Document(id=f"new {number}", page_content=text) for number, text in enumerate(TEXTS))
    assert len(empty.add_documents(documents)) == 40
    assert asyncio.run(empty.aadd_texts(text for text in TEXTS[:3])) != []
    assert empty.index is not None and empty.index.count() == 83


BAD: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"texts": ["a", "b"], "ids": ["1"]}, InvalidInput),
    ({"texts": ["a", "b"], "metadatas": [{}]}, InvalidInput),
    ({"texts": ["a"], "ids": ["1", "2"]}, InvalidInput),
    ({"texts": ["a"], "ids": []}, InvalidInput),
    ({"texts": ["a"], "ids": [""]}, InvalidRecord),
    ({"texts": ["a"], "ids": [3]}, InvalidRecord),
    ({"texts": ["a"], "metadatas": [{"x": object()}]}, InvalidRecord),
    ({"texts": "one text"}, InvalidType),
    ({"texts": ["a"], "ids": "i"}, InvalidType),
]


@pytest.mark.parametrize(("arguments", "error"), BAD)
def test_what_does_not_fit_is_refused_and_nothing_stored(
    empty: BinaryVectorStore, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        empty.add_texts(**arguments)
    with pytest.raises(error):
        asyncio.run(empty.aadd_texts(**arguments))
    assert empty.index is not None and empty.index.count() == 0


def test_ids_given_beat_those_of_the_documents_and_missing_ones_are_made(empty: BinaryVectorStore) -> None:
    documents = [Document(id="a", page_content="one"), Document(page_content="two")]
    first, second = empty.add_documents(documents)
    assert first == "a" and second not in ("a", "None", "")
    assert empty.add_documents(documents, ids=["x", "y"]) == ["x", "y"]
    assert documents[1].id is None


def test_documents_and_their_metadata_are_copies(store: BinaryVectorStore) -> None:
    metadata = {"list": [1]}
    store.add_texts(["new"], [metadata], ids=["new"])
    metadata["list"].append(2)
    (found,) = store.get_by_ids(["new"])
    assert found == Document(id="new", page_content="new", metadata={"list": [1]})
    found.metadata["list"] = []
    assert store.get_by_ids(["new"])[0].metadata == {"list": [1]}


def test_delete(store: BinaryVectorStore) -> None:
    assert store.delete(["id 1", "no such id"]) is True
    assert len(store.similarity_search("cats", k=100)) == 39
    assert store.delete() is True
    assert store.similarity_search("cats", k=100) == []
    store.add_texts(["a"], ids=["id 1"])
    assert [document.page_content for document in store.similarity_search("cats")] == ["a"]


def test_a_filter_in_the_place_of_ids_deletes_nothing(store: BinaryVectorStore) -> None:
    wrong: Any = {"topic": "dogs"}
    with pytest.raises(InvalidType, match="ids are strings"):
        store.delete(wrong)
    one: Any = "id 1"
    assert [document.id for document in store.get_by_ids(one)] == ["id 1"]
    assert len(store.get_by_ids(IDS)) == len(IDS)


@pytest.mark.parametrize("as_function", [False, True])
def test_delete_by_a_filter(store: BinaryVectorStore, as_function: bool) -> None:
    def is_dog(document: Document) -> bool:
        return document.metadata["topic"] == "dogs"

    dogs: Any = is_dog if as_function else {"topic": "dogs"}
    assert store.delete(filter=dogs) is True
    kept = [id for id, metadata in zip(IDS, METADATAS, strict=True) if metadata["topic"] != "dogs"]
    assert [document.id for document in store.get_by_ids(IDS)] == kept
    assert asyncio.run(store.adelete(filter={"topic": "cats", "number": {"lt": 9}})) is True
    assert [document.id for document in store.get_by_ids(IDS)] == [
        id for id in kept if id not in ("id 0", "id 3", "id 6")
    ]


def test_an_empty_filter_deletes_nothing(store: BinaryVectorStore, tmp_path: Path) -> None:
    empty: list[Any] = [{}, None]
    for bad in empty:
        with pytest.raises(InvalidFilter, match="empty filter"):
            store.delete(filter=bad)  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidFilter, match="empty filter"):
            BinaryVectorStore(tmp_path / "none", embedding=SixWide(size=6)).delete(filter=bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="not both"):
        store.delete(["id 1"], filter={"topic": "dogs"})
    with pytest.raises(InvalidType, match="'id'; it takes: ids, filter"):
        store.delete(id=["id 1"])
    assert len(store.get_by_ids(IDS)) == len(IDS)


# persistence and contracts


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    documents = [
        Document(id=id, page_content=text, metadata=m) for id, text, m in zip(IDS, TEXTS, METADATAS, strict=True)
    ]
    with BinaryVectorStore.from_documents(documents, EMBEDDINGS, path=tmp_path / "index") as store:
        before = store.similarity_search_with_score("cats", k=5)
    with BinaryVectorStore(path=tmp_path / "index", embedding=EMBEDDINGS) as store:
        assert store.similarity_search_with_score("cats", k=5) == before
        assert store.get_by_ids(IDS) == documents
    with open_engine(f"faiss:{tmp_path / 'index'}", encoder=EMBEDDINGS.encoder) as engine:  # by the core, too
        assert [hit.record.text for hit in engine.search("cats", 5)] == [
            document.page_content for document, _ in before
        ]


def test_another_contract_is_refused(tmp_path: Path) -> None:
    BinaryVectorStore.from_texts(["a"], EMBEDDINGS, path=tmp_path / "index").close()
    for other in (JinaV5Embeddings(model=TWO_ROLES, dimension=64), JinaV5Embeddings(model="lexical", dimension=128)):
        with pytest.raises(ContractMismatch):
            BinaryVectorStore(path=tmp_path / "index", embedding=other)
    with pytest.raises(ContractMismatch, match="DeterministicFakeEmbedding"):
        BinaryVectorStore(path=tmp_path / "index", embedding=DeterministicFakeEmbedding(size=128))


def test_an_embedding_that_is_not_ours_has_a_contract_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with BinaryVectorStore(path=path, embedding=SixWide(size=6)) as store:
        assert store.index is None and store.get_by_ids(["a"]) == []
        assert store.add_texts([]) == []
        store.add_texts(["foo", "bar"], ids=["a", "b"])
        assert store.index is not None
        assert store.index.contract == Contract(
            model="SixWide", task=Task.RETRIEVAL, query_prefix="", document_prefix="", dimension=6
        )
        stored = store.index.vectors(["a"])["a"]
        assert abs(float(np.linalg.norm(stored)) - 1) < 1e-6
        ((document, score),) = store.similarity_search_with_score("foo", k=1)
        assert document.id == "a" and score > 0.99
    with BinaryVectorStore(path=path, embedding=SixWide(size=6)) as store:
        assert [document.id for document in store.similarity_search("bar", k=1)] == ["b"]
    with BinaryVectorStore(path=path, embedding=SixWide(size=8)) as store, pytest.raises(InvalidVectors, match="6"):
        store.add_texts(["baz"])
    with pytest.raises(ContractMismatch, match="SixWide"):
        BinaryVectorStore(path=path, embedding=DeterministicFakeEmbedding(size=6))
    with pytest.raises(ContractMismatch):
        BinaryVectorStore(path=path, embedding=EMBEDDINGS)


def openai(model: str) -> Embeddings:
    """OpenAI's class itself, answering from here: two of its models have vectors of one width."""
    library: Any = pytest.importorskip("langchain_openai")

    class OpenAIEmbeddings(library.OpenAIEmbeddings):
        def embed_documents(self, texts: list[str], chunk_size: int | None = None, **kwargs: Any) -> list[list[float]]:
            return DeterministicFakeEmbedding(size=1536).embed_documents(texts)

        def embed_query(self, text: str, **kwargs: Any) -> list[float]:
            return DeterministicFakeEmbedding(size=1536).embed_query(text)

    return OpenAIEmbeddings(model=model, api_key="sk-none")


def as_it_is(embedding: Embeddings) -> Embeddings:
    return embedding


def cached(embedding: Embeddings) -> Embeddings:
    library: Any = pytest.importorskip("langchain_classic.embeddings")
    store = import_module("langchain_core.stores").InMemoryByteStore()
    return library.CacheBackedEmbeddings.from_bytes_store(embedding, store, namespace="tests", key_encoder="sha256")


@pytest.mark.parametrize("wrap", [as_it_is, cached])
def test_another_model_of_the_same_class_and_width_is_refused(tmp_path: Path, wrap: Any) -> None:
    path, small = tmp_path / "index", "text-embedding-3-small"
    BinaryVectorStore.from_texts(["a", "b"], wrap(openai(small)), ids=["a", "b"], path=path).close()
    with BinaryVectorStore(path, embedding=openai(small)) as store:
        assert [document.id for document in store.similarity_search("b", k=1)] == ["b"]
    with pytest.raises(ContractMismatch, match="OpenAIEmbeddings/text-embedding-3-small.*text-embedding-ada-002"):
        BinaryVectorStore(path, embedding=wrap(openai("text-embedding-ada-002")))


@pytest.mark.parametrize("wrap", [as_it_is, cached])
def test_an_index_of_0_1_opens_with_the_class_it_names(tmp_path: Path, wrap: Any) -> None:
    path, embedding = tmp_path / "index", wrap(openai("text-embedding-3-small"))
    of_0_1 = Contract(
        model=type(embedding).__name__, task=Task.RETRIEVAL, query_prefix="", document_prefix="", dimension=1536
    )
    BinaryIndex.create(path, of_0_1).close()
    with BinaryVectorStore(path, embedding=embedding) as store:
        store.add_texts(["a"], ids=["a"])
        assert [document.id for document in store.similarity_search("a", k=1)] == ["a"]
    with pytest.raises(ContractMismatch, match=type(embedding).__name__):
        BinaryVectorStore(path, embedding=DeterministicFakeEmbedding(size=1536))


def test_a_store_without_a_path_leaves_nothing_behind() -> None:
    store = BinaryVectorStore.from_texts(TEXTS, EMBEDDINGS)
    assert store.index is not None
    folder = store.index.folder
    assert len(store.similarity_search("cats")) == 4 and folder.exists()
    store.close()
    assert not folder.exists()


# retrievers, indexing


def test_retrievers(store: BinaryVectorStore) -> None:
    assert isinstance(store.as_retriever(), BinaryRetriever)
    assert store.as_retriever(k=3).invoke("cats") == store.similarity_search("cats", k=3)
    assert store.as_retriever(search_kwargs={"k": 2}).invoke("cats") == store.similarity_search("cats", k=2)
    assert store.as_retriever(k=3).invoke("cats", None, k=1) == store.similarity_search("cats", k=1)
    assert store.as_retriever(search_type="mmr", k=3).invoke("cats") == store.max_marginal_relevance_search("cats", k=3)
    threshold = {"score_threshold": 0.55, "filter": {"topic": "dogs"}}
    kept = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=threshold, k=9).invoke("dogs")
    assert kept and all(document.metadata["topic"] == "dogs" for document in kept)
    assert asyncio.run(store.as_retriever(k=3).ainvoke("cats")) == store.similarity_search("cats", k=3)
    assert "JinaV5Embeddings" in (store.as_retriever().tags or [])
    with pytest.raises(ValueError, match="top_k"):
        store.as_retriever(top_k=3)


class Counted(Embeddings):
    """Counts what is embedded."""

    def __init__(self) -> None:
        self.count = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.count += len(texts)
        return EMBEDDINGS.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return EMBEDDINGS.embed_query(text)


def test_indexing_with_a_record_manager(tmp_path: Path) -> None:
    embedding = Counted()
    manager = InMemoryRecordManager("tests")
    manager.create_schema()
    documents = [Document(page_content=text, metadata={"source": text[:4]}) for text in TEXTS]
    how: Any = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256", "batch_size": 7}
    with BinaryVectorStore(path=tmp_path / "index", embedding=embedding) as store:
        done = index(iter(documents), manager, store, **how)
        assert (done["num_added"], embedding.count) == (40, 40)
        assert asyncio.run(aindex(documents, manager, store, **how))["num_skipped"] == 40
        assert embedding.count == 40
        changed = [Document(page_content="new", metadata={"source": "new"}), *documents[1:]]
        done = index(changed, manager, store, **how)
        assert (done["num_added"], done["num_deleted"], embedding.count) == (1, 1, 41)
        found = {document.page_content for document in store.similarity_search("x", k=100)}
        assert found == {"new", *TEXTS[1:]}
