from __future__ import annotations

import pkgutil
from types import ModuleType

import pytest

import jinavec
import jinavec_adapters
import jinavec_integrations
from jinavec.errors import MissingExtra

ROOTS = (jinavec, jinavec_integrations, jinavec_adapters)
DOORS = [root.__name__ for root in ROOTS] + [
    module.name for root in ROOTS for module in pkgutil.iter_modules(root.__path__, f"{root.__name__}.") if module.ispkg
]


@pytest.mark.parametrize("name", DOORS)
def test_all_is_sorted_and_says_what_is_there(name: str) -> None:
    package: ModuleType = pytest.importorskip(name, exc_type=MissingExtra)
    members = [
        member
        for member, value in vars(package).items()
        if not member.startswith("_") and not isinstance(value, ModuleType) and member != "annotations"
    ]
    exported: list[str] = list(getattr(package, "__all__", []))
    assert exported == sorted(members)


def test_the_public_door_is_that_of_the_architecture() -> None:
    promised = {
        *("Contract", "Encoder", "Hit", "JinavecError", "ModelProfile", "Record", "Role", "Task"),
        *("open_engine", "prompt"),
    }
    assert promised <= set(jinavec.__all__)
