"""What the adapters of several frameworks share; no framework is imported here."""
