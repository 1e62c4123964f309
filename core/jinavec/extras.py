"""Optional libraries: imported at use; missing, one clear error with the line that installs it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from jinavec.errors import MissingExtra


def require(module: str, extra: str) -> Any:
    """Import an optional library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the library is there, and something of its own is missing
        raise MissingExtra(error.name, extra) from error


def installed(module: str) -> bool:
    """Return whether a library could be imported, without importing it."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a stray folder of that name has no origin
