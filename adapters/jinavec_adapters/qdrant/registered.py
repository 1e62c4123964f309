"""Registers on import: for worker processes, which run the imports of the main script but not its main part.

``import jinavec_adapters.qdrant.registered`` at the top of a script is all that ``parallel=`` of qdrant-client needs.
"""

from jinavec_adapters.qdrant.registry import register

register()
