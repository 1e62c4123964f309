"""Nodes as records and back: nothing of a node is lost but its embedding, which the index keeps in its own form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llama_index.core.constants import DATA_KEY, TYPE_KEY
from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore.utils import json_to_doc  # pyright: ignore[reportUnknownVariableType]

from jinavec import Record
from jinavec.errors import IndexDamaged, InvalidRecord, InvalidVectors

NODE_ID, DOC_ID, FILLED, NODE = "_node_id", "_doc_id", "_filled", "_node"
"""Fields of a record's metadata beside those of the node: its id; the document's id; the names of its fields that hold
a list or a table, but not an empty list; and the node itself, in a table, where no filter looks."""
_DOC_NAMES = ("doc_id", "document_id", "ref_doc_id")
"""How filters of LlamaIndex name the document; fields of the node's own come first."""


def write_node(node: BaseNode) -> Record:
    """Return a node as a record whose metadata are the node's, for filters.

    Raises:
        InvalidRecord: the node holds something that is not JSON.
    """
    try:
        json.dumps(node.metadata, allow_nan=False, default=str)  # to_dict would make null of NaN and infinity
        content = node.to_dict(mode="json")
    except ValueError as error:
        raise InvalidRecord(f"node {node.node_id!r} cannot be stored as JSON: {error}") from error
    del content["embedding"]
    content.pop("text", None)  # the record has it
    document = dict.fromkeys(_DOC_NAMES, node.ref_doc_id) if node.ref_doc_id else {}
    ours = {
        NODE_ID: node.node_id,
        DOC_ID: document_of(node),
        FILLED: [name for name, value in content["metadata"].items() if _is_filled(value)],
        NODE: {TYPE_KEY: node.get_type(), DATA_KEY: content},
    }
    return Record(node.node_id, node.get_content(), document | content["metadata"] | ours)


def read_node(record: Record) -> BaseNode:
    """Return the node that a record was made from.

    Raises:
        IndexDamaged: it was not made from one.
    """
    try:
        stored: Mapping[str, Any] = record.metadata[NODE]
        return json_to_doc({TYPE_KEY: stored[TYPE_KEY], DATA_KEY: stored[DATA_KEY] | {"text": record.text}})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IndexDamaged(f"record {record.id!r} was not stored as a LlamaIndex node: {error!r}") from error


def document_of(node: BaseNode) -> str:
    """Return the id of the document a node comes from; one without is a document of its own, as pipelines see it."""
    return node.ref_doc_id or node.node_id


def embedding_of(node: BaseNode) -> list[float]:
    """Return a node's embedding.

    Raises:
        InvalidVectors: it has none.
    """
    if node.embedding is None:
        raise InvalidVectors(
            f"node {node.node_id!r} has no embedding: add it through a VectorStoreIndex or an IngestionPipeline, or"
            " set node.embedding"
        )
    return node.embedding


def _is_filled(value: object) -> bool:
    return isinstance(value, (list, dict)) and value != []
