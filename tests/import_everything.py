"""Import every module of the installed distribution; only adapters may miss the library they adapt, and must say so."""

import importlib
import pkgutil
import sys

from jinavec.errors import MissingExtra

imported, missing = 0, 0
for root in ("jinavec", "jinavec_integrations", "jinavec_adapters"):
    package = importlib.import_module(root)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    for name in names:
        try:
            importlib.import_module(name)
        except MissingExtra:
            if not name.startswith("jinavec_adapters."):
                raise
            missing += 1
    imported += 1 + len(names)
sys.stdout.write(f"imported {imported - missing} modules from {sys.prefix}; {missing} need an extra\n")
