"""Typed, pure stages: dataset(s) in, dataset out."""
