"""Whether nodes were embedded by the model that they should be: LlamaIndex's index and store have one each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode, MetadataMode

from jinavec.errors import ContractMismatch
from jinavec_adapters.llama_index.embedding import JinaV5Embedding

SAME = 0.98
"""Cosine of two embeddings of one text by one model: half precision, and what a server does, move it by less."""


def check_embedded(nodes: Sequence[BaseNode], embeddings: Sequence[list[float]], model: BaseEmbedding) -> None:
    """Embed the first text again, and compare; of a ``JinaV5Embedding`` only where it was not embedded just before.

    LlamaIndex embeds a text with its metadata; where those embeddings differ, the text alone is tried.

    Raises:
        ContractMismatch: the embedding is not what the model gives.
    """
    again = model.embedding_again if isinstance(model, JinaV5Embedding) else model.get_text_embedding
    for node, given in zip(nodes, embeddings, strict=True):
        texts = list(dict.fromkeys(node.get_content(mode) for mode in (MetadataMode.EMBED, MetadataMode.NONE)))
        texts = [text for text in texts if text.strip()]
        if not texts:
            continue
        best = -1.0
        for text in texts:
            own = again(text)
            if len(own) != len(given):
                return  # refused where it is stored
            best = max(best, _cosine(own, given))
            if best >= SAME:
                return
        raise ContractMismatch(
            f"the embedding of node {node.node_id!r} is not what the store's model {model.model_name!r} gives for its"
            f" text (cosine {best:.3f}): give the store and the index the same embed_model; or, for embeddings of other"
            " texts, the store the contract in place of the model"
        )


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else -1.0
