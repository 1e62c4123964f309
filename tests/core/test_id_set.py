from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jinavec.id_set import IdSet


@given(st.lists(st.sets(st.text(max_size=3), max_size=40), max_size=12))
def test_it_says_what_a_set_says(batches: list[set[str]]) -> None:
    seen, ids = set[str](), IdSet()
    for batch in batches:
        given = sorted(batch)
        assert ids.add(given) == [id not in seen for id in given]
        seen |= batch
        assert len(ids) == len(seen)


def test_it_stays_right_over_many_batches() -> None:
    ids = IdSet()
    for start in range(0, 50_000, 1000):
        assert all(ids.add(str(number) for number in range(start, start + 1000)))
    assert not any(ids.add(str(number) for number in range(0, 50_000, 7)))
    assert ids.add(["a", "0", "49999", "50000"]) == [True, False, False, True]
