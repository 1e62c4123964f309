"""Recent: the first text of each of the last batches that were embedded, with its vector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

_BATCHES = 64
"""A store is given its nodes after all of them were embedded, so the first one is some batches ago."""


class Recent:
    """What a store looks at to see that its own model embedded what it is given; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._vectors: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, texts: Sequence[str], vectors: list[list[float]]) -> list[list[float]]:
        """Remember the first text of a batch; return the vectors."""
        if texts:
            with self._lock:
                self._vectors[texts[0]] = vectors[0]
                self._vectors.move_to_end(texts[0])
                if len(self._vectors) > _BATCHES:
                    self._vectors.popitem(last=False)
        return vectors

    def get(self, text: str) -> list[float] | None:
        """Return the vector of a text that is remembered."""
        with self._lock:
            return self._vectors.get(text)

    def __reduce__(self) -> tuple[type[Recent], tuple[()]]:
        return Recent, ()
