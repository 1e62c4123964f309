"""What a user may decide, how the rows of an index are laid out, and how much of them a search looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

from jinavec.errors import InvalidInput, brief

MOST_LISTS = 2**20
"""More than anybody can train; a damaged manifest may ask for them."""
FLAT_UP_TO = 300_000
"""Rows that are scanned whole in about a millisecond, without any training."""
_MOST_BY_SIZE = 4096
_SPARSE = 16_000_000
"""Rows above which more lists are worth sixteen times the training."""
_C_INT = 2**31 - 1
"""The largest number that FAISS takes."""


@dataclass(frozen=True, kw_only=True)
class FaissOptions:
    """Options of a binary index; each left out is decided by its size.

    Raises:
        InvalidInput: a number out of range, or lists for a flat plan.

    Attributes:
        plan: How rows are laid out when a build or a compaction ends: scanned whole, or in inverted lists around
            centroids.
        nlist: The number of inverted lists.
        seed: Seed of the sample and the clustering.
        vectors: Whether a new index keeps int8 vectors for rescoring, or its bits are all there is. auto: int8, unless
            a builder is given bits.
        nprobe: Lists a search looks into.
        candidates: Hamming hits that are re-ranked by their bits, for up to ten results; more in proportion, and where
            only the first bits of each row are compared.
        rescore: int8 vectors that are read, for up to ten results; more in proportion.
        lock_timeout: Seconds to wait for another writer of the same index.
    """

    plan: Literal["auto", "flat", "lists"] = "auto"
    nlist: int | None = None
    seed: int = 0
    vectors: Literal["auto", "int8", "none"] = "auto"
    nprobe: int | None = None
    candidates: int | None = None
    rescore: int | None = None
    lock_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("nlist", "nprobe", "candidates", "rescore"):
            if (value := getattr(self, name)) is not None:
                _check_range(name, value, 1, MOST_LISTS if name == "nlist" else _C_INT)
        _check_range("seed", self.seed, 0, _C_INT)
        _check_range("lock_timeout", self.lock_timeout, 0, _C_INT / 1000)  # SQLite counts milliseconds in a C int
        if self.plan not in ("auto", "flat", "lists"):
            raise InvalidInput(f"option plan takes 'auto' or 'flat' or 'lists', not {brief(self.plan)}")
        if self.vectors not in ("auto", "int8", "none"):
            raise InvalidInput(f"option vectors takes 'auto' or 'int8' or 'none', not {brief(self.vectors)}")
        if self.plan == "flat" and self.nlist is not None:
            raise InvalidInput("a flat plan has no lists: leave out one of the options plan and nlist")


def _check_range(name: str, value: float, least: int, most: float) -> None:
    kinds, what = ((int, float), "a number") if name == "lock_timeout" else ((int,), "a whole number")
    if type(value) not in kinds or not least <= value <= most:  # not a number is in no range
        raise InvalidInput(f"option {name} must be {what} from {least} to {int(most)}, not {brief(value)}")


@dataclass(frozen=True)
class Plan:
    """How rows are laid out."""

    nlist: int = 0
    """The number of lists around float centroids; 0: the rows are scanned whole."""
    seed: int = 0
    asked: bool = False
    """Whether a user decided it, rather than the number of rows."""

    def __str__(self) -> str:
        shape = f"{self.nlist} lists" if self.nlist else "flat"
        return f"{shape}, {'as asked' if self.asked else 'by size'}"


def make_plan(count: int, options: FaissOptions, before: Plan) -> Plan:
    """Return the plan for so many rows: the options', else the one asked for before, else by size.

    Lists: four times the square root of the rows as a power of two, at most 4096 up to 16 million rows (training costs
    their square), and 16384 beyond.
    """
    asked = options.plan != "auto" or options.nlist is not None
    if not asked and before.asked:
        return replace(before, nlist=min(before.nlist, count))
    if options.plan == "flat" or (not asked and count <= FLAT_UP_TO):
        return Plan(seed=options.seed, asked=asked)
    most = 4 * _MOST_BY_SIZE if count > _SPARSE else _MOST_BY_SIZE
    nlist = options.nlist or min(most, 2 ** round(math.log2(4 * math.sqrt(max(count, 1)))))
    return Plan(min(nlist, count), options.seed, asked)


@dataclass(frozen=True)
class SearchParameters:
    """How much a search looks at; candidates and rescore are for up to ten results, and grow in proportion beyond."""

    nprobe: int
    candidates: int
    rescore: int

    def scaled(self, k: int) -> SearchParameters:
        """Return the parameters for k results."""
        if k <= 10 <= self.rescore:
            return self
        factor = max(1.0, k / 10)
        candidates, rescore = int(self.candidates * factor), max(k, int(self.rescore * factor))
        return replace(self, candidates=candidates, rescore=rescore)

    def overridden(self, options: FaissOptions) -> SearchParameters:
        """Return these parameters, but those that the options set."""
        given = {field.name: getattr(options, field.name) for field in fields(self)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def default_parameters(count: int, dimension: int, nlist: int) -> SearchParameters:
    """Return the parameters for an index that nobody calibrated.

    At 1024 dimensions 400 candidates and 100 int8 vectors up to a million rows; more with the cube root of the
    millions, and where fewer bits say less.
    """
    growth = max(1.0, count / 1e6) ** (1 / 3)
    scarcity = max(1.0, 1024 / dimension)
    scarcity = max(scarcity, min(8.0, scarcity**1.5))
    candidates, rescore = 400 * growth * scarcity, 100 * growth * scarcity
    return SearchParameters(max(8, nlist // 32), int(candidates), int(rescore))
