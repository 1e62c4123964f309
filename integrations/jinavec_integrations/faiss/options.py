"""FaissOptions: what a user may decide instead of the plan, and how much work a search does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jinavec.errors import InvalidInput

MOST_LISTS = 2**20
"""More than anybody can train; a damaged manifest may ask for them."""


@dataclass(frozen=True, kw_only=True)
class FaissOptions:
    """Options of a binary index; each left out is decided by its size.

    Raises:
        InvalidInput: a number below 1, or lists for a flat plan.
    """

    plan: Literal["auto", "flat", "lists"] = "auto"
    """How rows are laid out when a build or a compaction ends: scanned whole, or in lists around centroids."""
    lists: int | None = None
    """The number of lists."""
    seed: int = 0
    """Seed of the sample and the clustering."""
    vectors: Literal["auto", "int8", "none"] = "auto"
    """Whether a new index keeps int8 copies for rescoring, or its bits are all there is. auto: int8, unless a builder
    is given bits."""
    probes: int | None = None
    """Lists a search looks into."""
    candidates: int | None = None
    """Hamming hits that are re-ranked by their bits, for up to ten results; more in proportion."""
    rows: int | None = None
    """int8 rows that are read, for up to ten results; more in proportion."""

    def __post_init__(self) -> None:
        for name in ("lists", "probes", "candidates", "rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"option {name} must be at least 1, not {value}")
        if self.lists is not None and self.lists > MOST_LISTS:
            raise InvalidInput(f"option lists must be at most {MOST_LISTS}, not {self.lists}")
        if self.plan == "flat" and self.lists is not None:
            raise InvalidInput("a flat plan has no lists: leave out one of the options plan and lists")
        if self.seed < 0:
            raise InvalidInput(f"option seed must be at least 0, not {self.seed}")
