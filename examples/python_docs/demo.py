"""Search the documentation of Python's own standard library: text in, vectors, a binary index on disk, answers out."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from docstrings import records
from rich.progress import Progress

from jinavec import Encoder, open_engine

QUESTIONS = [
    "what is the median of a list of numbers?",
    "how do I copy a whole directory tree?",
    "how do I pick a random element from a list?",
    "which function joins the parts of a file path?",
    "create a temporary directory",
]
STAND_IN = """\
wordllama-256 is a small stand-in: static English word vectors, 16 MB, no torch, nothing to download. It shows the way,
not the quality. The same with jina-embeddings-v5: --model jina-embeddings-v5-text-nano
(needs pip install 'jinavec[onnx]' and the weights, which are CC-BY-NC-4.0: non-commercial use)."""


def main(
    model: Annotated[str, typer.Option(help="A name from `jinavec models`.")] = "wordllama-256",
    to: Annotated[Path | None, typer.Option(help="Keep the index in this folder; temporary by default.")] = None,
    k: Annotated[int, typer.Option("-k", help="Hits per question.", min=1)] = 5,
) -> None:
    """Index Python's docstrings and answer some questions about them."""
    if model == "wordllama-256":
        print(STAND_IN)
    with tempfile.TemporaryDirectory() as temporary, Encoder.load(model) as encoder:
        folder = to or Path(temporary, "python-docs")
        with open_engine(f"faiss:{folder}", encoder=encoder) as index:
            started = time.perf_counter()
            documents = records()
            with Progress() as progress:
                bar = progress.add_task("embedding", total=len(documents))
                vectors = encoder.encode_documents(
                    [record.text for record in documents],
                    progress=lambda done, total: progress.update(bar, completed=done, total=total),
                )
            index.add(documents, vectors)
            print(f"\n{index.count()} records in {folder} after {time.perf_counter() - started:.1f} s")

            for question in QUESTIONS:
                started = time.perf_counter()
                hits = index.search(question, k=k)
                print(f"\n{question}  ({1000 * (time.perf_counter() - started):.1f} ms)")
                for rank, hit in enumerate(hits, start=1):
                    print(f"{rank} {hit.score:.3f} {hit.record.id}")
        if to is not None:
            print(f"\nAsk your own: jinavec search faiss:{folder} 'how do I read a file line by line?'")


if __name__ == "__main__":
    typer.run(main)
