"""Encoding speed on a GPU: jinavec's torch and onnx backends, sentence-transformers, and vLLM.

One run, the same weights, the same texts: XQuAD's questions and passages in all languages of the folder. The weights are
drawn at random, at the sizes of jina-embeddings-v5-text-nano (EuroBERT) and -small (Qwen3): speed does not depend on
their values. What is not installed is left out. Contestants run one after the other, each with the card to itself.

    python benchmarks/gpu.py --data DIR                                             # DIR holds xquad.*.json
    python benchmarks/gpu.py --data DIR --device cpu --models tiny --texts 40       # without a GPU, to see it work

Writes Markdown to standard output, and what it is doing to standard error.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from encode import PREFIX, Float32, cosines_to, minilm_folder, processor, say, write_json

from jinavec import Encoder, ModelProfile, Role, Task
from jinavec.backends.local.export import export_onnx

PEAKS = {
    "B200": 2250,
    "H200 NVL": 835,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "A100-PCIE": 312,
    "A100 80GB PCIe": 312,
    "A10G": 70,
    "A10": 125,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
"""TFLOPS of dense bfloat16 with sums in float32, as the vendor's data sheets give them: half of what those say of sparse
matrices. A name may be followed by the form and the memory; of any other card (a Ti, a laptop's, a part of one) no share
is printed: give its peak by ``--peak``."""
CARD = r"(NVIDIA |GeForce |Tesla )*{}([ -](SXM\d?|\d+GB|HBM\d\w?))*"
LIMIT = 512
TORCH, ONNX = "jinavec torch bfloat16", "jinavec onnx float32"
ST, ST_HALF, VLLM = "sentence-transformers float32", "sentence-transformers bfloat16", "vLLM bfloat16"
LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnxruntime-gpu", "onnxruntime", "vllm", "jinavec")
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "nano": ("EuroBert", {"hidden_size": 768, "intermediate_size": 3072, "layers": 12, "heads": 12, "kv_heads": 12}),
    "small": ("Qwen3", {"hidden_size": 1024, "intermediate_size": 3072, "layers": 28, "heads": 16, "kv_heads": 8}),
    "tiny": ("Qwen3", {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 2, "kv_heads": 1}),
}
HEAD_WIDTHS = {"nano": 64, "small": 128, "tiny": 32}


@dataclass(frozen=True)
class Model:
    """A model drawn at random."""

    profile: ModelProfile
    weights: Path
    graph: Path
    parameters: int
    """Without the table of token embeddings, which multiplies nothing."""
    attention: int
    """Operations of attention by pair of tokens: scores and weighted sum, all layers and heads."""

    def operations(self, tokens: Sequence[int]) -> float:
        """Return the floating-point operations that texts of so many tokens take; a causal model's mask saves none."""
        return sum(2.0 * self.parameters * count + self.attention * count**2 for count in tokens)


@dataclass
class Measured:
    """What was seen of a contestant; without its model, so that the next one has the card to itself."""

    name: str
    vectors: Float32
    seconds: list[float] = field(default_factory=list[float])
    """Of each round."""


def main() -> None:
    """Run the benchmark and print its report."""
    options = read_arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # CUDA survives no fork
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    card = name_card(options.device)
    peak = options.peak or find_peak(card)
    print(describe(card, peak, options))
    texts = read_texts(options.data, options.texts)
    folder = Path(options.work or tempfile.mkdtemp(prefix="jinavec-gpu-")).resolve()
    try:
        for name in options.models:
            say(f"model {name}: preparing weights and graph")
            model = prepare(name, folder / name)
            print(compare(name, model, texts, peak, options), flush=True)
    finally:
        if not options.work:
            shutil.rmtree(folder, ignore_errors=True)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad.*.json")
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=["nano", "small"])
    parser.add_argument("--device", default="cuda", help="torch's name of it; cpu to see it work without a GPU")
    parser.add_argument("--texts", type=int, help="use only so many texts; all languages have 17,160")
    parser.add_argument("--batch", type=int, default=128, help="texts of a batch in sentence-transformers")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the best of each contestant counts")
    parser.add_argument("--peak", type=float, help="TFLOPS of dense bfloat16, for a card that is not in the table")
    parser.add_argument("--work", type=Path, help="folder that keeps weights and graphs for the next run")
    return parser.parse_args()


def on_cpu(device: str) -> bool:
    """Return whether a device is the processor."""
    return device.startswith("cpu")


def name_card(device: str) -> str:
    """Return the name of the card, or of the processor."""
    if on_cpu(device):
        return processor()
    return importlib.import_module("torch").cuda.get_device_name(device)


def find_peak(card: str) -> float | None:
    """Return the TFLOPS of a card; None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if re.fullmatch(CARD.format(name), card)), None)


def describe(card: str, peak: float | None, options: argparse.Namespace) -> str:
    """Return the head of the report: what was compared, and where."""
    versions: list[str] = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    limits = f"{peak:g} TFLOPS of dense bfloat16" if peak else "peak unknown"
    return (
        f"{card} ({limits}), Python {platform.python_version()}\n\n{', '.join(versions)}; batches of {options.batch} in"
        f" sentence-transformers; best of {options.repeat} rounds\n"
    )


def read_texts(folder: Path, count: int | None) -> list[str]:
    """Return the questions and passages of all languages, each once, in a fixed random order."""
    texts: dict[str, None] = {}
    for path in sorted(folder.glob("xquad.*.json")):
        for article in json.loads(path.read_text("utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                texts |= dict.fromkeys([paragraph["context"], *(entry["question"] for entry in paragraph["qas"])])
    if not texts:
        raise SystemExit(f"there is no xquad.*.json in {folder}")
    shuffled = list(texts)
    random.Random(0).shuffle(shuffled)
    return shuffled[:count]


def prepare(name: str, folder: Path) -> Model:
    """Make weights and graph; what a run before left in the folder is used again."""
    kind, size = SIZES[name]
    prompts = {(Task.RETRIEVAL, Role.QUERY): "Query: ", (Task.RETRIEVAL, Role.DOCUMENT): PREFIX}
    width = size["hidden_size"]
    profile = ModelProfile(name=f"random-{name}", width=width, prompts=prompts, pooling="last", limit=LIMIT)
    weights, graph = folder / "weights", folder / "graph"
    if not weights.exists():
        make_weights(weights, kind, size, HEAD_WIDTHS[name])
    if not graph.exists():
        export_onnx(profile, out=graph, source=str(weights))
    attention = 4 * size["layers"] * size["heads"] * HEAD_WIDTHS[name]
    return Model(profile, weights, graph, count_parameters(weights), attention)


def make_weights(folder: Path, kind: str, size: dict[str, Any], head_width: int) -> None:
    """Write a model drawn at random, with MiniLM's tokenizer and last-token pooling."""
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    shutil.copytree(minilm_folder(), folder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=size["hidden_size"],
        intermediate_size=size["intermediate_size"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["kv_heads"],
        head_dim=head_width,
        vocab_size=30_522,  # MiniLM's
        pad_token_id=0,
        bos_token_id=101,
        eos_token_id=102,
        mask_token_id=103,
    )
    getattr(transformers, f"{kind}Model")(config).eval().save_pretrained(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LIMIT, "do_lower_case": False})
    pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": size["hidden_size"], **pooling})


def count_parameters(weights: Path) -> int:
    """Return how many numbers the layers have."""
    safetensors = importlib.import_module("safetensors")
    count = 0
    for path in weights.glob("*.safetensors"):
        with safetensors.safe_open(str(path), "np") as file:
            names: list[str] = [name for name in file.keys() if "embed_tokens" not in name]
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return count


Enter = Callable[[Model, argparse.Namespace], Callable[[Sequence[str]], Float32]]
"""Loads a contestant; gives what turns texts into unit vectors."""


def jinavec_torch(model: Model, options: argparse.Namespace) -> Callable[[Sequence[str]], Float32]:
    """Enter jinavec's torch backend."""
    how = {"device": options.device, "precision": "bfloat16"}
    return Encoder.load(
        model.profile, backend="torch", source=str(model.weights), options=how, overflow="truncate"
    ).encode_documents


def jinavec_onnx(model: Model, options: argparse.Namespace) -> Callable[[Sequence[str]], Float32]:
    """Enter jinavec's onnx backend."""
    provider = "CPUExecutionProvider" if on_cpu(options.device) else "CUDAExecutionProvider"
    return Encoder.load(
        model.profile, backend="onnx", source=str(model.graph), options={"provider": provider}, overflow="truncate"
    ).encode_documents


def sentence_transformers(precision: str) -> Enter:
    """Return what enters sentence-transformers' own encode."""

    def enter(model: Model, options: argparse.Namespace) -> Callable[[Sequence[str]], Float32]:
        torch, library = importlib.import_module("torch"), importlib.import_module("sentence_transformers")
        loaded = library.SentenceTransformer(
            str(model.weights), device=options.device, model_kwargs={"dtype": getattr(torch, precision)}
        )

        def embed(texts: Sequence[str]) -> Float32:
            vectors = loaded.encode(
                list(texts), prompt=PREFIX, batch_size=options.batch, convert_to_tensor=True, show_progress_bar=False
            )
            return unit(vectors.float().cpu().numpy())

        return embed

    return enter


def vllm(model: Model, options: argparse.Namespace) -> Callable[[Sequence[str]], Float32]:
    """Enter vLLM, which takes a share of the card's memory for itself."""
    library = importlib.import_module("vllm")
    loaded = library.LLM(
        model=str(model.weights),
        runner="pooling",
        dtype="bfloat16",
        max_model_len=LIMIT,
        gpu_memory_utilization=0.5,
        disable_log_stats=True,
    )

    def embed(texts: Sequence[str]) -> Float32:
        outputs = loaded.embed([PREFIX + text for text in texts], use_tqdm=False, truncate_prompt_tokens=LIMIT)
        return unit(np.array([output.outputs.embedding for output in outputs], np.float32))

    return embed


def unit(vectors: Float32) -> Float32:
    """Return vectors at unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


CONTESTANTS: dict[str, tuple[str, Enter]] = {
    ST: ("sentence_transformers", sentence_transformers("float32")),
    ST_HALF: ("sentence_transformers", sentence_transformers("bfloat16")),
    TORCH: ("torch", jinavec_torch),
    ONNX: ("onnxruntime", jinavec_onnx),
    VLLM: ("vllm", vllm),
}
"""By name: the module that it needs, and what enters it. The first one's vectors are the reference."""


def compare(name: str, model: Model, texts: Sequence[str], peak: float | None, options: argparse.Namespace) -> str:
    """Run the contestants one after the other; return the table."""
    tokens = count_tokens(model, texts)
    done: list[Measured] = []
    left_out: list[str] = []
    for title, (module, enter) in CONTESTANTS.items():
        if importlib.util.find_spec(module) is None:
            left_out.append(f"{title}: not installed")
            continue
        try:
            done.append(run(title, enter, model, texts, options))
        except Exception as error:  # a library that cannot run this model or device leaves the others their rows
            left_out.append(f"{title}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            say(f"  {left_out[-1]}")
        free(options.device)
    lines = [
        f"### {name}: {len(texts)} texts, {sum(tokens)} tokens, {model.operations(tokens) / 1e12:.3g} TFLOP\n",
        f"| | tokens/s | times {ST_HALF} | TFLOPS | share of the peak | least cosine to float32 |",
        "|---|---|---|---|---|---|",
        *rows(done, model.operations(tokens), sum(tokens), peak),
        *(f"\nLeft out: {reason}" for reason in left_out),
    ]
    return "\n".join(lines) + "\n"


def run(title: str, enter: Enter, model: Model, texts: Sequence[str], options: argparse.Namespace) -> Measured:
    """Load a contestant, let it warm up on all texts, so that every shape was seen, and measure it."""
    embed = enter(model, options)
    measured = Measured(title, embed(texts))
    for _ in range(options.repeat):
        started = time.perf_counter()
        embed(texts)
        measured.seconds.append(time.perf_counter() - started)
        say(f"  {title}: {len(texts) / measured.seconds[-1]:.1f} texts/s")
    return measured


def free(device: str) -> None:
    """Give back the memory of the contestant before."""
    gc.collect()
    if not on_cpu(device):
        importlib.import_module("torch").cuda.empty_cache()


def count_tokens(model: Model, texts: Sequence[str]) -> list[int]:
    """Return the tokens of each text, prefix included, as jinavec counts them: truncated to the limit."""
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(model.weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT)
    return [len(found.ids) for found in tokenizer.encode_batch([PREFIX + text for text in texts])]


def rows(done: Sequence[Measured], operations: float, tokens: int, peak: float | None) -> Iterator[str]:
    """Yield the row of each contestant."""
    best = {contestant.name: min(contestant.seconds) for contestant in done}
    reference = next((contestant.vectors for contestant in done if contestant.name == ST), None)
    for contestant in done:
        seconds = best[contestant.name]
        teraflops = operations / seconds / 1e12
        ratio = f"{best[ST_HALF] / seconds:.2f}" if ST_HALF in best else ""
        share = f"{teraflops / peak:.1%}" if peak else ""
        cosine = "" if reference is None else f"{cosines_to(contestant.vectors, reference).min():.5f}"
        yield f"| {contestant.name} | {tokens / seconds:,.0f} | {ratio} | {teraflops:.3g} | {share} | {cosine} |"


if __name__ == "__main__":
    main()
