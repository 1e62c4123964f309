"""Collect the documentation of Python's own standard library: one record per module, class and function."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from jinavec import Record

# Importing these opens a browser or a window, prints a poem, or runs tests and demonstrations.
SKIPPED = {"antigravity", "this", "idlelib", "turtle", "turtledemo", "tkinter", "lib2to3", "test", "tests"}


def records() -> list[Record]:
    """Return a record per documented public object: id = qualified name, metadata = module and kind."""
    found: dict[int, Record] = {}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # some modules are deprecated
        for module in modules():
            for name, kind, thing in members(module):
                if text := documentation(thing):
                    record = Record(name, f"{name}\n{text}", {"module": module.__name__, "kind": kind})
                    found.setdefault(id(thing), record)
    return list(found.values())


def modules() -> Iterator[ModuleType]:
    """Import every public module of the standard library, submodules included."""
    names = sorted(name for name in sys.stdlib_module_names if is_public(name))
    while names:
        try:
            module = importlib.import_module(names.pop(0))
        except Exception:  # not part of every build or system, such as curses or winreg
            continue
        yield module
        children = pkgutil.iter_modules(getattr(module, "__path__", []), f"{module.__name__}.")
        names[:0] = sorted(child.name for child in children if is_public(child.name))


def members(module: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """Yield (qualified name, kind, object) of a module and of its own classes and functions."""
    yield module.__name__, "module", module
    for name, thing in vars(module).items():
        if not is_public(name) or not belongs(thing, module):
            continue
        if inspect.isclass(thing):
            yield f"{module.__name__}.{name}", "class", thing
        elif inspect.isroutine(thing):
            yield f"{module.__name__}.{name}", "function", thing


def documentation(thing: object) -> str:
    """Return an object's own docstring, not one inherited from a base class."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def belongs(thing: object, module: ModuleType) -> bool:
    """Tell whether a module is the home of an object: its own, or taken from a private C module."""
    home = getattr(thing, "__module__", None) or ""
    return home == module.__name__ or home.startswith("_") or home in ("posix", "nt", "builtins")


def is_public(name: str) -> bool:
    """Tell whether no part of a dotted name is private or skipped."""
    return not any(part.startswith("_") or part in SKIPPED for part in name.split("."))


if __name__ == "__main__":  # JSON lines, as `jinavec index` reads them
    for record in records():
        sys.stdout.write(json.dumps({"id": record.id, "text": record.text, **record.metadata}) + "\n")
