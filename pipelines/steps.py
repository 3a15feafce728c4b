"""What a diagram is drawn with: steps, and the record of their keys."""

from collections.abc import Callable

Step = Callable[..., str]
"""`step(label, input name = key, ...) -> key`; the label is a stage's name, maybe with a dot and more."""


class Drawing:
    """Takes steps one after the other and keeps their keys by label."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.keys: dict[str, str] = {}

    def __call__(self, label: str, **inputs: str) -> str:
        """Take a step; its key."""
        self.keys[label] = self._step(label, **inputs)
        return self.keys[label]
