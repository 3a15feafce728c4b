"""The tables by which people judge a run."""

from stages import evaluate, evaluate_closure, evaluate_operator

TABLES = {
    "evaluate": evaluate.table,
    "evaluate_operator": evaluate_operator.summary,
    "evaluate_closure": evaluate_closure.summary,
}
"""Step that scores -> its table for people."""
