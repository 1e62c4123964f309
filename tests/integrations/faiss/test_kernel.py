"""The compiled search, with all sets of instructions that the machine has, against NumPy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jinavec import Hit, Record
from jinavec.vectors import Float32, normalize, to_int8
from jinavec_integrations.faiss import BinaryIndex
from jinavec_integrations.faiss.search import kernel
from jinavec_integrations.faiss.search.view import pack

from .test_index import clustered, contract

COMPILED = kernel.level() != "faiss"
needs_kernel = pytest.mark.skipif(not COMPILED, reason="the kernel was not compiled: no C compiler at installation")


def on_levels(search: Callable[[], Any]) -> Iterator[Any]:
    """Yield what a search finds with each set of instructions."""
    for level in kernel.LEVELS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JINAVEC_KERNEL", level)
            if kernel.level() == level:
                yield search()


def expected(
    vectors: Float32, query: Float32, alive: NDArray[np.bool_], parameters: dict[str, int], *, is_few: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows that are scored by int8, and their scores: written from what the parameters mean."""
    rows, dimension = np.flatnonzero(alive), len(query)
    differing = np.unpackbits(pack(vectors[rows]) ^ pack(query), axis=1).astype(np.int64)
    candidates, width = parameters["candidates"], differing.shape[1] // 8
    if not is_few and width > 32:
        candidates = max(candidates, 2 * candidates * width // 32)
    if candidates < len(rows):
        seen = differing if is_few else differing[:, :256]
        nearest = np.sort(np.argsort(seen.sum(axis=1), kind="stable")[:candidates])
        rows, differing = rows[nearest], differing[nearest]
    sizes = np.minimum(7, np.abs(query) * np.float32(7 * np.sqrt(dimension) / 2.5) + np.float32(0.5)).astype(np.int64)
    if parameters["rescore"] < len(rows):
        weighed = differing[:, :dimension] @ sizes
        rows = rows[np.sort(np.argsort(weighed, kind="stable")[: parameters["rescore"]])]
    int8 = to_int8(vectors[rows]).astype(np.float64)
    return rows, int8 @ query.astype(np.float64) / np.linalg.norm(int8, axis=1)


def check_hits(hits: list[Hit], rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> None:
    found = [int(hit.record.id) for hit in hits]
    assert len(set(found)) == len(found) == min(k, len(rows))
    places = np.searchsorted(rows, found)
    np.testing.assert_array_equal(rows[places], found)
    np.testing.assert_allclose([hit.score for hit in hits], scores[places], atol=1e-6)
    np.testing.assert_allclose([hit.score for hit in hits], -np.sort(-scores)[:k], atol=1e-6)
    assert all(a.score > b.score or int(a.record.id) < int(b.record.id) for a, b in pairwise(hits))


def answers(index: BinaryIndex, queries: Float32, k: int, filter: Any) -> list[list[Hit]]:
    """Return the hits of each query, which are the same on all levels, alone or in a batch."""
    found = [*on_levels(lambda: [*(index.search(query, k, filter) for query in queries)])]
    found += on_levels(lambda: index.search_batch(queries, k, filter))
    assert all(answer == found[0] for answer in found)
    return found[0]


COUNTS = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 300, 1023]) | st.integers(1, 400)


@needs_kernel
@settings(deadline=None, max_examples=25)
@given(data=st.data(), dimension=st.integers(1, 1100), count=COUNTS, seed=st.integers(0, 2**32 - 1))
def test_what_the_stages_keep(data: st.DataObject, dimension: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, dimension)).astype(np.float32)
    vectors[random.integers(0, count, count // 3)] = vectors[0]  # ties
    vectors = normalize(vectors)
    queries = normalize(vectors[random.integers(0, count, 3)] + 0.5 * random.standard_normal((3, dimension)))
    parts = data.draw(st.integers(1, 3))
    parameters = {"candidates": data.draw(st.integers(1, 60)), "rescore": data.draw(st.integers(1, 60))}
    k = data.draw(st.sampled_from([1, 3, 10]))
    share = data.draw(st.sampled_from([1, 2, 20]))
    alive = np.arange(count) % share == 0
    folder = Path(tempfile.mkdtemp())
    options = {**parameters, "plan": "flat"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jinavec_integrations.faiss.search.pipeline._WHOLE", 0)
        with BinaryIndex.create(folder / "index", contract(dimension), options=options) as index:
            for rows in np.array_split(np.arange(count), parts):
                index.add([Record(str(row), "", {"share": bool(alive[row])}) for row in rows], vectors[rows])
                index.search(queries[0])
            if data.draw(st.booleans()):
                index.delete("0")
                alive[0] = False
            filter = None if share == 1 else {"share": True}
            is_few = (not alive.all()) and alive.sum() * 16 <= count
            found = answers(index, queries, k, filter)
    shutil.rmtree(folder)
    parameters["rescore"] = max(k, parameters["rescore"])
    for query, hits in zip(queries, found, strict=True):
        check_hits(hits, *expected(vectors, query, alive, parameters, is_few=is_few), k)


@needs_kernel
@pytest.mark.parametrize("vectors", ["int8", "none"])
def test_many_rows_and_lists_on_every_level(tmp_path: Path, vectors: str) -> None:
    """Enough rows that a first limit is guessed; a filter that makes the guess a bad one."""
    count, dimension = 20_000, 300
    stored = clustered(count, dimension, 1)
    queries = normalize(stored[:6] + 0.1 * clustered(6, dimension, 2))
    far = np.argsort(stored @ queries[0])[:12_000]
    is_far = np.isin(np.arange(count), far)
    options = {"vectors": vectors, "candidates": 100, "rescore": 40, "plan": "flat"}
    with BinaryIndex.create(tmp_path / "index", contract(dimension), options=options) as index:
        index.add([Record(str(row), "", {"far": bool(is_far[row])}) for row in range(count)], stored)
        if vectors == "int8":
            hits = index.search(queries[0], 10, {"far": True})
            parameters = {"candidates": 100, "rescore": 40}
            check_hits(hits, *expected(stored, queries[0], is_far, parameters, is_few=False), 10)
        for filter in (None, {"far": True}):
            answers(index, queries, 10, filter)
    options = {"nlist": 100, "nprobe": 8}
    with BinaryIndex.open(tmp_path / "index", options=options) as index:
        index.compact()
        index.add([Record("new")], queries[:1])
        for filter in (None, {"far": True}):
            first = answers(index, queries, 10, filter)[0][0].record.id
            assert (first == "new") == (filter is None)


def test_info_says_which_path_runs(index: BinaryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index.info()["search"]["path"] == kernel.level()
    monkeypatch.setenv("JINAVEC_KERNEL", "faiss")
    assert index.info()["search"]["path"] == "faiss"


SANITIZED = """
import sys
from pathlib import Path
import pytest
from jinavec_integrations.faiss.search import kernel
kernel._file = lambda: Path(sys.argv[1])
assert kernel.level() != "faiss"
sys.exit(pytest.main(sys.argv[2:]))
"""


@pytest.mark.slow
@needs_kernel
def test_under_sanitizers(tmp_path: Path) -> None:
    """Damaged folders, and everything above, with a kernel that stops at an address or a number out of bounds."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    names = ("libasan.so", "libstdc++.so.6")  # the latter has what FAISS throws by, before it is loaded
    found = [subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True) for name in names]
    preloaded = [each.stdout.strip() for each in found]
    if not all(Path(path).is_absolute() for path in preloaded):
        pytest.skip("the compiler has no libasan")
    source, library, here = Path(kernel.__file__).with_name("kernel.c"), tmp_path / "kernel.so", Path(__file__).parent
    flags = ["-std=gnu11", "-O1", "-g", "-fPIC", "-shared", "-ffp-contract=off"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    subprocess.run([compiler, *flags, *checks, source, "-o", library, "-lm"], check=True)
    tests = [here / name for name in ("test_kernel.py", "test_oracle.py", "test_damage.py", "test_hostile.py")]
    command = [sys.executable, "-c", SANITIZED, library, *tests, "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    settings = {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
