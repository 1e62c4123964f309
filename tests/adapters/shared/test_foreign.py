from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jinavec import Contract, Task
from jinavec_adapters.shared.foreign import foreign_contract


class SomeEmbeddings(SimpleNamespace):
    """An embedding with whatever attributes its library gives it."""


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "SomeEmbeddings"),
        ({"model": "embed-v4"}, "SomeEmbeddings/embed-v4"),
        ({"model_name": "all-MiniLM-L6-v2", "model": "other"}, "SomeEmbeddings/all-MiniLM-L6-v2"),
        ({"model_id": "amazon.titan"}, "SomeEmbeddings/amazon.titan"),
        ({"model": None, "repo_id": "org/name@main"}, "SomeEmbeddings/org/name@main"),
        ({"model": "", "model_path": "weights.gguf"}, "SomeEmbeddings/weights.gguf"),
        ({"model": 3.5}, "SomeEmbeddings"),
        ({"model": "large", "deployment": "mine"}, "SomeEmbeddings/large/mine"),
        ({"model": "large", "deployment": "large"}, "SomeEmbeddings/large"),
        ({"deployment": "mine"}, "SomeEmbeddings/mine"),
        ({"model": "http://me:s3cret@host:8080/embed"}, "SomeEmbeddings/http://host:8080/embed"),
    ],
    ids=str,
)
def test_class_and_model_name_the_contract(attributes: dict[str, Any], name: str) -> None:
    assert foreign_contract(SomeEmbeddings(**attributes), 6) == Contract(
        model=name, task=Task.RETRIEVAL, query_prefix="", document_prefix="", dimension=6
    )


def test_openai_classes_are_named_by_what_runs() -> None:
    """Of the classes themselves, without a connection."""
    openai: Any = pytest.importorskip("langchain_openai")
    key: dict[str, Any] = {"api_key": "sk-none"}
    azure: dict[str, Any] = key | {"azure_endpoint": "http://127.0.0.1:9", "api_version": "2024-02-01"}
    names = [
        foreign_contract(embedding, 1536).model
        for embedding in (
            openai.OpenAIEmbeddings(model="text-embedding-3-small", **key),
            openai.OpenAIEmbeddings(**key),
            openai.AzureOpenAIEmbeddings(azure_deployment="mine", **azure),
            openai.AzureOpenAIEmbeddings(model="text-embedding-3-large", **azure),
        )
    ]
    assert names == [
        "OpenAIEmbeddings/text-embedding-3-small",
        "OpenAIEmbeddings/text-embedding-ada-002",
        "AzureOpenAIEmbeddings/text-embedding-ada-002/mine",
        "AzureOpenAIEmbeddings/text-embedding-3-large",
    ]
