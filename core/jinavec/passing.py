"""Searches with a condition that only Python can tell: a function of the record."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from jinavec.engine import Engine, check_k
from jinavec.filters import FilterDict
from jinavec.records import Hit, Record

Passes = Callable[[Record], bool]

_MORE = 4
"""How many times as many hits to look at, where too few pass."""


def search_passing(
    engine: Engine, query: ArrayLike, k: int, filter: FilterDict | None = None, passes: Passes | None = None
) -> list[Hit]:
    """Return the k best records that pass a filter and a function, best first; fewer where fewer pass.

    The filter is looked up before the search; the function is asked about the nearest records, and about more of them
    until enough pass: the fewer do, the longer it takes.
    """
    if passes is None:
        return engine.search(query, k, filter)
    wanted = k = check_k(k)
    while True:
        hits = engine.search(query, wanted, filter)
        passing = [hit for hit in hits if passes(hit.record)]
        if len(passing) >= k or len(hits) < wanted:
            return passing[:k]
        wanted *= _MORE
