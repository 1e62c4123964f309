"""Plan and Effort: how the rows of an index are laid out, and how much of them a search looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from jinavec_integrations.faiss.options import FaissOptions

FLAT_UP_TO = 300_000
"""Rows that are scanned whole in about a millisecond, without any training."""
_MOST_LISTS = 4096
_SPARSE = 16_000_000
"""Rows above which more lists are worth sixteen times the training."""


@dataclass(frozen=True)
class Plan:
    """How rows are laid out."""

    lists: int = 0
    """The number of lists around float centroids; 0: the rows are scanned whole."""
    seed: int = 0
    asked: bool = False
    """Whether a user decided it, rather than the number of rows."""

    def __str__(self) -> str:
        shape = f"{self.lists} lists" if self.lists else "flat"
        return f"{shape}, {'as asked' if self.asked else 'by size'}"


def make_plan(count: int, options: FaissOptions, before: Plan) -> Plan:
    """Return the plan for so many rows: the options', else the one asked for before, else by size.

    Lists: four times the square root of the rows as a power of two, at most 4096 up to 16 million rows (training costs
    their square), and 16384 beyond.
    """
    asked = options.plan != "auto" or options.lists is not None
    if not asked and before.asked:
        return replace(before, lists=min(before.lists, count))
    if options.plan == "flat" or (not asked and count <= FLAT_UP_TO):
        return Plan(seed=options.seed, asked=asked)
    most = 4 * _MOST_LISTS if count > _SPARSE else _MOST_LISTS
    lists = options.lists or min(most, 2 ** round(math.log2(4 * math.sqrt(max(count, 1)))))
    return Plan(min(lists, count), options.seed, asked)


@dataclass(frozen=True)
class Effort:
    """How much a search looks at; candidates and rows are for up to ten results, and grow in proportion beyond."""

    probes: int
    candidates: int
    rows: int

    def scaled(self, k: int) -> Effort:
        """Return the effort for k results."""
        factor = max(1.0, k / 10)
        return replace(self, candidates=int(self.candidates * factor), rows=max(k, int(self.rows * factor)))


def default_effort(count: int, dimension: int, lists: int) -> Effort:
    """Return the effort for an index that nobody calibrated.

    At 1024 dimensions 400 candidates and 100 rows up to a million rows; more with the cube root of the millions, and
    where fewer bits say less.
    """
    growth = max(1.0, count / 1e6) ** (1 / 3)
    scarcity = max(1.0, 1024 / dimension)
    candidates, rows = 400 * growth * scarcity, 100 * growth * scarcity
    return Effort(max(8, lists // 32), int(candidates), int(rows))


def chosen_effort(stored: Effort | None, default: Effort, options: FaissOptions) -> Effort:
    """Return the effort: each of the options, else what calibration stored, else the default."""
    base = stored or default
    return Effort(options.probes or base.probes, options.candidates or base.candidates, options.rows or base.rows)
