from __future__ import annotations

import inspect
import re
import warnings

import pytest

from jinavec import JinavecError, JinavecWarning, errors
from jinavec.errors import MissingExtra, brief, warn

LINE = re.compile(r"^(?P<indent>[│ ├└─]*)(?P<name>[A-Z]\w+)(?: \((?P<builtin>\w+)\))?")
ERRORS = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Read the docstring's tree: the parent and the built-in beside it, by class."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if found := LINE.match(line):
            depth = len(found["indent"]) // 4
            tree[found["name"]] = (parents[depth - 1] if depth else None, found["builtin"])
            parents[depth:] = [found["name"]]
    return tree


def test_the_drawn_tree_is_the_tree() -> None:
    real: dict[str, tuple[str | None, str | None]] = {}
    for name, kind in ERRORS.items():
        bases = {base.__name__ for base in kind.__bases__}
        ours = bases & ERRORS.keys()
        builtin = bases - ours - {"Exception"}
        real[name] = (min(ours, default=None), min(builtin, default=None))
    assert drawn() == real


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS.keys())
def test_every_error_is_caught_by_the_one_name(kind: type[Exception]) -> None:
    assert issubclass(kind, JinavecWarning if kind.__name__.endswith("Warning") else JinavecError)


@pytest.mark.parametrize(
    "name",
    [
        "UnknownModel",
        "UnknownTask",
        "InvalidDimension",
        "InvalidVectors",
        "InvalidRecord",
        "InvalidFilter",
        "InvalidTarget",
        "TextTooLong",
        "ContractMismatch",
    ],
)
def test_bad_input_is_also_a_value_error(name: str) -> None:
    assert issubclass(ERRORS[name], ValueError)


def test_a_wrong_type_is_also_a_type_error() -> None:
    assert issubclass(errors.InvalidType, TypeError)


def test_a_missing_extra_is_an_import_error_with_the_pip_line() -> None:
    error = MissingExtra("onnxruntime", "onnx")
    assert isinstance(error, ImportError)
    assert "pip install 'jinavec[onnx]'" in str(error)
    assert (error.module, error.extras) == ("onnxruntime", ("onnx",))
    both = str(MissingExtra("a runtime", "onnx", "torch"))
    assert "pip install 'jinavec[onnx]'" in both
    assert "pip install 'jinavec[torch]'" in both


def test_warnings_name_the_line_outside_jinavec() -> None:
    with pytest.warns(JinavecWarning, match="something") as caught:
        warn("something")
    assert caught[0].filename == __file__


def test_warnings_can_be_made_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(JinavecWarning):
            warn("something")


def test_values_are_shown_on_one_short_line() -> None:
    assert brief("a  b\n") == r"'a b\n'"
    assert brief({"a": 1}) == "{'a': 1}"
    assert len(brief(list(range(10**5)))) == 100
    assert brief("x" * 1000).endswith("...")
