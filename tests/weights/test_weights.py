"""The real weights: golden ids from the pinned tokenizers, golden similarities from the vendor's cards.

``JINAVEC_WEIGHTS`` names a folder that holds snapshots under their repository's names
(``jina-embeddings-v5-text-nano``, ``jina-embeddings-v5-text-nano-retrieval`` ...); what is missing there is skipped.
With ``JINAVEC_HUB=1`` the hub is asked instead.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from jinavec import Encoder, prompt
from jinavec.extras import installed
from jinavec.models import CATALOGUE

pytestmark = [
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft asks transformers for it
]

FOLDER = os.environ.get("JINAVEC_WEIGHTS", "")
HUB = bool(os.environ.get("JINAVEC_HUB"))
FAMILY = "jina-embeddings-v5-text"

TOKENIZER_SHA256 = {
    "small": "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    "nano": "98d4a1d32152d6cedf85b5e88f3b205106dca1fe72aaab34e0ac13c238421069",
}
LIGHT_QUERY = "How fast does light travel in a vacuum?"
LIGHT_DOCUMENT = "In a vacuum, light travels 299,792,458 metres every second - a universal constant of nature."
GOLDEN_IDS = {
    ("small", "query"): [2859, 25, 2585, 4937, 1558, 3100, 5821, 304, 264, 28202, 30],
    ("nano", "query"): [2929, 25, 2650, 5043, 1587, 3177, 5944, 304, 264, 29302, 30, 128001],
    ("small", "document"): [
        *(7524, 25, 758, 264, 28202, 11, 3100, 34192, 220, 17, 24, 24, 11, 22, 24, 17, 11, 19, 20, 23, 36256, 1449),
        *(2086, 481, 264, 20178, 6783, 315, 6993, 13),
    ],
    ("nano", "document"): [
        *(7676, 25, 763, 264, 29302, 11, 3177, 35292, 220, 15531, 11, 24763, 11, 21209, 37356, 1475, 2132, 482, 264),
        *(20789, 6926, 315, 7138, 13, 128001),
    ],
}
PLANET_QUERY = "Which planet is known as the Red Planet?"
PLANET_DOCUMENTS = [
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
]
GOLDEN_SIMILARITIES = {"small": [0.4860, 0.7611, 0.5914, 0.6188], "nano": [0.5013, 0.7914, 0.6133, 0.5736]}
TOLERANCE = 0.01
"""The cards' numbers are bfloat16; nobody has published how far float32 lies from them."""


def source(repository: str) -> str:
    """Return where the weights are, or skip."""
    if HUB and not FOLDER:
        return f"jinaai/{repository}"
    if not FOLDER:
        pytest.skip("set JINAVEC_WEIGHTS to a folder of snapshots, or JINAVEC_HUB=1")
    folder = Path(FOLDER) / repository
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return str(folder)


def tokenizer_file(size: str) -> Path:
    """Return tokenizer.json of the base repository at the pinned revision."""
    where = source(f"{FAMILY}-{size}")
    if Path(where).is_dir():
        return Path(where) / "tokenizer.json"
    hub = pytest.importorskip("huggingface_hub")
    return Path(hub.hf_hub_download(where, "tokenizer.json", revision=CATALOGUE[f"{FAMILY}-{size}"].revisions[where]))


@pytest.mark.parametrize("size", ["small", "nano"])
def test_tokenizer_is_the_pinned_one(size: str) -> None:
    digest = hashlib.sha256(tokenizer_file(size).read_bytes()).hexdigest()
    assert digest == TOKENIZER_SHA256[size]


@pytest.mark.parametrize(("size", "role"), list(GOLDEN_IDS), ids=str)
def test_golden_ids(size: str, role: str) -> None:
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tokenizer_file(size)))
    text = prompt("retrieval", role) + (LIGHT_QUERY if role == "query" else LIGHT_DOCUMENT)
    ids: list[int] = tokenizer.encode(text).ids
    assert ids == GOLDEN_IDS[size, role]
    appended = CATALOGUE[f"{FAMILY}-{size}"].appended or ()
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids + list(appended)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("repository", ["base", "merged"])
@pytest.mark.parametrize("size", ["small", "nano"])
def test_golden_similarities(size: str, repository: str, backend: str) -> None:
    if not installed({"onnx": "onnxruntime", "torch": "torch"}[backend]):
        pytest.skip(f"the extra {backend} is not installed")
    if (repository, backend) == ("base", "onnx"):
        pytest.skip("base repositories hold no ONNX graph")
    name = f"{FAMILY}-{size}" if repository == "base" else f"{FAMILY}-{size}-retrieval"
    with Encoder.load(name, backend=backend, source=source(name)) as encoder:
        similarities = encoder.encode_documents(PLANET_DOCUMENTS) @ encoder.encode_queries([PLANET_QUERY])[0]
        np.testing.assert_allclose(similarities, GOLDEN_SIMILARITIES[size], atol=TOLERANCE)
        assert similarities.argsort().tolist() == np.argsort(GOLDEN_SIMILARITIES[size]).tolist()
        assert similarities.argmax() == 1, "Mars first"


@pytest.mark.parametrize("task", ["retrieval", "text-matching", "clustering", "classification"])
@pytest.mark.parametrize("size", ["small", "nano"])
def test_base_agrees_with_its_merged_sibling(size: str, task: str) -> None:
    if not installed("torch"):
        pytest.skip("the extra torch is not installed")
    base, merged = f"{FAMILY}-{size}", f"{FAMILY}-{size}-{task}"
    with Encoder.load(base, task=task, backend="torch", source=source(base)) as encoder:
        ours = encoder.encode_documents(PLANET_DOCUMENTS)
    with Encoder.load(merged, backend="torch", source=source(merged)) as encoder:
        theirs = encoder.encode_documents(PLANET_DOCUMENTS)
    assert (ours * theirs).sum(axis=1).min() > 0.999
