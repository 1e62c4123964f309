from __future__ import annotations

import copy
import inspect
import pickle
import re
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from jinavec import JinavecError, JinavecWarning, errors
from jinavec.errors import MissingExtra, RecordsFailed, ServerError, TextTooLong, brief, warn
from jinavec.wire.messages import Reason, WireError

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
    assert str(error).startswith("onnxruntime is not installed; run: pip install ")
    assert '"onnxruntime>=' in str(error)
    assert (error.module, error.extras) == ("onnxruntime", ("onnx",))
    both = str(MissingExtra("a runtime", "onnx", "torch"))
    assert '"onnxruntime>=' in both.partition(" or: pip install ")[0]
    assert '"torch>=' in both.partition(" or: pip install ")[2]


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


def as_made() -> list[JinavecError]:
    """One error of each class, with all that its constructor takes."""
    special: list[JinavecError] = [
        TextTooLong("too long", positions=[3, 5]),
        MissingExtra("httpx2", "remote", "server"),
        ServerError("failed", server="host:1", status=503, said="busy", done=7, positions=[2]),
        RecordsFailed("notes", 9, {"a": "no", "b": "never"}, stored=7),
        WireError(Reason.RATE_LIMITED, "slow", status=429, code="RATE", retry_after=1.5, positions=(1,)),
    ]
    special[0].add_note("a note")
    kinds = [kind for kind in ERRORS.values() if kind not in {type(one) for one in special}]
    return [*special, *(kind("what and why") for kind in kinds if issubclass(kind, JinavecError))]


def fail(number: int) -> None:
    raise as_made()[number]


@pytest.mark.parametrize("error", as_made(), ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_and_copy(error: JinavecError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.args, vars(again)) == (type(error), str(error), error.args, vars(error))


def test_an_error_leaves_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for number, error in enumerate(as_made()[:5]):
            with pytest.raises(type(error)) as caught:
                pool.submit(fail, number).result(60)
            assert str(caught.value) == str(error)
