"""lexical: the same bits everywhere, an exact sum of hashed directions, and text folded as a reader would."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Encoder, JinavecWarning, ModelProfile, Role, Task

GOLDEN = {
    "": "d0a1b641efbdd533",
    "Where does the cat sleep?": "5165ecb0b6a28912",
    "Die Straße führt über den Fluß.": "75475a93bd1d1564",
    "Где спит кошка?": "9346daa05eac3ea2",
    "Πού κοιμάται η γάτα;": "19c323a50ee801ac",
    "أين تنام القطة؟": "555687f6a29ed5ad",
    "बिल्ली कहाँ सोती है?": "36b48731300eab27",
    "แมวนอนที่ไหน": "cf552a41be76ce16",
    "猫睡在哪里？": "f0e6b61eed377763",
    "ねこはどこでねますか。ネコ": "f8c93fc0110f80d5",
    "고양이는 어디에서 자나요?": "ff2214681e4282cd",
    "C++17: x_max = 3.5e-7": "366d87e421a70d99",
    "🐈\u200d⬛ sleeps 😴😴 ☀️": "98a9c7e9b66db3bf",
    "\U0001fae8 \ua7cb \U00010d50\u0897 \u1e9e": "df385886048d7737",  # from Unicode 15, 16, 16, 5.1
}
"""The first digits of the sha256 of a text's 768 little-endian float32, on CPython 3.11 with NumPy 2.4."""

pytestmark = pytest.mark.filterwarnings("ignore:1 of the texts hold nothing:jinavec.JinavecWarning")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("lexical")


def digests(vectors: Any) -> list[str]:
    return [hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()[:16] for vector in vectors]


def raw(texts: list[str], width: int = 768) -> Any:
    """The backend's sums, not yet normalised."""
    encoder = Encoder.load(ModelProfile(name="mine", width=width), backend="lexical")
    return encoder.backend.embed(texts, task=Task.RETRIEVAL, role=Role.DOCUMENT)


def words(count: int, seed: int) -> str:
    """Return random words of a to p."""
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnop", k=letters.randint(2, 9))) for _ in range(count))


class TestSameEverywhere:
    def test_golden(self, encoder: Encoder) -> None:
        assert digests(encoder.encode_documents(list(GOLDEN))) == list(GOLDEN.values())

    def test_golden_in_another_process(self) -> None:
        """With another hash seed, two BLAS threads, and the plainest BLAS kernel that OpenBLAS has for a PC."""
        script = "\n".join(
            [
                "import hashlib, json, sys",
                "from jinavec import Encoder",
                "vectors = Encoder.load('lexical').encode_queries(json.loads(sys.argv[1]))",
                "print(*(hashlib.sha256(v.astype('<f4').tobytes()).hexdigest()[:16] for v in vectors))",
            ]
        )
        environment = {"PYTHONHASHSEED": "7", "OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Prescott"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, json.dumps(list(GOLDEN))],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        assert done.stdout.split() == list(GOLDEN.values()), done.stderr

    def test_whatever_stands_beside_it(self, encoder: Encoder) -> None:
        texts = [*GOLDEN, *(words(number % 9, number) for number in range(1, 80))]
        together = digests(encoder.encode_documents(texts))
        assert digests(encoder.encode_documents(texts[::-1]))[::-1] == together
        assert [digests(encoder.encode_documents([text]))[0] for text in texts] == together

    def test_roles_and_tasks_make_no_difference(self, encoder: Encoder) -> None:
        texts = [text for text in GOLDEN if text]
        other = Encoder.load("lexical", task="clustering")
        assert digests(other.encode_queries(texts)) == digests(encoder.encode_documents(texts))

    def test_in_many_threads(self, encoder: Encoder) -> None:
        pieces = [[words(5, seed * 40 + number) for number in range(40)] for seed in range(8)]
        wanted = [digests(encoder.encode_documents(piece)) for piece in pieces]
        with ThreadPoolExecutor(8) as pool:
            assert list(map(digests, pool.map(Encoder.load("lexical").encode_documents, pieces))) == wanted


class TestSum:
    """Against the docstring, computed plainly in Python integers for texts of ASCII words."""

    def test_short(self) -> None:
        for text in ("a", "cat", "the cat and the other cats", "to be or not to be, that is: to be", "x1 x2 x1"):
            assert raw([text])[0].tolist() == _plain_sum(text, 768)

    def test_more_features_than_one_matrix_holds(self) -> None:
        text = words(3000, 1)
        assert raw([text], 64)[0].tolist() == _plain_sum(text, 64)

    @pytest.mark.parametrize("width", [1, 7, 100, 1024])
    def test_any_width(self, width: int) -> None:
        assert raw(["where does the cat sleep"], width)[0].tolist() == _plain_sum("where does the cat sleep", width)

    def test_no_component_is_zero(self) -> None:
        sums = raw([*GOLDEN, *(words(number, number) for number in range(30))])
        assert (sums % 2 == 1).all()


class TestBlank:
    BLANK = ["", " ", "\n\t", "?!", "\u200b", "\ufeff", "--- * ---", "，。"]

    def test_one_fixed_vector_and_one_warning(self, encoder: Encoder) -> None:
        with pytest.warns(JinavecWarning, match=rf"^{len(self.BLANK)} of the texts") as caught:
            vectors = encoder.encode_documents(["a cat", *self.BLANK])
        assert len(caught) == 1
        assert digests(vectors[1:]) == [GOLDEN[""]] * len(self.BLANK)
        assert digests(vectors[:1]) != [GOLDEN[""]]

    def test_is_unlike_any_text(self, encoder: Encoder) -> None:
        vectors = encoder.encode_documents(["", "cat", "猫", "Where does the cat sleep?"])
        assert np.abs(vectors[1:] @ vectors[0]).max() < 0.2


NARROWED = {dimension: Encoder.load("lexical", dimension=dimension) for dimension in (64, 128, 256, 512, 768)}


@given(text=st.text())
def test_any_text_is_a_unit_vector_at_every_dimension(text: str) -> None:
    for dimension, encoder in NARROWED.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JinavecWarning)
            vector = encoder.encode_queries([text])[0]
        assert vector.shape == (dimension,)
        assert vector.all()
        assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)


class TestFolding:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Where DOES the Cat sleep", "where does the cat sleep"),
            ("STRASSE", "straße"),
            ("ΟΔΟΣ ΟΔΟΣ", "οδος οδός".replace("ό", "ο")),
            ("caf\u00e9", "cafe\u0301"),
            ("ｃａｔ　１２", "cat 12"),
            ("ﬁle №5", "file No5"),
            ("ｶﾞ", "ガ"),
            ("inter\u00adesting", "interesting"),
            ("\ufeffcat", "cat"),
            ("cat, sleeps!", "cat sleeps"),
            ("snake_case", "snake case"),
            ("☀\ufe0f", "☀"),
        ],
    )
    def test_equal_to_a_reader(self, encoder: Encoder, one: str, other: str) -> None:
        a, b = encoder.encode_documents([one, other])
        assert (a == b).all()

    @pytest.mark.parametrize(("one", "other"), [("cat", "act"), ("é", "e"), ("猫", "犬"), ("😀", "😴"), ("1", "2")])
    def test_different_to_a_reader(self, encoder: Encoder, one: str, other: str) -> None:
        a, b = encoder.encode_documents([one, other])
        assert a @ b < 0.3


class TestLikeness:
    @pytest.mark.parametrize(
        ("query", "right", "wrong"),
        [
            ("cat", "Two cats sleep on the roof.", "Two dogs run in the garden."),
            ("sleeping", "She sleeps a lot.", "She swims a lot."),
            ("Straßenbahn", "Die Bahn fährt durch diese Straße.", "Der Bus steht vor jenem Haus."),
            ("кошка", "На крыше спят кошки.", "В саду бегают собаки."),
            ("猫在哪里", "屋顶上有一只猫。", "花园里有一条狗。"),
            ("猫", "屋根の上で猫が寝ている。", "庭で犬が走っている。"),
            ("고양이", "지붕에서 고양이가 잔다.", "정원에서 개가 달린다."),
            ("แมวนอน", "มีแมวนอนอยู่บนหลังคา", "มีสุนัขวิ่งอยู่ในสวน"),
            ("😴", "good night😴", "good morning😀"),
        ],
    )
    def test_shared_wording_ranks_first(self, query: str, right: str, wrong: str) -> None:
        for dimension in (256, 768):
            encoder = Encoder.load("lexical", dimension=dimension)
            scores = encoder.encode_documents([right, wrong]) @ encoder.encode_queries([query])[0]
            assert scores[0] > scores[1]

    def test_prefixes_and_signs_keep_cosines(self, encoder: Encoder) -> None:
        """A random projection estimates a cosine with standard error 1/sqrt(dimension)."""
        texts = [words(30, 0)[: 10 * number] + words(30, number) for number in range(1, 30)]
        vectors = encoder.encode_documents(texts)
        full = vectors @ vectors.T
        for dimension in (64, 256):
            narrow = Encoder.load("lexical", dimension=dimension).encode_documents(texts)
            assert np.abs(narrow @ narrow.T - full).max() < 5 / math.sqrt(dimension)
        signs = np.sign(vectors)
        angles = np.arccos(np.clip(full, -1, 1)) / math.pi  # the share of differing signs (Charikar 2002)
        assert np.abs((1 - signs @ signs.T / 768) / 2 - angles).max() < 5 / math.sqrt(768)


def _plain_sum(text: str, width: int) -> list[int]:
    counts = Counter[str]()
    for word in re.findall("[a-z0-9]+", text):
        counts[f"{word} "] += 1
        counts.update(map("".join, zip(word, word[1:], word[2:], strict=False)))
        counts.update(a + b[-1] for a, b in pairwise(map("".join, zip(word, word[1:], word[2:], strict=False))))
    weights = {feature: 2 * round(8 * (1 + math.log(count))) for feature, count in counts.items()}
    total = [0] * width
    for feature, weight in {"": 1, **weights}.items():
        bits = hashlib.shake_128(feature.encode()).digest((width + 7) // 8)
        for component in range(width):
            bit = bits[component // 8] >> (7 - component % 8) & 1
            total[component] += weight if bit else -weight
    return total
