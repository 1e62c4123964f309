"""Keywords that the interface of a framework lets in (``**kwargs``): none of them is dropped without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any

from jinavec.errors import InvalidType


def refuse_unknown(function: Callable[..., Any], given: Iterable[str]) -> None:
    """Refuse keywords for which a function has no parameter; call it before anything else is done.

    Raises:
        InvalidType: names the first one and the known ones.
    """
    kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [parameter.name for parameter in signature(function).parameters.values() if parameter.kind in kinds]
    for name in given:
        if name not in known:
            raise InvalidType(f"{function.__qualname__} takes no argument {name!r}; it takes: {', '.join(known)}")
