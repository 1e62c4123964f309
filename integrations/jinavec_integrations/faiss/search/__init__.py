"""Search in an index: the only modules that use FAISS."""
