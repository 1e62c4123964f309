"""Retrieval-augmented generation with LangChain: load, split, index, retrieve, answer.

    pip install '.[langchain]' langchain-text-splitters
    python examples/langchain_rag/rag.py

Runs offline: the embedded model ``lexical`` stands in for jina-embeddings-v5, and a stub for the language model.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_text_splitters import RecursiveCharacterTextSplitter

from jinavec_adapters.langchain import BinaryVectorStore, JinaV5Embeddings

QUESTIONS = ["How does jinavec refuse to mix two contracts?", "What do I need to run the tests?"]
PAGES = [Path(__file__).parents[2] / name for name in ("README.md", "CONTRIBUTING.md")]

# With the real model, only this line changes (and pip install '.[langchain,onnx]'):
# EMBEDDINGS = JinaV5Embeddings(model="jina-embeddings-v5-text-nano", task="retrieval", dimension=256)
EMBEDDINGS = JinaV5Embeddings(model="lexical")

# Any chat model of LangChain goes here, such as ChatOpenAI(...); the stub says one sentence whatever it is asked.
MODEL = FakeListChatModel(responses=["(A language model would answer here, from the passages above.)"])

PROMPT = ChatPromptTemplate.from_template("Answer from these passages only.\n\n{context}\n\nQuestion: {question}")


def load() -> list[Document]:
    """Load the pages."""
    return [Document(page.read_text("utf-8"), metadata={"source": page.name}) for page in PAGES]


def show(documents: list[Document]) -> str:
    """Print what was retrieved, and write it into one text for the prompt."""
    for document in documents:
        print(f"  {document.metadata['source']}: {' '.join(document.page_content.split())[:100]}")
    return "\n\n".join(document.page_content for document in documents)


def main() -> None:
    """Index this project's own pages and answer two questions about them."""
    with TemporaryDirectory() as folder, BinaryVectorStore(folder, embedding=EMBEDDINGS) as store:
        passages = RecursiveCharacterTextSplitter(chunk_size=600, chunk_overlap=0).split_documents(load())
        store.add_documents(passages)
        print(f"{len(passages)} passages indexed under {EMBEDDINGS.contract.model}")
        retriever = store.as_retriever(k=3)
        chain = {"context": retriever | show, "question": RunnablePassthrough()} | PROMPT | MODEL | StrOutputParser()
        for question in QUESTIONS:
            print(f"\n{question}")
            print(chain.invoke(question))


if __name__ == "__main__":
    main()
