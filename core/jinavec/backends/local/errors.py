"""The border to model libraries: whatever they raise becomes one ModelError of one line.

They document no errors, and some raise bare ``Exception``. So every kind is caught, but around calls of a library
alone: an error in code of ours leaves with its own type.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from jinavec.errors import ModelError


@contextmanager
def model_errors(what: str) -> Generator[None]:
    """Raise what a library raises inside as a ModelError; holds calls of that library and nothing else.

    Args:
        what: what went wrong, naming the file or repository, such as "cannot read model.onnx".
    """
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something, at most 300 characters of it."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:300]
