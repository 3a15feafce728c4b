"""Steps that no stage makes: what is read from files. One explicit list."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.array_files import add_arrays, arrays_key
from pipelines.files import add_files, files_key


@dataclass(frozen=True)
class Source:
    """`key(config, label)`: key of what is read, before it is; `add(config, label, runner)`: publish it."""

    key: Callable[[Any, str], str]
    add: Callable[[Any, str, Any], str]


SOURCES: dict[str, Source] = {
    "files": Source(
        lambda config, label: files_key(config), lambda config, label, runner: add_files(config, runner)
    ),
    "arrays": Source(arrays_key, add_arrays),
}
