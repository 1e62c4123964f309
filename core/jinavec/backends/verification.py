"""Verification: what was proved about the runtime of a model, and the limits by which it is judged.

The limits are provisional: they stand until somebody has run ``make test-weights`` on the real weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np

from jinavec.golden import Similarities
from jinavec.vectors import Float32

REFUSED = 0.05
"""A similarity off by more is another model's: mean pooling, another task and a missing prefix move vectors by several
tenths, and a query's cosines with them. Two similarities in the wrong order that should be further apart, too."""
WARNED = 0.02
"""A similarity off by more is worth a word: float32, float16 and bfloat16 differ by less than .01 (a vector of bfloat16
has a cosine of .9998 to float32's), graphs of four bits by more (.976 for nano)."""
SAME = 0.995
"""Cosine of vectors that should be equal: half precision and another batch move them by less (.9998 was the worst)."""
OTHER = 0.99995
"""Cosine above which two vectors that should differ are the same one: rounding alone keeps more."""
LENGTH = 0.01
"""How far from 1 a unit vector's length may be: one of float16 is off by .0005, one of bfloat16 by .004."""

Aspect = Literal["model", "task", "prefix", "pooling"]
ASPECTS: tuple[Aspect, ...] = ("model", "task", "prefix", "pooling")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What is certain about the runtime of a model, after it was asked for texts whose vectors are known."""

    proved: tuple[Aspect, ...] = ()
    unproved: Mapping[Aspect, str] = field(default_factory=dict[Aspect, str])
    """The rest, each with the reason."""
    deviation: float | None = None
    """The largest difference from a golden similarity; None where none was compared."""
    warnings: tuple[str, ...] = ()
    """What is odd, and not wrong."""

    def __str__(self) -> str:
        said = f"proved: {', '.join(self.proved) or 'nothing'}"
        if self.deviation is not None:
            said += f" (similarities within {self.deviation:.4f})"
        return "; ".join([said, *(f"not proved: {name}, {why}" for name, why in self.unproved.items())])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Similarities as they were measured, beside those that are right."""

    golden: Similarities
    measured: Sequence[float]

    @classmethod
    def of(cls, golden: Similarities, query: Float32, documents: Float32) -> Comparison:
        """Measure the cosines of a query's vector (width) to those of documents (n, width), of any length."""
        return cls(golden=golden, measured=[cosine(query, document) for document in documents])

    @property
    def deviation(self) -> float:
        """The largest difference."""
        return float(np.abs(np.subtract(self.measured, self.golden.cosines)).max())

    @property
    def is_refused(self) -> bool:
        """Whether no right runtime gives this."""
        pairs = combinations(zip(self.golden.cosines, self.measured, strict=True), 2)
        swapped = any(abs(g - h) > REFUSED and (g - h) * (m - n) < 0 for (g, m), (h, n) in pairs)
        return swapped or not self.deviation <= REFUSED

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of it, if anything."""
        if self.deviation <= WARNED:
            return ()
        return (f"similarities are off by up to {self.deviation:.3f}, as those of weights of four bits are",)

    def __str__(self) -> str:
        measured, golden = ("  ".join(f"{value:.4f}" for value in row) for row in (self.measured, self.golden.cosines))
        return f"the similarities of {self.golden.query!r} are {measured}, and should be {golden}"


def cosine(a: Float32, b: Float32) -> float:
    """Return the cosine of two vectors of any length; 0 where one has no direction."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0
