"""What an extra of jinavec brings, as the line that installs it: read from the metadata of the installation."""

from __future__ import annotations

import re
from collections.abc import Iterator


def pip_line(extra: str, module: str) -> str:
    """Return the line that installs the libraries of an extra, whether jinavec came from a checkout or a wheel.

    Args:
        extra: its name in pyproject.toml.
        module: what to install where the installation has no metadata, or no such extra.
    """
    libraries = list(dict.fromkeys(_libraries(extra))) or [module.partition(".")[0]]
    return " ".join(["pip install", *(f'"{library}"' for library in libraries)])


_OF_EXTRA = re.compile(r"""(?:\band\s+)?\bextra\s*==\s*["']([^"']+)["']""")
_OURSELVES = re.compile(r"jinavec\[([^\]]+)\]")


def _libraries(extra: str) -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, requires  # here: only who lacks something needs it

    try:
        requirements = requires("jinavec") or ()
    except PackageNotFoundError:
        return
    for requirement in requirements:
        library, _, marker = requirement.partition(";")
        named = _OF_EXTRA.search(marker)
        if named is None or named[1] != extra:
            continue
        ours = _OURSELVES.match(library)
        if ours:
            yield from _libraries(ours[1])
        else:
            rest = _OF_EXTRA.sub("", marker).strip().strip("()").strip().replace('"', "'")
            yield f"{library.strip()}; {rest}" if rest else library.strip()
