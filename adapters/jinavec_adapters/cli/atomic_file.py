"""atomic_file: a file that gets its name only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jinavec.errors import JinavecError


@contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """Write a temporary file in the same folder, and rename it at the end; on an error, an existing file stays.

    Raises:
        JinavecError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise JinavecError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
