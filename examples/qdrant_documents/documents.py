"""Give qdrant-client texts in place of vectors: documents and queries each get the right prefix by themselves.

    pip install '.[fastembed,static]'
    python examples/qdrant_documents/documents.py

For the real model write MODEL = "jinaai/jina-embeddings-v5-text-nano".
"""

from __future__ import annotations

from qdrant_client import QdrantClient, models

from jinavec_adapters.qdrant import register, vector_params

MODEL = "wordllama-256"
OPTIONS = {"task": "retrieval", "dimensions": 128}
TEXTS = ["The cat sleeps on the stove.", "Kittens drink milk in the morning.", "Ships anchor in the harbour."]


def document(text: str) -> models.Document:
    """Return a text that the client embeds."""
    return models.Document(text=text, model=MODEL, options=OPTIONS)


def main() -> None:
    """Store the texts in memory and ask for one of them."""
    register()
    client = QdrantClient(":memory:")
    client.create_collection("notes", vectors_config=vector_params(MODEL, OPTIONS))
    points = [models.PointStruct(id=n, vector=document(text), payload={"text": text}) for n, text in enumerate(TEXTS)]
    client.upsert("notes", points)
    for point in client.query_points("notes", query=document("where does the cat sleep?"), limit=2).points:
        print(f"{point.score:.3f} {(point.payload or {})['text']}")


if __name__ == "__main__":
    main()
