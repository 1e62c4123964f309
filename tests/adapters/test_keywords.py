"""No adapter drops a keyword that it does not know: each is refused by name, before anything is done."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pydantic
import pytest

from jinavec import Encoder
from jinavec.errors import InvalidInput, InvalidType
from jinavec_adapters.shared.given import given_encoder
from jinavec_adapters.shared.keywords import refuse_unknown

FRAMEWORKS = ("chroma", "elastic", "haystack", "lancedb", "langchain", "llama_index", "qdrant")
NONSENSE = "nonsense_keyword"
COMPOSED = ("invoke", "ainvoke", "batch", "abatch", "stream", "astream")
"""What LangChain's retrievers do; everything else of a Runnable makes another one, whose keywords come later."""


def exported(framework: str) -> list[Any]:
    module = importlib.import_module(f"jinavec_adapters.{framework}")
    return [getattr(module, name) for name in module.__all__]


def names_of(kind: Any) -> Iterator[str]:
    """Public methods whose interface lets any keyword in, those of the framework's base classes too."""
    ignored = set(dir(pydantic.BaseModel))
    if kind.__name__ == "BinaryRetriever":
        from langchain_core.runnables import RunnableSerializable

        ignored |= set(dir(RunnableSerializable)) - set(COMPOSED)
    for name in sorted(dir(kind)):
        if (name.startswith("_") and name != "__call__") or name in ignored:
            continue
        method = getattr(kind, name)
        if inspect.isroutine(method) and any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(method).parameters.values()
        ):
            yield name


def instance_of(kind: Any, folder: Path) -> Any:
    """Return an object of a class; a store holds one record."""
    framework = kind.__module__.split(".")[1]
    match framework, kind.__name__:
        case "langchain", "BinaryVectorStore":
            store = kind(folder, embedding=adapter("langchain").JinaV5Embeddings(model="lexical"))
            store.add_texts(["text"], ids=["1"])
            return store
        case "langchain", "BinaryRetriever":
            return instance_of(adapter("langchain").BinaryVectorStore, folder).as_retriever()
        case "llama_index", "BinaryVectorStore":
            from llama_index.core.schema import TextNode

            contract = Encoder.load("lexical").contract
            store = kind(folder, contract=contract)
            store.add([TextNode(id_="1", text="text", embedding=[1.0] + [0.0] * (contract.dimension - 1))])
            return store
        case "elastic", "JinaVectorStore" | "AsyncJinaVectorStore":
            return kind(*elastic_client(kind), index="notes", embedding_service=elastic_service(kind))
        case "elastic", "JinaRetrievalStrategy" | "AsyncJinaRetrievalStrategy":
            return kind()
        case "qdrant", _:
            return kind(Encoder.load("lexical"))
        case "langchain" | "lancedb", _:
            return kind(model="lexical")
        case _:
            return kind("lexical")


def adapter(framework: str) -> Any:
    return importlib.import_module(f"jinavec_adapters.{framework}")


def elastic_client(kind: type[Any]) -> list[Any]:
    import elasticsearch

    client: Any = elasticsearch.AsyncElasticsearch if "Async" in kind.__name__ else elasticsearch.Elasticsearch
    return [client("http://127.0.0.1:1")]


def elastic_service(kind: type[Any]) -> Any:
    elastic = adapter("elastic")
    service = elastic.AsyncJinaEmbeddingService if "Async" in kind.__name__ else elastic.JinaEmbeddingService
    return service("lexical")


def arguments(method: Callable[..., Any]) -> list[Any]:
    """Return what a method needs besides keywords."""
    parameters = inspect.signature(method).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    values: dict[str, Any] = {
        "data": {"path": "x", "model_name": "lexical"},
        "data_str": '{"path": "x", "model_name": "lexical"}',
        "documents": [],
        "embedding": [1.0] * 256,
        "input": "a",
        "inputs": ["a"],
        "model": "lexical",
        "nodes": [],
        "query": "a",
        "ref_doc_id": "1",
        "search_type": "mmr",
        "texts": ["a"],
    }
    if "from_" in method.__name__ and "embedding" in needed:
        values["embedding"] = adapter("langchain").JinaV5Embeddings(model="lexical")
    if "llama_index" in method.__module__ and "query" in needed:
        from llama_index.core.vector_stores.types import VectorStoreQuery

        values["query"] = VectorStoreQuery(query_embedding=[1.0] * 256)
    if not needed and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return ["a"]
    return [values[name] for name in needed]


def outcome(called: Any) -> Any:
    """Wait for what a method returns, and for all that an iterator yields."""

    async def all_of(iterator: AsyncIterator[Any]) -> list[Any]:
        return [item async for item in iterator]

    if inspect.isawaitable(called):
        return asyncio.run(cast("Any", called))
    if inspect.isasyncgen(called):
        return asyncio.run(all_of(called))
    return list(called) if inspect.isgenerator(called) else called


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_method_refuses_a_keyword_that_it_does_not_know(framework: str, tmp_path: Path) -> None:
    for number, kind in enumerate(exported(framework)):
        if inspect.isfunction(kind):
            continue
        folder = tmp_path / str(number)
        made = instance_of(kind, folder)
        before = contents(folder)
        for name in names_of(kind):
            method = getattr(made, name)
            named: dict[str, Any] = {"ids": ["1"]} if (framework, name) == ("elastic", "delete") else {}
            with pytest.raises((TypeError, pydantic.ValidationError), match=NONSENSE):
                outcome(method(*arguments(method), **named, **{NONSENSE: 1}))
                pytest.fail(f"{kind.__name__}.{name} took the keyword")
        assert contents(folder) == before


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_constructor_refuses_a_keyword_that_it_does_not_know(framework: str, tmp_path: Path) -> None:
    for kind in exported(framework):
        given: list[Any] = ["lexical"]
        named: dict[str, Any] = {}
        match framework, kind.__name__:
            case "elastic", "JinaVectorStore" | "AsyncJinaVectorStore":
                given, named = elastic_client(kind), {"index": "notes", "embedding_service": elastic_service(kind)}
            case "elastic", "JinaRetrievalStrategy" | "AsyncJinaRetrievalStrategy":
                given = []
            case "langchain" | "llama_index", "BinaryVectorStore":
                given = [tmp_path / "index"]
            case "langchain" | "lancedb", _:
                given, named = [], {"model": "lexical"}
            case _:
                pass
        with pytest.raises((TypeError, pydantic.ValidationError), match=NONSENSE):
            kind(*given, **named, **{NONSENSE: 1})
    assert not list(tmp_path.iterdir())


def test_the_message_names_what_is_known(tmp_path: Path) -> None:
    langchain = adapter("langchain")
    embeddings = langchain.JinaV5Embeddings(model="lexical")
    for name in ("persist_directory", "folder_path", "collection_name"):
        with pytest.raises(TypeError, match=rf"'{name}'; it takes: texts, .*, path"):
            langchain.BinaryVectorStore.from_texts(["a"], embeddings, **{name: str(tmp_path / "keep")})
        with pytest.raises(TypeError, match=rf"'{name}'; it takes: texts, .*, path"):
            langchain.BinaryVectorStore.from_documents([], embeddings, **{name: str(tmp_path / "keep")})
    assert not list(tmp_path.iterdir())


def test_models_of_fastembed() -> None:
    fastembed = pytest.importorskip("fastembed")
    adapter("qdrant").register(Encoder.load("lexical"))
    model = fastembed.TextEmbedding("lexical").model
    for method in (model.embed, model.passage_embed, model.query_embed):
        with pytest.raises(TypeError, match=f"{NONSENSE}'; it takes: .*, parallel"):
            method(["a"], **{NONSENSE: 1})
        assert len(list(method(["a", "b"], batch_size=2, parallel=None))) == 2


def test_an_encoder_takes_no_argument_that_does_not_exist() -> None:
    encoder = Encoder.load("lexical")
    with pytest.raises(TypeError, match=NONSENSE):
        given_encoder(encoder, **cast("Any", {NONSENSE: None}))
    with pytest.raises(InvalidInput, match="its task cannot be chosen again"):
        given_encoder(encoder, task="clustering")


def test_the_first_unknown_keyword_is_named() -> None:
    def known(first: int, /, second: int, *rest: int, third: int = 0, **others: int) -> None: ...

    refuse_unknown(known, ("second", "third"))
    with pytest.raises(InvalidType, match=r"known takes no argument 'first'; it takes: second, third"):
        refuse_unknown(known, ("second", "first", "others"))
