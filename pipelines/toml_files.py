"""TOML files that people write, or shipped ones by their names: how they are found and read."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kernels.errors import InputError

DEEPEST = 20
"""Tables and lists inside one another."""

_LONGEST = 200
_MOST = 10


def is_file(path: Path) -> bool:
    """Whether there is such a file; what cannot be a file's name is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def locate_file(path: Path, shipped: Path, what: str) -> Path:
    """The file, or the one of that bare name in the folder `shipped`; `what` names the kind.

    Raises InputError where there is neither.
    """
    if is_file(path):
        return path
    own = shipped / f"{path.name}.toml"
    if path.parent == Path() and path.suffix == "" and is_file(own):
        return own
    names = ", ".join(sorted(file.stem for file in shipped.glob("*.toml")))
    raise InputError(
        f"there is no {what} file {cut(str(path))}: give a TOML file, or one of the shipped ones: {names}"
    )


def read_values(file: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises InputError naming the file where it cannot be read, is no TOML, holds a whole number of more than
    64 bits (which TOML does not have), or is nested deeper than DEEPEST.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file} cannot be read: {error.strerror or error}; check its permissions"
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # tomllib's and Unicode's errors, or a number of 5,000 digits
        raise InputError(f"{file} is not a TOML file: {error}; correct that line") from error
    _check(values, file)
    return values


def _check(values: Any, file: Path) -> None:
    level = [values]
    for _ in range(DEEPEST):
        for one in level:
            if isinstance(one, int) and not -(2**63) <= one < 2**63:
                raise InputError(f"{file} holds a whole number of more than 64 bits; use a smaller one")
        inner = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
        level = [entry for one in inner for entry in one]
        if not level:
            return
    raise InputError(f"{file} has more than {DEEPEST} tables and lists inside one another; use fewer")


def joined(problems: Iterable[str]) -> str:
    """Problems in one line: each once, the first of many."""
    each = list(dict.fromkeys(problems))
    more = f"; and {len(each) - _MOST} more" if len(each) > _MOST else ""
    return "; ".join(each[:_MOST]) + more


def shown(value: Any) -> str:
    """A value as a message shows it: one line, not too long."""
    return cut(repr(value))


def cut(text: str) -> str:
    """The beginning of a text that is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
