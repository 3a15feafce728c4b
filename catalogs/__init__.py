"""Storage, lineage and queries: the only code that touches files."""
