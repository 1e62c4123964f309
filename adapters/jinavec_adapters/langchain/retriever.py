"""BinaryRetriever: a retriever with a ``k`` of its own, which LangChain's lacks."""

from __future__ import annotations

from typing import Self

from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import ConfigDict, Field, model_validator


class BinaryRetriever(VectorStoreRetriever):
    """Retrieves the documents of a vector store; what ``BinaryVectorStore.as_retriever`` gives.

    Search types and ``search_kwargs`` (filter, score_threshold, fetch_k, lambda_mult) are LangChain's own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    k: int | None = Field(default=None, ge=1)
    """The number of documents; in place of the one in ``search_kwargs``."""

    @model_validator(mode="after")
    def _pass_on_k(self) -> Self:
        if self.k is not None:
            self.search_kwargs = self.search_kwargs | {"k": self.k}
        return self
