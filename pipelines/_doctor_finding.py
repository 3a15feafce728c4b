"""What one check of `pushforward doctor` found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    name: what was looked at.
    state: "ok"; "warning" where it works but not as well or as safely as it could; "failure" where a run
        would stop.
    found: what is there, with its value.
    remedy: the one thing to do, '' where nothing is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""
