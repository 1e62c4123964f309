"""Search the documentation of Python's own standard library: text in, vectors, a binary index on disk, answers out."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from docstrings import records
from rich.progress import Progress

from jinavec import Encoder, Engine, JinavecError, Record, open_engine

QUESTIONS = [
    "what is the median of a list of numbers?",
    "how do I pick a random element from a list?",
    "which function joins the parts of a file path?",
    "create a temporary directory",
]
BY_MEANING = ["attach a photo to a letter", "trigonometry"]
"""Questions that share no word with their answers."""
STAND_IN = """\
wordllama-256 is a small stand-in: static English word vectors, 16 MB, no torch, nothing to download. It shows the way,
not the quality. The same with jina-embeddings-v5: --model jina-embeddings-v5-text-nano
(needs pip install '.[onnx]' and the weights, which are CC-BY-NC-4.0: non-commercial use)."""


def main(
    model: Annotated[str, typer.Option(help="A name from `jinavec models`.")] = "wordllama-256",
    to: Annotated[Path | None, typer.Option(help="Keep the index in this folder; temporary by default.")] = None,
    k: Annotated[int, typer.Option("-k", help="Hits per question.", min=1)] = 3,
) -> None:
    """Index Python's docstrings and answer some questions about them."""
    if model == "wordllama-256":
        print(STAND_IN)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = to or Path(temporary, "python-docs")
            documents = records()
            with Encoder.load(model) as encoder, open_engine(f"faiss:{folder}", encoder=encoder) as index:
                fill(index, encoder, documents)
                print(f"{index.count()} records in {folder}")
                for question in QUESTIONS:
                    ask(index, question, k)
                if model != "lexical":
                    compare(index, documents, Path(temporary, "by-words"))
    except JinavecError as error:  # such as a runtime that is not installed: its message says what to do
        sys.exit(f"error: {error}")
    suggest(to)


def fill(index: Engine, encoder: Encoder, documents: list[Record]) -> None:
    """Embed the documents and store them."""
    started = time.perf_counter()
    with Progress() as progress:
        bar = progress.add_task(f"embedding with {encoder.profile.name}", total=len(documents))
        vectors = encoder.encode_documents(
            [record.text for record in documents],
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    index.add(documents, vectors)
    print(f"embedded and stored in {time.perf_counter() - started:.1f} s")


def ask(index: Engine, question: str, k: int, by: str = "") -> None:
    """Print the answers to a question: score, id and a line of text."""
    started = time.perf_counter()
    hits = index.search(question, k=k)
    took = f"{1000 * (time.perf_counter() - started):.1f} ms"
    print(f"\n{question}  ({f'{by}, ' if by else ''}{took})")
    for rank, hit in enumerate(hits, start=1):
        line = hit.record.text.partition("\n")[2].partition("\n")[0]  # below the name
        print(f"{rank} {hit.score:6.3f} {hit.record.id}\n         {line[:100]}")


def compare(index: Engine, documents: list[Record], folder: Path) -> None:
    """Print what is found by meaning, and by the wording alone."""
    print("\n--- Meaning and wording: the answers to these share no word with the question. ---")
    with Encoder.load("lexical") as encoder, open_engine(f"faiss:{folder}", encoder=encoder) as by_words:
        by_words.add(documents)
        for question in BY_MEANING:
            ask(index, question, 2, "by meaning")
            ask(by_words, question, 2, "by wording: the model lexical")


def suggest(to: Path | None) -> None:
    """Print commands to go on with."""
    command = Path(sys.executable).with_name("jinavec")
    shown = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    folder = to or Path("python-docs")
    print("\n--- What to do next ---")
    if to is None:
        print(f'make demo ARGS="--to {folder}"    # the same, and the index stays')
    print(f'{shown} search faiss:{folder} "how do I read a file line by line?" -k 3')
    print(f"{shown} info faiss:{folder}")
    print(f"{shown} index --help    # your own records, files and folders")


if __name__ == "__main__":
    typer.run(main)
