"""Learned closures: frame-indifferent and realizable by how they are built."""
