"""LlamaIndex: an embedding model and a vector store, thin translations over the core and the FAISS binary index."""

from jinavec.extras import require as _require

_require("llama_index.core", "llama-index")  # the classes below derive from LlamaIndex's

from jinavec_adapters.llama_index.embedding import JinaV5Embedding  # noqa: E402
from jinavec_adapters.llama_index.store import BinaryVectorStore  # noqa: E402

__all__ = ["BinaryVectorStore", "JinaV5Embedding"]
