"""Import every module of the installed distribution; optional libraries must not be needed for that.

A package whose classes derive from those of an optional library says which extra is missing, and counts as imported.
"""

import importlib
import pkgutil
import sys

from jinavec.errors import MissingExtra


def load(name: str) -> bool:
    try:
        importlib.import_module(name)
    except MissingExtra as error:
        if not error.extras:
            raise
        return False
    return True


imported = asked = 0
for root in ("jinavec", "jinavec_integrations", "jinavec_adapters"):
    package = importlib.import_module(root)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    found = [load(name) for name in names]
    imported += 1 + sum(found)
    asked += found.count(False)
sys.stdout.write(f"imported {imported} modules from {sys.prefix}; {asked} more name the extra they need\n")
