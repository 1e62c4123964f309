"""The folder of an index: its files, locks and database, without FAISS. FORMAT.md specifies it."""
