from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices.query import embedding_utils
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from pydantic import ValidationError

from jinavec import Contract, Encoder, ModelProfile, Record, open_engine
from jinavec.errors import (
    ContractMismatch,
    IndexDamaged,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    InvalidType,
    InvalidVectors,
)
from jinavec_adapters.llama_index import BinaryVectorStore, JinaV5Embedding
from jinavec_integrations.faiss import BinaryIndex

Open = Callable[[], BinaryVectorStore]
CATS = "The cat sleeps on the stove."
SHIPS = "Ships anchor in the harbour."
MILK = "Kittens drink milk in the morning."


def node(id: str, text: str, document: str | None = None, **metadata: Any) -> TextNode:
    relations = {} if document is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=id, text=text, metadata=metadata, relationships=relations)


@pytest.fixture
def nodes(model: JinaV5Embedding) -> list[BaseNode]:
    return list(
        model(
            [
                node("oven", CATS, "book", topic="cats", year=2019),
                node("port", SHIPS, "log", topic="ships", year=2020),
                node("milk", MILK, "book", topic="cats", year=2021),
            ]
        )
    )


@pytest.fixture
def filled(store: BinaryVectorStore, nodes: list[BaseNode]) -> BinaryVectorStore:
    assert store.add(nodes) == ["oven", "port", "milk"]
    return store


def ask(model: JinaV5Embedding, text: str, k: int = 10, **rest: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=model.get_query_embedding(text), similarity_top_k=k, **rest)


def ids(store: BinaryVectorStore) -> set[str]:
    return {node.node_id for node in store.get_nodes()}


def index_over(store: BinaryVectorStore, model: JinaV5Embedding) -> Any:
    return VectorStoreIndex.from_vector_store(store, embed_model=model)  # pyright: ignore[reportUnknownMemberType]


def where(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def test_similarities_are_cosines_best_first(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    found = filled.query(ask(model, "where does the cat sleep?"))
    query = np.array(model.get_query_embedding("where does the cat sleep?"))
    texts = [f"topic: {topic}\nyear: {year}\n\n{text}" for topic, year, text in TOLD.values()]
    cosines = dict(zip(TOLD, (np.array(model.get_text_embedding_batch(texts)) @ query).tolist(), strict=True))
    assert found.ids and found.nodes
    assert found.ids == sorted(cosines, key=cosines.__getitem__, reverse=True)
    assert found.ids[0] == "oven"
    assert found.similarities == pytest.approx([cosines[id] for id in found.ids], abs=0.01)
    assert [node.node_id for node in found.nodes] == found.ids


TOLD = {"oven": ("cats", 2019, CATS), "port": ("ships", 2020, SHIPS), "milk": ("cats", 2021, MILK)}


def test_nodes_come_back_as_they_were(filled: BinaryVectorStore, nodes: list[BaseNode], model: JinaV5Embedding) -> None:
    found = filled.query(ask(model, "cat", k=1)).nodes
    assert found is not None
    assert found[0] == nodes[0].model_copy(update={"embedding": None})
    assert filled.get_nodes(["milk", "nobody", "oven"]) == [
        given.model_copy(update={"embedding": None}) for given in (nodes[2], nodes[0])
    ]


KINDS: dict[str, Callable[[], BaseNode]] = {
    "text": lambda: node("n", "text", "doc", a=1, b=1.5, c=None, d=["x", "y"], e={"f": [1]}, g=True, h="猫"),
    "no text": lambda: TextNode(id_="n"),
    "document": lambda: Document(id_="n", text="whole", metadata={"a": 1}),
    "document without text": lambda: Document(id_="n"),
    "own names": lambda: TextNode(
        id_="n", text="text", metadata={"doc_id": "mine", "_node": "mine", "_filled": [1], "text": "mine", "id": "x"}
    ),
    "index": lambda: IndexNode(id_="n", text="see", index_id="elsewhere"),
    "image": lambda: ImageNode(id_="n", text="a cat", image_path="cat.png", image_url="http://127.0.0.1/cat.png"),
    "media": lambda: Node(id_="n", text_resource=MediaResource(text="words", mimetype="text/markdown")),
    "odd text": lambda: node("n", " \t\nQuery: \r\n \0 😺"),
    "odd id": lambda: node("猫/ 'x\" %", "text"),
    "relations": lambda: TextNode(
        id_="n",
        text="part",
        relationships={
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="m", metadata={"a": 1}, hash="h"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="o"), RelatedNodeInfo(node_id="p")],
        },
        excluded_embed_metadata_keys=["a"],
        metadata_template="{key}={value}",
        start_char_idx=3,
        end_char_idx=7,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_node_is_kept(kind: str, open_store: Open, model: JinaV5Embedding) -> None:
    given = KINDS[kind]()
    before = given.model_copy(deep=True)
    given.embedding = model.get_text_embedding(given.get_content(MetadataMode.EMBED) or "nothing")
    store = open_store()
    store.add([given])
    assert given.model_copy(update={"embedding": None}) == before
    store.close()
    (back,) = open_store().get_nodes([given.node_id])
    assert type(back) is type(before)
    assert back == before
    assert (back.hash, back.get_content()) == (before.hash, before.get_content())


def test_a_date_becomes_its_text(open_store: Open, model: JinaV5Embedding) -> None:
    store = open_store()
    store.add(model([TextNode(id_="n", metadata={"day": date(2024, 2, 29)})]))
    assert [node.metadata for node in store.get_nodes(filters=where("day", "2024-02-29"))] == [{"day": "2024-02-29"}]


def test_adding_again_replaces(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    filled.add(model([node("oven", SHIPS, "log", topic="boats")]))
    assert ids(filled) == {"oven", "port", "milk"}
    assert filled.get_nodes(["oven"])[0].metadata == {"topic": "boats"}
    assert filled.query(ask(model, "boats ships harbour", k=1)).ids == ["oven"]
    filled.delete("book")
    assert ids(filled) == {"oven", "port"}


def test_delete_takes_all_nodes_of_a_document_and_no_other(filled: BinaryVectorStore) -> None:
    for nothing in ("oven", "None", "", "nobody"):  # the id of a node that belongs to a document is none of a document
        filled.delete(nothing)
    assert len(ids(filled)) == 3
    filled.delete("book")
    assert ids(filled) == {"port"}


def test_a_node_without_a_document_is_a_document_of_its_own(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    store.add(model([node("alone", CATS), node("None", MILK), node("part", SHIPS, "alone")]))
    store.delete("None")
    assert ids(store) == {"alone", "part"}
    store.delete("alone")
    assert ids(store) == set()


def test_fields_of_the_node_may_have_the_names_of_ours(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    store.add(model([node("a", CATS, "book", ref_doc_id="log", _doc_id="log", _node_id="b"), node("b", MILK, "log")]))
    store.delete("log")
    assert ids(store) == {"a"}
    assert [node.node_id for node in store.get_nodes(filters=where("ref_doc_id", "log"))] == ["a"]
    assert filtered(store, model, node_ids=["a"]) == ["a"]


def filtered(store: BinaryVectorStore, model: JinaV5Embedding, **rest: Any) -> list[str]:
    return sorted(store.query(ask(model, "cat", **rest)).ids or [])


def test_filters_may_name_the_document_as_llama_index_does(filled: BinaryVectorStore) -> None:
    for name in ("ref_doc_id", "doc_id", "document_id"):
        assert {node.node_id for node in filled.get_nodes(filters=where(name, "book"))} == {"oven", "milk"}


def test_delete_nodes_by_ids_by_filters_and_by_both(filled: BinaryVectorStore) -> None:
    filled.delete_nodes([])
    filled.delete_nodes(["nobody"])
    filled.delete_nodes(["oven", "port"], where("topic", "ships"))
    assert ids(filled) == {"oven", "milk"}
    filled.delete_nodes(filters=where("year", 2021))
    assert ids(filled) == {"oven"}
    filled.delete_nodes(["oven"])
    assert ids(filled) == set()


def test_what_is_no_list_of_ids_or_no_filters_changes_nothing(filled: BinaryVectorStore) -> None:
    wrong: Any = {"oven": "a"}
    for door in (filled.get_nodes, filled.delete_nodes):
        with pytest.raises(InvalidType, match="ids are strings"):
            door(wrong)
        with pytest.raises(InvalidFilter, match="filters are MetadataFilters, not {}"):
            door(filters={})  # pyright: ignore[reportArgumentType]
    assert len(ids(filled)) == 3
    one: Any = "oven"
    assert [found.node_id for found in filled.get_nodes(one)] == ["oven"]
    filled.delete_nodes(one)
    assert ids(filled) == {"milk", "port"}


@pytest.mark.parametrize("filters", [None, MetadataFilters(filters=[])])
def test_delete_nodes_without_a_choice_deletes_nothing(filled: BinaryVectorStore, filters: Any) -> None:
    with pytest.raises(InvalidInput, match=r"clear\(\)"):
        filled.delete_nodes(filters=filters)
    assert len(ids(filled)) == 3


@pytest.mark.parametrize("filter", [{"topic": "ships"}, where("topic", "ships")])
def test_delete_by_a_filter(filled: BinaryVectorStore, filter: Any) -> None:
    filled.delete(filter=filter)
    assert ids(filled) == {"oven", "milk"}
    asyncio.run(filled.adelete(filter={"year": 2021}))
    assert ids(filled) == {"oven"}


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"filter": {}},
        {"filter": None},
        {"filter": MetadataFilters(filters=[])},
        {"ref_doc_id": "book", "filter": {"topic": "ships"}},
    ],
)
def test_delete_without_a_choice_deletes_nothing(filled: BinaryVectorStore, choice: Any) -> None:
    with pytest.raises(InvalidInput, match=r"clear\(\)"):
        filled.delete(**choice)
    assert len(ids(filled)) == 3


def test_clear_empties_the_store_and_leaves_it_usable(
    filled: BinaryVectorStore, nodes: list[BaseNode], model: JinaV5Embedding
) -> None:
    filled.clear()
    filled.clear()
    assert filled.get_nodes() == []
    assert filled.query(ask(model, "cat")).ids == []
    filled.add(nodes[:1])
    assert ids(filled) == {"oven"}


def test_an_empty_store_answers_with_nothing(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    found = store.query(ask(model, "cat"))
    assert (found.nodes, found.similarities, found.ids) == ([], [], [])
    assert store.get_nodes() == store.get_nodes(["a"]) == []
    assert store.add([]) == []
    store.delete("a")


def test_ids_are_never_given_to_another_node(open_store: Open, model: JinaV5Embedding) -> None:
    """What is deleted and added, in one store or the next, is found under its own id."""
    texts = {f"id {n}": f"animal number {n} of {n * n}" for n in range(30)}
    store = open_store()
    store.add(model([node(id, text, id) for id, text in texts.items()]))
    for id in list(texts)[::2]:
        store.delete(id)
        del texts[id]
    store.close()
    store = open_store()
    more = {f"new {n}": f"vehicle number {n} of {n * n}" for n in range(10)}
    store.add(model([node(id, text, id) for id, text in more.items()]))
    for id, text in (texts | more).items():
        assert store.query(ask(model, text, k=1)).ids == [id]
        assert store.get_nodes([id])[0].get_content() == text
    assert ids(store) == texts.keys() | more.keys()


def test_node_ids_and_doc_ids_restrict_unless_they_are_empty(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    assert filtered(filled, model, node_ids=[], doc_ids=[]) == ["milk", "oven", "port"]
    assert filtered(filled, model, node_ids=["port", "milk", "nobody"]) == ["milk", "port"]
    assert filtered(filled, model, doc_ids=["book"]) == ["milk", "oven"]
    assert filtered(filled, model, doc_ids=["book"], node_ids=["oven", "port"]) == ["oven"]
    both = {"doc_ids": ["book"], "filters": where("year", 2020, FilterOperator.GT)}
    assert filtered(filled, model, **both) == ["milk"]


def test_index_nodes_do_not_hide_the_others(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    """LlamaIndex's retriever gives the ids of the index nodes as node_ids, whatever is asked."""
    context = StorageContext.from_defaults(vector_store=store)
    given = [node("oven", CATS), node("port", SHIPS), IndexNode(id_="see", text=MILK, index_id="elsewhere")]
    index = VectorStoreIndex(given, storage_context=context, embed_model=model)
    hits = index.as_retriever(similarity_top_k=3).retrieve("where does the cat sleep?")
    assert [hit.node_id for hit in hits][0] == "oven"
    assert {hit.node_id for hit in hits} == {"oven", "port", "see"}
    assert filtered(store, model, node_ids=["see", "port"]) == ["port", "see"]
    assert filtered(store, model, node_ids=["nobody"]) == []


@pytest.mark.parametrize("mode", [mode for mode in VectorStoreQueryMode if mode.value not in ("default", "mmr")])
def test_other_query_modes_are_refused_by_name(
    filled: BinaryVectorStore, model: JinaV5Embedding, mode: VectorStoreQueryMode
) -> None:
    with pytest.raises(InvalidInput, match=f"'{mode.value}'.*'default' and 'mmr'"):
        filled.query(ask(model, "cat", mode=mode))
    index = index_over(filled, model)
    with pytest.raises(ValueError, match=mode.value):
        index.as_retriever(vector_store_query_mode=mode).retrieve("cat")


def test_a_query_that_cannot_be_answered_is_refused(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    with pytest.raises(InvalidInput, match="embedding"):
        filled.query(VectorStoreQuery(query_str="cat"))
    with pytest.raises(InvalidVectors, match="256"):
        filled.query(VectorStoreQuery(query_embedding=[1.0] * 8))
    with pytest.raises(InvalidInput, match="k must be"):
        filled.query(ask(model, "cat", k=0))
    with pytest.raises(InvalidType, match="mmr_threshold"):
        filled.query(ask(model, "cat"), mmr_threshold=0.5)


@pytest.fixture
def many(store: BinaryVectorStore, model: JinaV5Embedding) -> BinaryVectorStore:
    """Sixty nodes on three topics, many of them nearly alike."""
    kinds = {"cats": CATS, "ships": SHIPS, "milk": MILK}
    topics = list(kinds)
    store.add(model([node(f"n{n}", f"{kinds[topics[n % 3]]} {n // 9}", topic=topics[n % 3], n=n) for n in range(60)]))
    return store


def picked(store: BinaryVectorStore, query: VectorStoreQuery, k: int, threshold: float, fetched: int) -> list[str]:
    """Pick by the definition of maximal marginal relevance among the nearest, over the exact vectors in the index."""
    vectors = store.client.vectors(store.client.ids())
    asked = np.asarray(query.query_embedding)
    asked /= np.linalg.norm(asked)
    nearest = [hit.record.id for hit in store.client.search(asked, fetched)]
    chosen: list[str] = []
    while len(chosen) < k:
        gains = {
            id: threshold * (vectors[id] @ asked)
            - (1 - threshold) * max((vectors[id] @ vectors[other] for other in chosen), default=0)
            for id in nearest
            if id not in chosen
        }
        chosen.append(max(gains, key=lambda id: float(gains[id])))
    return chosen


@pytest.mark.parametrize(("threshold", "k"), [(0.5, 6), (0.2, 5), (0.9, 10), (1.0, 4)])
def test_mmr_picks_what_the_definition_picks(
    many: BinaryVectorStore, model: JinaV5Embedding, threshold: float, k: int
) -> None:
    query = ask(model, "where do cats and ships sleep?", k=k, mode=VectorStoreQueryMode.MMR)
    found = many.query(query, mmr_threshold=threshold)
    assert found.ids == picked(many, query, k, threshold, 4 * k)
    assert found.nodes and [node.node_id for node in found.nodes] == found.ids
    scores = {hit.record.id: hit.score for hit in many.client.search(query.query_embedding or [], 60)}
    assert found.similarities == pytest.approx([scores[id] for id in found.ids or []], abs=1e-6)
    assert found == many.query(replace(query, mmr_threshold=threshold))


def test_the_first_two_of_mmr_are_those_of_llama_index(many: BinaryVectorStore, model: JinaV5Embedding) -> None:
    """From the third on, LlamaIndex compares with the last one picked only, and not with all of them."""
    pick: Any = getattr(embedding_utils, "get_top_k_mmr_embeddings")  # noqa: B009  its types are unknown
    everything = many.client.vectors(many.client.ids())
    for text in ("where do cats and ships sleep?", "kittens", "harbour"):
        query = ask(model, text, k=2, mode=VectorStoreQueryMode.MMR)
        _, theirs = pick(
            query.query_embedding or [],
            [vector.tolist() for vector in everything.values()],
            similarity_top_k=2,
            embedding_ids=list(everything),
            mmr_threshold=0.4,
        )
        assert many.query(query, mmr_threshold=0.4, mmr_prefetch_k=60).ids == theirs


def test_a_retriever_takes_mmr(many: BinaryVectorStore, model: JinaV5Embedding) -> None:
    question = "where do cats and ships sleep?"
    retriever = index_over(many, model).as_retriever(
        similarity_top_k=5, vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.3}
    )
    query = ask(model, question, k=5, mode=VectorStoreQueryMode.MMR)
    assert [hit.node_id for hit in retriever.retrieve(question)] == picked(many, query, 5, 0.3, 20)


async def test_mmr_obeys_filters_and_the_number_to_pick_from(many: BinaryVectorStore, model: JinaV5Embedding) -> None:
    ships = ask(model, "cat", k=4, mode=VectorStoreQueryMode.MMR, filters=where("topic", "ships"))
    found = await many.aquery(ships)
    assert found.nodes and {node.metadata["topic"] for node in found.nodes} == {"ships"}
    query = ask(model, "cat", k=4, mode=VectorStoreQueryMode.MMR)
    assert many.query(query, mmr_prefetch_k=1).ids == picked(many, query, 4, 0.5, 4)
    assert many.query(query, mmr_prefetch_k=9).ids == picked(many, query, 4, 0.5, 9)
    assert many.query(query, mmr_prefetch_factor=10).ids == picked(many, query, 4, 0.5, 40)
    assert many.query(replace(query, similarity_top_k=500)).ids == picked(many, query, 60, 0.5, 60)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"mmr_prefetch_k": 9, "mmr_prefetch_factor": 2.0}, "mutually exclusive"),
    "factor": ({"mmr_prefetch_factor": 0}, "mmr_prefetch_factor.*above 0"),
    "text": ({"mmr_prefetch_factor": "4"}, "mmr_prefetch_factor.*'4'"),
    "k": ({"mmr_prefetch_k": 0}, "at least 1"),
    "threshold": ({"mmr_threshold": 1.5}, "from 0 to 1"),
}


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_options_of_mmr_that_cannot_be_meant_are_refused(
    many: BinaryVectorStore, model: JinaV5Embedding, bad: str
) -> None:
    options, message = BAD_OPTIONS[bad]
    with pytest.raises(InvalidInput, match=message):
        many.query(ask(model, "cat", k=4, mode=VectorStoreQueryMode.MMR), **options)


def test_an_option_of_mmr_that_does_not_exist_is_refused(many: BinaryVectorStore, model: JinaV5Embedding) -> None:
    with pytest.raises(InvalidType, match="'lambda_mult'.*mmr_threshold"):
        many.query(ask(model, "cat", k=4, mode=VectorStoreQueryMode.MMR), lambda_mult=0.5)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no embedding": ({}, InvalidVectors, "'bad' has no embedding"),
    "another width": ({"embedding": [1.0] * 8}, InvalidVectors, "not an array|shape"),
    "nan": ({"embedding": [float("nan")] * 256}, InvalidVectors, "NaN"),
    "zero": ({"embedding": [0.0] * 256}, InvalidVectors, "zero"),
    "not JSON": ({"embedding": [1.0] * 256, "metadata": {"a": object()}}, InvalidRecord, "'bad'"),
    "nan in the metadata": ({"embedding": [1.0] * 256, "metadata": {"a": float("nan")}}, InvalidRecord, "'bad'"),
}


@pytest.mark.parametrize("bad", BAD)
def test_of_nodes_with_a_bad_one_none_is_stored(filled: BinaryVectorStore, nodes: list[BaseNode], bad: str) -> None:
    fields, error, message = BAD[bad]
    good = nodes[0].model_copy(update={"id_": "good"})
    with pytest.raises(error, match=message):
        filled.add([good, TextNode(id_="bad", **fields)])
    assert ids(filled) == {"oven", "port", "milk"}


def test_an_index_takes_it_and_deletes_through_it(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    index = index_over(store, model)
    for id, text in {"a": CATS, "b": SHIPS}.items():
        index.insert(Document(id_=id, text=text))
    (hit,) = index.as_retriever(similarity_top_k=1).retrieve("where does the cat sleep?")
    assert hit.get_content() == CATS
    assert hit.score is not None
    assert 0.2 < hit.score <= 1
    index.update_ref_doc(Document(id_="a", text=MILK))
    assert {node.get_content() for node in store.get_nodes()} == {MILK, SHIPS}
    index.delete_ref_doc("b")
    assert {node.get_content() for node in store.get_nodes()} == {MILK}


def test_postprocessors_rely_on_higher_being_better(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    hits = index_over(filled, model).as_retriever().retrieve("the cat sleeps")
    scores = [hit.score or 0 for hit in hits]
    assert scores == sorted(scores, reverse=True)
    kept = SimilarityPostprocessor(similarity_cutoff=scores[0]).postprocess_nodes(hits)
    assert [hit.node_id for hit in kept] == ["oven"]


def test_several_questions_in_one_are_averaged(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    mean = model.get_agg_embedding_from_queries(["cat", "harbour ships"])
    found = filled.query(VectorStoreQuery(query_embedding=mean, similarity_top_k=3))
    assert found.similarities is not None
    assert all(-1 <= score <= 1 for score in found.similarities)


Call = Callable[[BinaryVectorStore, list[BaseNode], VectorStoreQuery], Any]
ASYNC_CALLS: dict[str, tuple[str, Call]] = {
    "async_add": ("add", lambda store, nodes, query: store.async_add(nodes)),
    "adelete": ("delete", lambda store, nodes, query: store.adelete("book")),
    "adelete_nodes": ("delete", lambda store, nodes, query: store.adelete_nodes(["oven"])),
    "aclear": ("delete", lambda store, nodes, query: store.aclear()),
    "aget_nodes": ("get", lambda store, nodes, query: store.aget_nodes(["oven"])),
    "aquery": ("search", lambda store, nodes, query: store.aquery(query)),
}


@pytest.mark.parametrize("name", ASYNC_CALLS)
async def test_the_event_loop_turns_while_the_index_works(
    name: str,
    filled: BinaryVectorStore,
    nodes: list[BaseNode],
    model: JinaV5Embedding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The index waits for the event loop: on a blocked one it would wait in vain."""
    method, call = ASYNC_CALLS[name]
    begun, turned, work = threading.Event(), threading.Event(), getattr(BinaryIndex, method)

    def patient(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert turned.wait(120), "the event loop stood still"
        return work(*args, **kwargs)

    monkeypatch.setattr(BinaryIndex, method, patient)
    task, turns = asyncio.ensure_future(call(filled, nodes, ask(model, "cat"))), 0
    while turns < 100 and not task.done():
        turns += begun.is_set()
        await asyncio.sleep(0)
    turned.set()
    await task
    assert turns == 100


async def test_async_calls_do_what_the_others_do(
    open_store: Open, nodes: list[BaseNode], model: JinaV5Embedding
) -> None:
    store = open_store()
    assert await store.async_add(nodes) == ["oven", "port", "milk"]
    assert await store.aquery(ask(model, "cat")) == store.query(ask(model, "cat"))
    assert await store.aget_nodes(["oven"]) == store.get_nodes(["oven"])
    assert await store.aget_nodes(filters=where("topic", "cats")) == store.get_nodes(filters=where("topic", "cats"))
    await store.adelete_nodes(["port"], where("topic", "cats"))
    await store.adelete_nodes(filters=where("topic", "ships"))
    assert ids(store) == {"oven", "milk"}
    await store.adelete("book")
    assert ids(store) == set()
    await store.async_add(nodes)
    await store.aclear()
    assert ids(store) == set()


async def test_many_async_calls_at_once(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    batches = [await model.acall([node(f"{b}-{n}", f"text {b} {n}") for n in range(5)]) for b in range(8)]
    await asyncio.gather(*map(store.async_add, batches))
    found = await asyncio.gather(*(store.aquery(ask(model, f"text {b} 3", k=40)) for b in range(8)))
    assert {frozenset(result.ids or []) for result in found} == {frozenset(ids(store))}
    assert len(ids(store)) == 40


def test_opening_needs_an_index_or_a_contract(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound):
        BinaryVectorStore(path=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    made = BinaryVectorStore(path=str(tmp_path / "made"), contract=Contract.of("lexical", dimension=64))
    assert (made.stores_text, made.is_embedding_query) == (True, True)
    assert isinstance(made.client, BinaryIndex)
    made.close()
    assert BinaryVectorStore(tmp_path / "made").contract == Contract.of("lexical", dimension=64)


@pytest.mark.parametrize("change", [{"dimension": 64}, {"task": "clustering"}, {"dimension": 768}])
def test_a_model_of_another_contract_is_refused(
    filled: BinaryVectorStore, prompted: ModelProfile, change: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"dimension": 256} | change
    with pytest.raises(ContractMismatch, match=next(iter(change))):
        BinaryVectorStore(filled.path, embed_model=JinaV5Embedding(prompted, **settings))
    with pytest.raises(ContractMismatch, match="model"):
        BinaryVectorStore(filled.path, embed_model=JinaV5Embedding("lexical", dimension=256))
    with pytest.raises(ContractMismatch, match="dimension"):
        BinaryVectorStore(filled.path, contract=Contract.of(prompted, dimension=64))


def test_model_and_contract_must_agree(tmp_path: Path, model: JinaV5Embedding) -> None:
    with pytest.raises(ContractMismatch):
        BinaryVectorStore(tmp_path / "index", embed_model=model, contract=Contract.of("lexical"))
    assert BinaryVectorStore(tmp_path / "index", embed_model=model, contract=model.contract).contract == model.contract


def test_another_makers_model_gets_a_contract_of_its_name(tmp_path: Path, model: JinaV5Embedding) -> None:
    mock = MockEmbedding(embed_dim=6)  # not a whole number of bytes, and not of unit length
    store = BinaryVectorStore(tmp_path / "index", embed_model=mock)
    assert store.contract.model == "MockEmbedding/unknown"
    assert store.contract.dimension == 6
    store.add(mock([node("a", CATS)]))
    found = store.query(VectorStoreQuery(query_embedding=mock.get_query_embedding("b")))
    assert (found.ids, found.similarities) == (["a"], [pytest.approx(1, abs=1e-6)])
    store.close()
    again = BinaryVectorStore(tmp_path / "index", embed_model=MockEmbedding(embed_dim=6))
    assert ids(again) == {"a"}
    for other in (MockEmbedding(embed_dim=8), MockEmbedding(embed_dim=6, model_name="other"), model):
        with pytest.raises(ContractMismatch):
            BinaryVectorStore(tmp_path / "index", embed_model=other)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidType, match="embed_model.*str"):
        BinaryVectorStore(tmp_path / "index", embed_model="local")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError, match="dimension"):
        BinaryVectorStore(tmp_path / "index", contract=Contract.of("lexical"), dimension=8)


def test_records_of_others_are_no_nodes(store: BinaryVectorStore, model: JinaV5Embedding) -> None:
    store.client.add([Record("foreign", CATS)])
    with pytest.raises(IndexDamaged, match="'foreign'.*not stored as a LlamaIndex node"):
        store.query(ask(model, "cat"))


def test_the_folder_is_an_index_like_any_other(filled: BinaryVectorStore, model: JinaV5Embedding) -> None:
    """It remembers how its vectors were made, and answers without LlamaIndex."""
    with open_engine(f"faiss:{filled.path}") as index:
        assert index.settings == model.encoder.settings
        encoder = Encoder.from_settings(index.settings or pytest.fail("nothing remembered"))
        (hit,) = index.search(encoder.encode_queries(["cat"])[0], k=1, filter={"topic": "cats", "year": {"lt": 2020}})
        assert (hit.record.id, hit.record.text) == ("oven", CATS)


def test_another_model_of_the_same_class_and_width_is_refused(tmp_path: Path) -> None:
    """``MockEmbedding`` is LlamaIndex's own; its name stands for the model of a service."""
    library: Any = import_module("llama_index.core")
    large, small = (library.MockEmbedding(embed_dim=8, model_name=name) for name in ("large", "small"))
    BinaryVectorStore(tmp_path / "index", embed_model=large).close()
    with pytest.raises(ContractMismatch, match="MockEmbedding/large.*MockEmbedding/small"):
        BinaryVectorStore(tmp_path / "index", embed_model=small)
    BinaryVectorStore(tmp_path / "index", embed_model=large).close()
