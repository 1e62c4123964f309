"""Persisting and loading as LlamaIndex does it, and ingestion pipelines with a document store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]
from fsspec.implementations.memory import MemoryFileSystem  # pyright: ignore[reportMissingTypeStubs]
from llama_index.core import (
    Document,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,  # pyright: ignore[reportUnknownVariableType]
)
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore

from jinavec import Contract
from jinavec.errors import ContractMismatch, IndexDamaged, IndexNotFound, InvalidInput
from jinavec_adapters.llama_index import BinaryVectorStore, JinaV5Embedding

DOCUMENTS = {
    "cats": "The cat sleeps on the stove. Kittens drink milk in the morning.",
    "ships": "Ships anchor in the harbour. Sailors mend their nets.",
    "stars": "The stars are far away. Planets wander among them.",
}


def documents(**changed: str) -> list[Document]:
    return [Document(id_=id, text=text) for id, text in (DOCUMENTS | changed).items()]


def persisted(store: BinaryVectorStore, model: JinaV5Embedding, folder: Path) -> str:
    """Build an index over a store, persist it, and return the text it finds."""
    context = StorageContext.from_defaults(vector_store=store)
    index: Any = VectorStoreIndex.from_documents(documents(), storage_context=context, embed_model=model)
    index.storage_context.persist(str(folder))
    store.close()
    return answer(index_over(reopen(folder, model), model))


def index_over(store: BinaryVectorStore, model: JinaV5Embedding) -> Any:
    return VectorStoreIndex.from_vector_store(store, embed_model=model)  # pyright: ignore[reportUnknownMemberType]


def reopen(folder: Path, model: JinaV5Embedding) -> BinaryVectorStore:
    return BinaryVectorStore.from_persist_dir(str(folder), embed_model=model)


def answer(index: Any) -> str:
    (hit,) = index.as_retriever(similarity_top_k=1).retrieve("where do ships anchor?")
    return hit.get_content()


def test_a_storage_context_persists_and_loads(store: BinaryVectorStore, model: JinaV5Embedding, tmp_path: Path) -> None:
    found = persisted(store, model, tmp_path / "storage")
    context = StorageContext.from_defaults(
        persist_dir=str(tmp_path / "storage"), vector_store=reopen(tmp_path / "storage", model)
    )
    assert answer(load_index_from_storage(context, embed_model=model)) == found == DOCUMENTS["ships"]


def test_without_a_store_loading_fails_rather_than_finding_nothing(
    store: BinaryVectorStore, model: JinaV5Embedding, tmp_path: Path
) -> None:
    persisted(store, model, tmp_path / "storage")
    with pytest.raises(AttributeError):
        StorageContext.from_defaults(persist_dir=str(tmp_path / "storage"))


def test_an_index_inside_the_storage_moves_with_it(model: JinaV5Embedding, tmp_path: Path) -> None:
    store = BinaryVectorStore(tmp_path / "storage" / "vectors", embed_model=model)
    persisted(store, model, tmp_path / "storage")
    shutil.move(tmp_path / "storage", tmp_path / "moved")
    moved = reopen(tmp_path / "moved", model)
    assert len(moved.get_nodes()) == 3
    assert Path(moved.path).is_relative_to(tmp_path / "moved")


def test_a_relative_path_is_found_from_another_folder(
    model: JinaV5Embedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    persisted(BinaryVectorStore("vectors", embed_model=model), model, tmp_path / "storage")
    monkeypatch.chdir(tmp_path)
    assert len(reopen(tmp_path / "storage", model).get_nodes()) == 3


def test_a_local_file_system_is_taken_and_no_other(
    store: BinaryVectorStore, model: JinaV5Embedding, tmp_path: Path
) -> None:
    local, memory = LocalFileSystem(), MemoryFileSystem()
    file = str(tmp_path / "pointer.json")
    store.persist(file, fs=local)
    assert BinaryVectorStore.from_persist_path(file, fs=local).path == store.path
    with pytest.raises(InvalidInput, match="MemoryFileSystem"):
        store.persist(file, fs=memory)
    with pytest.raises(InvalidInput, match="MemoryFileSystem"):
        BinaryVectorStore.from_persist_path(file, fs=memory)


def test_loading_checks_the_contract(store: BinaryVectorStore, tmp_path: Path) -> None:
    store.persist(str(tmp_path / "default__vector_store.json"))
    with pytest.raises(ContractMismatch):
        BinaryVectorStore.from_persist_dir(str(tmp_path), contract=Contract.of("lexical"))


def test_loading_makes_nothing_anew(store: BinaryVectorStore, model: JinaV5Embedding, tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="no vector store"):
        reopen(tmp_path / "nowhere", model)
    store.persist(str(tmp_path / "default__vector_store.json"))
    store.close()
    shutil.rmtree(store.path)
    with pytest.raises(IndexNotFound):
        reopen(tmp_path, model)
    assert not Path(store.path).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"embedding_dict": {}}', '{"kind": "jinavec BinaryVectorStore"}'])
def test_the_file_of_another_store_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "default__vector_store.json").write_text(content, "utf-8")
    with pytest.raises(IndexDamaged, match="default__vector_store.json"):
        BinaryVectorStore.from_persist_dir(str(tmp_path))


def test_the_file_is_json_and_holds_no_more_than_the_place(store: BinaryVectorStore, tmp_path: Path) -> None:
    store.persist(str(tmp_path / "new" / "pointer.json"))
    content = json.loads((tmp_path / "new" / "pointer.json").read_text("utf-8"))
    assert content["path"] == store.path
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pointer.json"]


Pipeline = Callable[..., IngestionPipeline]


@pytest.fixture(params=["split", "whole"])
def pipeline(request: pytest.FixtureRequest, model: JinaV5Embedding, store: BinaryVectorStore) -> Pipeline:
    """Make a pipeline that splits documents into sentences, or embeds them whole."""
    split = [SentenceSplitter(chunk_size=12, chunk_overlap=0)] if request.param == "split" else []

    def make(docstore: SimpleDocumentStore, **rest: Any) -> IngestionPipeline:
        steps: list[TransformComponent] = [*split, model]
        return IngestionPipeline(
            transformations=steps, vector_store=store, docstore=docstore, disable_cache=True, **rest
        )

    return make


def contents(store: BinaryVectorStore) -> set[str]:
    return {sentence for node in store.get_nodes() for sentence in sentences(node.get_content())}


def sentences(*texts: str) -> set[str]:
    return {sentence.strip(" .") for text in texts for sentence in text.split(". ")}


@pytest.mark.parametrize("strategy", DocstoreStrategy)
def test_a_second_run_embeds_nothing(
    pipeline: Pipeline, store: BinaryVectorStore, embedded: list[str], strategy: DocstoreStrategy
) -> None:
    docstore = SimpleDocumentStore()
    pipeline(docstore, docstore_strategy=strategy).run(documents=documents())
    assert embedded
    assert all(text.startswith("Document: ") for text in embedded)
    embedded.clear()
    assert list(pipeline(docstore, docstore_strategy=strategy).run(documents=documents())) == []
    assert embedded == []
    assert contents(store) == sentences(*DOCUMENTS.values())


async def test_a_second_async_run_embeds_nothing(
    pipeline: Pipeline, store: BinaryVectorStore, embedded: list[str]
) -> None:
    docstore = SimpleDocumentStore()
    await pipeline(docstore).arun(documents=documents())
    assert embedded
    embedded.clear()
    await pipeline(docstore).arun(documents=documents())
    assert embedded == []
    assert contents(store) == sentences(*DOCUMENTS.values())


def test_a_changed_document_alone_is_embedded_and_replaces_its_nodes(
    pipeline: Pipeline, store: BinaryVectorStore, embedded: list[str]
) -> None:
    docstore = SimpleDocumentStore()
    pipeline(docstore).run(documents=documents())
    embedded.clear()
    pipeline(docstore).run(documents=documents(cats="Dogs bark at night."))
    assert embedded == ["Document: Dogs bark at night."]
    assert contents(store) == sentences("Dogs bark at night.", DOCUMENTS["ships"], DOCUMENTS["stars"])


def test_a_missing_document_is_deleted_where_the_strategy_says_so(pipeline: Pipeline, store: BinaryVectorStore) -> None:
    docstore = SimpleDocumentStore()
    run = pipeline(docstore, docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE).run
    run(documents=documents())
    run(documents=documents()[1:])
    assert contents(store) == sentences(DOCUMENTS["ships"], DOCUMENTS["stars"])


def test_the_ingestion_cache_gives_no_vectors_of_another_contract(model: JinaV5Embedding, embedded: list[str]) -> None:
    nodes = [TextNode(id_="a", text="The cat sleeps.")]
    pipeline = IngestionPipeline(transformations=[model])
    first = pipeline.run(nodes=nodes, in_place=False)[0].embedding
    assert pipeline.run(nodes=nodes, in_place=False)[0].embedding == first
    assert len(embedded) == 1
    other = JinaV5Embedding.from_dict(model.to_dict() | {"dimension": 64})
    changed = IngestionPipeline(transformations=[other], cache=pipeline.cache).run(nodes=nodes, in_place=False)
    assert changed[0].embedding == other.get_text_embedding("The cat sleeps.")


@pytest.mark.slow
def test_worker_processes_embed_the_same(model: JinaV5Embedding) -> None:
    """LlamaIndex pickles the model for them."""
    nodes = [TextNode(id_=str(n), text=f"number {n}") for n in range(4)]
    embedded = IngestionPipeline(transformations=[model], disable_cache=True).run(nodes=nodes, num_workers=2)
    assert [node.embedding for node in embedded] == model.get_text_embedding_batch([f"number {n}" for n in range(4)])
