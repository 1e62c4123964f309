"""The FAISS binary index: Hamming search over packed bits, rescored with int8 vectors; one folder on disk."""

from jinavec_integrations.faiss.index import BinaryIndex

__all__ = ["BinaryIndex"]
