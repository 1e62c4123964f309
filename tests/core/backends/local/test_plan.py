"""The plan of batches: every text once, none dearer than the budget, a long one alone, and all workers busy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jinavec.backends.local.tokenizer import cost, plan

BUDGET = 512
lengths = st.lists(st.integers(0, 700), max_size=80)


@given(lengths=lengths, workers=st.integers(1, 8))
def test_every_text_is_in_one_batch_that_the_budget_bears(lengths: list[int], workers: int) -> None:
    batches = plan(lengths, BUDGET, workers)
    assert sorted(row for rows in batches for row in rows) == [row for row, tokens in enumerate(lengths) if tokens]
    for rows in batches:
        longest = max(lengths[row] for row in rows)
        assert len(rows) == 1 or len(rows) * cost(longest) <= BUDGET
        assert min(lengths[row] for row in rows) >= 0.95 * longest


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=80), long=st.integers(3_000, 40_000))
def test_one_long_text_changes_no_other_batch(lengths: list[int], long: int) -> None:
    """It comes first, so that nothing waits for it at the end; more workers than there is work for split no further."""
    assert plan([*lengths, long], BUDGET, 1)[0] == [len(lengths)]
    assert plan([*lengths, long], BUDGET, 1)[1:] == plan(lengths, BUDGET, 1)


def test_few_texts_are_spread_over_all_workers() -> None:
    for workers in (1, 2, 4):
        assert len(plan([100] * 4, BUDGET, workers)) == workers


def test_the_square_counts() -> None:
    """What costs as much in attention as in all the rest costs twice its tokens."""
    assert cost(1) < 1.001
    assert cost(5_800) == 2 * 5_800
    assert len(plan([4_000, 4_000], 8_000, 1)) == 2
    assert len(plan([2_000, 2_000], 8_000, 1)) == 1


def test_one_worker_takes_all_that_fits_at_once() -> None:
    """Padded, the two cost more than their sum, which is no reason to split them."""
    assert plan([31, 32], BUDGET, 1) == [[1, 0]]
