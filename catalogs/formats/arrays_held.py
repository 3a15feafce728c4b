"""An array in a file that is read when it is asked for, with errors that name file and array."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from kernels.errors import InputError

CHUNK_BYTES = 32 * 2**20
"""About how much of an array is read in one piece."""

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Held:
    """One array: shape and dtype as stored, `read(selection)`; what the file itself says of it.

    dims: names of the axes. attrs: such as units. chunks: shape of what is stored in one piece.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Read
    dims: tuple[str, ...] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, selection: Any) -> np.ndarray:
        with reading(self.path, f"array {self.name!r}"):
            return np.asarray(self.read(selection))

    def unusable(self, why: str) -> "Held":
        """The same, refused with the reason where it is read; its dtype is object."""

        def refuse(selection: Any) -> Any:
            raise InputError(f"{self.path}: array {self.name!r} {why}")

        return Held(self.path, self.name, self.shape, np.dtype(object), refuse, self.dims, self.attrs)


def without_single(held: Held, axes: int) -> Held:
    """The array without its axes of one point, where `axes` axes are left: MATLAB has no vectors, a list of
    n numbers is (1, n) or (n, 1). Any other array as it is.
    """
    kept = [i for i, size in enumerate(held.shape) if size != 1] or list(range(axes))
    if held.ndim <= axes or len(kept) != axes:
        return held
    single = tuple(i for i in range(held.ndim) if i not in kept)

    def read(selection: Any) -> Any:
        given = iter(selection if isinstance(selection, tuple) else (selection,))
        whole = tuple(next(given, slice(None)) if i in kept else slice(None) for i in range(held.ndim))
        return np.asarray(held.read(whole)).squeeze(axis=single)

    def of(each: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if each is None else tuple(each[i] for i in kept)

    shape = tuple(held.shape[i] for i in kept)
    return Held(held.path, held.name, shape, held.dtype, read, of(held.dims), held.attrs, of(held.chunks))


class reading:
    """Context in which whatever a damaged file causes becomes an InputError that names it."""

    def __init__(self, path: Path, what: str = "it") -> None:
        self._path, self._what = path, what

    def __enter__(self) -> None:
        """Nothing is prepared."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, Exception):
            return
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise InputError(
            f"{self._path}: {self._what} cannot be read ({reason}): the file is damaged or of another kind; "
            "write it again"
        ) from error


def of_values(path: Path, name: str, values: np.ndarray) -> Held:
    """An array that is in memory or mapped into it."""
    return Held(path, name, values.shape, values.dtype, values.__getitem__)


def check_numbers(held: Held, complex_allowed: bool = False) -> None:
    """Raise InputError where the array holds no numbers, naming it."""
    if held.dtype.kind == "O":
        held[()]  # says why
    if held.dtype.names and set(held.dtype.names) == {"real", "imag"}:
        raise InputError(
            f"{held.path}: array {held.name!r} holds complex numbers of MATLAB, expected real ones: save its "
            "two parts as arrays of their own"
        )
    if held.dtype.kind == "c" and not complex_allowed:
        raise InputError(
            f"{held.path}: array {held.name!r} is complex, expected real numbers: make two variables of it, "
            'with part = "real" and part = "imaginary"'
        )
    if held.dtype.kind not in "biufc":
        raise InputError(
            f"{held.path}: array {held.name!r} has dtype {held.dtype}, expected numbers: choose another array"
        )


def float_dtype(dtype: np.dtype) -> np.dtype:
    """float32 where it holds every number of the dtype, else float64."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32) else np.float64)


def lazy(held: Held, axis: int) -> da.Array:
    """The array in chunks along one axis of about CHUNK_BYTES, whole stored chunks where they are small."""
    length = held.shape[axis]
    row = max(1, held.dtype.itemsize * int(np.prod(held.shape, dtype=object)) // max(1, length))
    rows = max(1, CHUNK_BYTES // row)
    stored = held.chunks[axis] if held.chunks else 1
    if stored * row <= 4 * CHUNK_BYTES:
        rows = max(stored, rows // stored * stored)
    chunks = tuple(min(rows, n) if i == axis else n for i, n in enumerate(held.shape))
    meta = np.empty((0,) * held.ndim, held.dtype)
    return da.from_array(held, chunks=chunks, name=False, meta=meta)
