"""Scores of predictions and of their error bars."""
