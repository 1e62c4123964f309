"""Import every module of the installed distribution; optional libraries must not be needed for that."""

import importlib
import pkgutil
import sys

imported = 0
for root in ("jinavec", "jinavec_integrations", "jinavec_adapters"):
    package = importlib.import_module(root)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    names = [name for name in names if not name.endswith(".registered")]  # its import is its work, with fastembed
    for name in names:
        importlib.import_module(name)
    imported += 1 + len(names)
sys.stdout.write(f"imported {imported} modules from {sys.prefix}\n")
