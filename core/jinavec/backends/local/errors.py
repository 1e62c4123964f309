"""The border to model libraries: whatever they raise becomes one ModelError of one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from jinavec.errors import JinavecError, ModelError


@contextmanager
def model_errors(what: str) -> Generator[None]:
    """Raise what a library raises inside as a ModelError.

    Args:
        what: what went wrong, naming the file or repository, such as "cannot read model.onnx".
    """
    try:
        yield
    except JinavecError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something, at most 300 characters of it."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:300]
