"""What an adapter adds to the core: 10,000 texts to lists of floats, side by side with ``Encoder.encode_documents``.

The fastest models there are, so that the adapter's own share shows: ``wordllama-256`` and ``lexical``. The contestants
run in turn, round by round, so that a busy moment of the machine does not fall on one of them alone. Processor time is
compared: other processes disturb it less.

    python benchmarks/adapters.py               # needs the extras static, langchain, llama-index, haystack, chroma, lancedb
    python benchmarks/adapters.py --texts 1000 --rounds 2

Writes Markdown to standard output. An adapter whose framework is not installed is left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from jinavec import Encoder
from jinavec.errors import MissingExtra

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
CORE = "core: encode_documents(...).tolist()"


def langchain(model: str, texts: list[str]) -> Callable[[], object]:
    """JinaV5Embeddings.embed_documents."""
    from jinavec_adapters.langchain import JinaV5Embeddings

    return partial(JinaV5Embeddings(model=model).embed_documents, texts)


def llama_index(model: str, texts: list[str]) -> Callable[[], object]:
    """JinaV5Embedding.get_text_embedding_batch, with LlamaIndex's own batches and events."""
    from jinavec_adapters.llama_index import JinaV5Embedding

    return partial(JinaV5Embedding(model).get_text_embedding_batch, texts)


def haystack(model: str, texts: list[str]) -> Callable[[], object]:
    """JinaV5DocumentEmbedder.run; the Document objects are made before."""
    from jinavec_adapters.haystack import JinaV5DocumentEmbedder  # isort: skip  (its door says what is missing)
    from haystack import Document

    embedder = JinaV5DocumentEmbedder(model)
    embedder.warm_up()
    return partial(embedder.run, [Document(content=text) for text in texts])


def chroma(model: str, texts: list[str]) -> Callable[[], object]:
    """JinaV5EmbeddingFunction, with Chroma's own checks; it gives arrays, not lists."""
    from jinavec_adapters.chroma import JinaV5EmbeddingFunction

    return partial(JinaV5EmbeddingFunction(model), texts)


def lancedb(model: str, texts: list[str]) -> Callable[[], object]:
    """JinaV5EmbeddingFunction.compute_source_embeddings; it gives arrays, not lists."""
    from jinavec_adapters.lancedb import JinaV5EmbeddingFunction

    function: Any = JinaV5EmbeddingFunction.create(model=model)
    return partial(function.compute_source_embeddings, texts)


def core(model: str, texts: list[str]) -> Callable[[], object]:
    """Encode with the core alone: what the others are compared with."""
    encoder = Encoder.load(model)
    return lambda: encoder.encode_documents(texts).tolist()


CONTESTANTS: dict[str, Callable[[str, list[str]], Callable[[], object]]] = {
    CORE: core,
    "LangChain: embed_documents": langchain,
    "LlamaIndex: get_text_embedding_batch": llama_index,
    "Haystack: document embedder": haystack,
    "Chroma: embedding function": chroma,
    "LanceDB: embedding function": lancedb,
}


def main() -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="+", default=["wordllama-256", "lexical"])
    options = parser.parse_args()
    print(f"{options.texts} texts, best of {options.rounds} rounds; Python {platform.python_version()}, ", end="")
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}\n")
    for model in options.models:
        compare(model, make_texts(options.texts), options.rounds)


def make_texts(count: int) -> list[str]:
    """Make texts of 5 to 60 words, each another."""
    choose = random.Random(1)
    words = ["".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(2, 10))) for _ in range(5000)]
    return [f"{number} {' '.join(choose.choices(words, k=choose.randint(5, 60)))}" for number in range(count)]


def compare(model: str, texts: list[str], rounds: int) -> None:
    """Time all contestants with one model."""
    ready: dict[str, Callable[[], object]] = {}
    for name, prepare in CONTESTANTS.items():
        try:
            ready[name] = prepare(model, texts)
        except MissingExtra as error:
            print(f"left out: {name}: {error}")
    wall: dict[str, list[float]] = {name: [] for name in ready}
    processor: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(rounds):
        for name in list(ready)[:: 1 if number % 2 == 0 else -1]:
            started, used = time.perf_counter(), time.process_time()
            ready[name]()
            wall[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    base = min(processor[CORE])
    print(f"| {model} | seconds | processor seconds | added to the core's |\n|---|---|---|---|")
    for name in ready:
        used = min(processor[name])
        print(f"| {name} | {min(wall[name]):.3f} | {used:.3f} | {100 * (used / base - 1):+.1f} % |")
    print()


if __name__ == "__main__":
    main()
