"""Data sets in own arrays, published as read, for the stage `ingest_arrays` to check."""

from typing import TYPE_CHECKING

from catalogs.formats.arrays import arrays_fingerprint, read_arrays
from catalogs.formats.arrays_spec import ArraysSpec
from catalogs.keys import artifact_key
from kernels.errors import InputError

if TYPE_CHECKING:
    from pipelines.operator_config import Operator
    from pipelines.runner import Runner


def arrays_key(config: "Operator", label: str) -> str:
    """Key of the arrays as read: the contents of the files and their description.

    Raises InputError where a file is missing.
    """
    return artifact_key("arrays", 1, {"content": arrays_fingerprint(_spec(config, label))}, {})


def add_arrays(config: "Operator", label: str, runner: "Runner") -> str:
    """Read the arrays and publish them, unless they are there; their key.

    Raises InputError naming the file or array that cannot be used.
    """
    key = arrays_key(config, label)
    if runner.catalog.exists(key):
        return key
    spec = _spec(config, label)
    return runner.add("arrays", read_arrays(spec), {}, arrays_fingerprint(spec))


def _spec(config: "Operator", label: str) -> ArraysSpec:
    if config.arrays is None:
        raise InputError('source is "arrays" but there is no section arrays: say which files and arrays')
    other = label.partition(".")[2]
    return config.arrays.other(other) if other else config.arrays
