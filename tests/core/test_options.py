from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from jinavec.errors import InvalidInput
from jinavec.options import plain, read_options


@dataclass(frozen=True)
class Options:
    threads: int = 1
    file: str | None = None
    share: float = 0.5
    fast: bool = False
    mode: Literal["exact", "quick"] = "exact"
    sizes: tuple[int, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict[str, str])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"threads": 4},
        {"file": "model.onnx"},
        {"file": None},
        {"share": 0.25},
        {"share": 1},
        {"fast": True},
        {"mode": "quick"},
        {"sizes": (1, 2)},
        {"names": {"a": "b"}},
        {"threads": 2, "mode": "exact", "fast": False},
    ],
    ids=str,
)
def test_options_are_read_by_name_and_written_back(given: dict[str, Any]) -> None:
    read = read_options(Options, given)
    assert read == Options(**given)
    assert read_options(Options, plain(read)) == read


def test_options_may_be_left_out_or_given_as_they_are() -> None:
    assert read_options(Options, None) == Options()
    mine = Options(threads=3)
    assert read_options(Options, mine) is mine
    assert plain(None) == {}
    assert plain({"threads": 3}) == {"threads": 3}


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'thread'.*threads, file, share, fast, mode, sizes, names"):
        read_options(Options, {"thread": 1})


def test_a_kind_without_options_says_so() -> None:
    @dataclass(frozen=True)
    class Nothing: ...

    assert read_options(Nothing, {}) == Nothing()
    with pytest.raises(InvalidInput, match="Nothing has: none"):
        read_options(Nothing, {"a": 1})


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("threads", "4", "int"),
        ("threads", 4.0, "int"),
        ("threads", True, "int"),
        ("threads", None, "int"),
        ("file", 1, "str or None"),
        ("share", "0.5", "float"),
        ("share", True, "float"),
        ("fast", 1, "bool"),
        ("mode", "slow", "'exact' or 'quick'"),
        ("mode", 1, "'exact' or 'quick'"),
        ("sizes", 3, "tuple"),
        ("names", "a=b", "Mapping"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: Any, takes: str) -> None:
    with pytest.raises(InvalidInput, match=f"option {name} takes {takes}, not ") as refusal:
        read_options(Options, {name: value})
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize("given", ["threads=4", 3, [("threads", 4)], Options])
def test_options_are_a_dataclass_or_a_mapping(given: Any) -> None:
    with pytest.raises(InvalidInput, match="mapping"):
        read_options(Options, given)
    with pytest.raises(InvalidInput, match="mapping"):
        plain(given)
