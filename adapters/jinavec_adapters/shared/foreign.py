"""The contract of an embedding that is not ours, of which a framework tells little."""

from __future__ import annotations

from jinavec import Contract, Task
from jinavec.settings import without_user

_MODEL_NAMES = (
    "model_name",
    "model",
    "model_id",
    "model_uid",
    "repo_id",
    "model_path",
    "model_url",
    "endpoint_name",
    "endpoint",
)
"""Where embedding classes keep the name of their model: no framework prescribes one attribute."""
_ANY_DEPLOYMENT = "text-embedding-ada-002"
"""The ``deployment`` of LangChain's ``OpenAIEmbeddings`` whatever its model; with Azure it decides which model runs."""


def foreign_contract(embedding: object, width: int) -> Contract:
    """Return the contract of vectors of a width: named after the embedding's class and model, as far as it has one."""
    names = [type(embedding).__name__, _text(embedding, *_MODEL_NAMES), _text(embedding, "deployment")]
    if names[2] in (names[1], _ANY_DEPLOYMENT):
        del names[2]
    return Contract(
        model="/".join(filter(None, names)), task=Task.RETRIEVAL, query_prefix="", document_prefix="", dimension=width
    )


def _text(embedding: object, *attributes: str) -> str:
    """Return the first of some attributes that is a non-empty text; an address without user name and password."""
    values = (getattr(embedding, attribute, None) for attribute in attributes)
    text = next((value for value in values if isinstance(value, str) and value), "")
    return without_user(text) if "://" in text else text
