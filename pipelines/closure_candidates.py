"""Closures that compete in a config of the closure pipeline, and active learning."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.operator_config import NAME
from stages.train_closure import UNTRAINED


class ClosureCandidate(BaseModel):
    """One closure that competes: its family, `settings` of it, `training` over the section train_closure.

    seeds: each trains a model of its own; a family without weights has one. start: a candidate before it,
    whose model of the same seed it goes on from, with its family and settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    family: str
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    mode: Literal["apriori", "aposteriori"] = "apriori"
    start: str = ""
    training: dict[str, Any] = Field(default_factory=dict)

    @property
    def learned(self) -> bool:
        """Whether it has weights."""
        return self.family not in UNTRAINED

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Seeds that make a difference."""
        return self.seeds if self.learned else self.seeds[:1]

    def called(self, seed: int) -> str:
        """What tables call its model of a seed."""
        return self.name if len(self.all_seeds) == 1 else f"{self.name}.{seed}"


class ActiveLearning(BaseModel):
    """`rounds` times the members of candidate `learner`, one a seed, choose the next conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=0, ge=0, le=50)
    learner: str = ""
