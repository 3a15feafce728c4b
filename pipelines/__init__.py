"""Flows, the runner, settings and the command line."""
