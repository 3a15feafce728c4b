"""Lists of time steps that ParaView writes beside mesh files: `.pvd` and `.series`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from kernels.errors import InputError

_STEP = re.compile(r"""\btimestep\s*=\s*["']([^"']*)["']""")


def refuse_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise InputError where a `.pvd` or `.series` file says that files of the folder are states of one
    simulation.

    A list that names one time only, such as the parts of one state, passes, and so does one that cannot be
    parsed: the mesh files themselves are read.
    """
    for path in files:
        times = _times(path) if path.suffix.lower() in (".pvd", ".series") and path.is_file() else set()
        if len(times) > 1:
            raise InputError(
                f"{path} says that files of {folder} are {len(times)} time steps of one simulation, expected "
                "one state of each: name the files to read, such as the last step of each simulation"
            )


def _times(path: Path) -> set[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix.lower() == ".pvd":
            return set(_STEP.findall(text))
        content = json.loads(text)
        return {str(entry["time"]) for entry in content["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
