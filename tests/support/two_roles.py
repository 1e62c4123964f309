"""The built-in backend behind the two prefixes of jina-embeddings-v5-text: roles make a difference."""

from __future__ import annotations

from jinavec import ModelProfile, Role, Task

TWO_ROLES = ModelProfile(
    name="two-roles",
    width=768,
    dimensions=(768, 128, 64),
    prompts={(Task.RETRIEVAL, Role.QUERY): "Query: ", (Task.RETRIEVAL, Role.DOCUMENT): "Document: "},
    backend="lexical",
)
