"""LangChain: embeddings, and a vector store over the FAISS binary index."""

from jinavec import extras

extras.require("langchain_core", "langchain")

from jinavec_adapters.langchain.embeddings import JinaV5Embeddings  # noqa: E402
from jinavec_adapters.langchain.retriever import BinaryRetriever  # noqa: E402
from jinavec_adapters.langchain.store import BinaryVectorStore  # noqa: E402

__all__ = ["BinaryRetriever", "BinaryVectorStore", "JinaV5Embeddings"]
