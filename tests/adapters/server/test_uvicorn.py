"""The internals of uvicorn that the server builds on are those that it was written against."""

from __future__ import annotations

import hashlib
import inspect
from types import ModuleType

import pytest
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.supervisors import multiprocess

from jinavec_adapters.server.http_limits import LimitedConnection

REVIEWED = {
    httptools_impl: "1d4e1c579df41684",
    flow_control: "d39d16560df512f3",
    multiprocess: "53541976227fec0b",
}
"""Modules whose classes ``http_limits.py`` and ``run.py`` extend, and the beginning of the SHA-256 of their source."""


@pytest.mark.parametrize("module", REVIEWED, ids=lambda module: module.__name__)
def test_nothing_has_changed(module: ModuleType) -> None:
    digest = hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
    assert digest.startswith(REVIEWED[module]), (
        f"uvicorn {uvicorn.__version__} changed {module.__name__}: compare it with the release before, see whether"
        " http_limits.py and run.py still hold, run test_strangers.py, then note its digest here"
    )


def test_every_method_still_overrides_one() -> None:
    own = {name for name, value in vars(LimitedConnection).items() if inspect.isfunction(value)}
    public = {name for name in own if not name.startswith("_")}
    assert public <= set(dir(httptools_impl.HttpToolsProtocol))
    for name in public:
        ours = inspect.signature(getattr(LimitedConnection, name)).parameters
        theirs = inspect.signature(getattr(httptools_impl.HttpToolsProtocol, name)).parameters
        assert list(ours) == list(theirs), name
    assert not (own - public - {"__init__"}) & set(dir(httptools_impl.HttpToolsProtocol))
