"""The tables by which people judge a run."""

from stages import evaluate, evaluate_operator

TABLES = {"evaluate": evaluate.table, "evaluate_operator": evaluate_operator.summary}
"""Step that scores -> its table for people."""
