"""Import every module of the installed distribution; adapters and test suites may miss a library."""

import importlib
import pkgutil
import sys
from importlib.resources import files

from jinavec.errors import MissingExtra

imported, missing = 0, 0
OPTIONAL = ("jinavec_adapters.", "jinavec.testing")

for root in ("jinavec", "jinavec_integrations", "jinavec_adapters"):
    package = importlib.import_module(root)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{root}.")]
    names = [name for name in names if not name.endswith(".registered")]  # its import is its work, with fastembed
    for name in names:
        try:
            importlib.import_module(name)
        except MissingExtra:
            if not name.startswith(OPTIONAL):
                raise
            missing += 1
    imported += 1 + len(names)
assert files("jinavec_integrations.faiss").joinpath("FORMAT.md").is_file(), "the distribution lacks FORMAT.md"
sys.stdout.write(f"imported {imported - missing} modules from {sys.prefix}; {missing} need an extra\n")
