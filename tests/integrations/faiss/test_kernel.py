"""The compiled batch scan against all distances, and against the scan that needs nothing compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinavec import Contract, ModelProfile
from jinavec_integrations.faiss import BinaryIndexBuilder
from jinavec_integrations.faiss.search import hamming

pytest.importorskip("numba")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 3000),
    queries=st.integers(1, 9),
    words=st.sampled_from([1, 2, 3, 4, 5, 12, 16]),
    wanted=st.integers(1, 500),
    levels=st.sampled_from([1, 2, 256]),
)
def test_distances_are_the_least_there_are(
    seed: int, n: int, queries: int, words: int, wanted: int, levels: int
) -> None:
    from jinavec_integrations.faiss.search.kernel import scan_batch

    random = np.random.default_rng(seed)
    codes = random.integers(0, levels, (n, 8 * words), dtype=np.uint8)  # few levels: many equal distances
    bits = random.integers(0, 256, (queries, 8 * words), dtype=np.uint8)
    count = min(n, wanted)
    distances, places = scan_batch(bits, codes, count)
    for query, near, where in zip(bits, distances, places, strict=True):
        exact = np.bitwise_count(codes ^ query).sum(axis=1, dtype=int)
        assert len(set(where.tolist())) == count
        np.testing.assert_array_equal(exact[where], near)
        np.testing.assert_array_equal(np.sort(near), np.sort(exact)[:count])


@pytest.mark.parametrize("dimension", [64, 768, 1024])
@pytest.mark.parametrize("n", [1, 255, 70_001])
def test_a_batch_finds_what_it_finds_without(monkeypatch: pytest.MonkeyPatch, dimension: int, n: int) -> None:
    random = np.random.default_rng(1)
    codes = random.integers(0, 256, (n, dimension // 8), dtype=np.uint8)
    queries = random.integers(0, 256, (20, dimension // 8), dtype=np.uint8)
    count = min(n, 50)
    without = hamming.nearest_of_batch(queries, codes, count)
    monkeypatch.setattr(hamming, "_COMPILE", 1)
    compiled = hamming.nearest_of_batch(queries, codes, count)
    for query, one, other in zip(queries, without, compiled, strict=True):
        exact = np.bitwise_count(codes ^ query).sum(axis=1, dtype=int)
        np.testing.assert_array_equal(np.sort(exact[one]), np.sort(exact[other]))


def test_an_index_answers_batches_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_COMPILE", 1)
    vectors = np.random.default_rng(2).standard_normal((20_000, 256)).astype(np.float32)
    with BinaryIndexBuilder(tmp_path / "index", contract=Contract.of(ModelProfile(name="m", width=256))) as builder:
        builder.add_vectors(vectors)
        index = builder.finish()
    queries = vectors[:16] + np.float32(0.1)
    for one, batch in zip([index.search(query) for query in queries], index.search_batch(queries), strict=True):
        assert one[0].record == batch[0].record  # the others depend on which of equal distances are candidates
        assert one[0].score == pytest.approx(batch[0].score)
    index.close()
