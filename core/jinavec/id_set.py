"""IdSet: which ids were seen before, in eight bytes an id."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]


class IdSet:
    """A set of ids as sorted arrays of 64-bit digests.

    Like the levels of a log-structured merge tree, each array is at least twice as long as the next: a look-up is a
    binary search in a few of them, and each digest is merged a logarithmic number of times. Among a million ids, two
    share a digest with a probability of 3e-8.
    """

    def __init__(self) -> None:
        self._levels: list[Digests] = []

    def add(self, ids: Iterable[str]) -> list[bool]:
        """Add ids, which are distinct; return of each whether it is new."""
        digests = np.fromiter((_digest(id) for id in ids), np.uint64)
        is_new = ~self._known(digests)
        new = digests[is_new]
        if len(new):
            self._levels.append(np.sort(new))
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            last = self._levels.pop()
            self._levels[-1] = np.sort(np.concatenate([self._levels[-1], last]), kind="stable")
        return is_new.tolist()

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    def _known(self, digests: Digests) -> NDArray[np.bool_]:
        known = np.zeros(len(digests), np.bool_)
        for level in self._levels:
            position = np.searchsorted(level, digests)
            known |= level[np.minimum(position, len(level) - 1)] == digests
        return known


def _digest(id: str) -> int:
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "little")
