"""Readers and writers of the file formats people already have, one file a format."""
