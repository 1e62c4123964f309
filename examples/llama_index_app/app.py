"""Ask questions about jinavec's own documentation with LlamaIndex: load, split, ingest, retrieve, answer.

    pip install '.[llama-index,static]'
    python examples/llama_index_app/app.py "how do I add another vector engine?" --keep notes

Run it again with --keep: what did not change is not embedded again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import MarkdownNodeParser
from llama_index.core.storage.docstore import SimpleDocumentStore

from jinavec_adapters.llama_index import BinaryVectorStore, JinaV5Embedding

MODEL = "wordllama-256"  # the real model: "jina-embeddings-v5-text-nano" (its weights are for non-commercial use)
ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")
QUESTIONS = ["how do I add another vector engine?", "what is a contract good for?"]


def main(
    questions: Annotated[list[str] | None, typer.Argument(help="What to ask; some examples by default.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the index in this folder; temporary by default.")] = None,
) -> None:
    """Answer questions about jinavec's documentation."""
    Settings.embed_model = JinaV5Embedding(model_name=MODEL, dimension=256)
    Settings.llm = MockLLM()  # repeats its prompt; put any language model of LlamaIndex here
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        store = BinaryVectorStore(path=folder / "vectors", embed_model=Settings.embed_model)
        print(f"{ingest(pages(), store, folder / 'docstore.json')} passages embedded, {len(store.client)} in the index")
        index = VectorStoreIndex.from_vector_store(store)
        for question in questions or QUESTIONS:
            response = index.as_query_engine(similarity_top_k=3).query(question)
            print(f"\n{question}")
            for source in response.source_nodes:
                title, *_ = source.get_content().splitlines()
                print(f"{source.score:.3f} {source.metadata['page']}: {title}")
            print(f"The language model was given {len(str(response))} characters to answer from.")
        store.close()


def pages() -> list[Document]:
    """Load the pages; the id is what tells a changed page from a new one."""
    return [Document(id_=page, text=(ROOT / page).read_text("utf-8"), metadata={"page": page}) for page in PAGES]


def ingest(documents: Iterable[Document], store: BinaryVectorStore, remembered: Path) -> int:
    """Split and embed the pages that changed, forget those that are gone; return the number of passages embedded."""
    docstore = SimpleDocumentStore()
    if remembered.exists():
        docstore = SimpleDocumentStore.from_persist_path(str(remembered))
    pipeline = IngestionPipeline(
        transformations=[MarkdownNodeParser(), Settings.embed_model],
        vector_store=store,
        docstore=docstore,
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    nodes = pipeline.run(documents=list(documents))
    docstore.persist(str(remembered))
    return len(nodes)


if __name__ == "__main__":
    typer.run(main)
