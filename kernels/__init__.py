"""Numerics on plain arrays: nothing here knows of datasets, storage or flows."""
