"""Import every module of the installed distribution; optional libraries must not be needed for that.

The classes of a framework's adapter are subclasses of the framework's own: there the missing extra must be named.
"""

import importlib
import pkgutil
import sys

from jinavec.errors import MissingExtra

FRAMEWORKS = ("jinavec_adapters.elastic",)
imported = 0
for root in ("jinavec", "jinavec_integrations", "jinavec_adapters"):
    package = importlib.import_module(root)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    for name in names:
        try:
            importlib.import_module(name)
        except MissingExtra:
            if not name.startswith(FRAMEWORKS):
                raise
    imported += 1 + len(names)
sys.stdout.write(f"imported {imported} modules from {sys.prefix}\n")
