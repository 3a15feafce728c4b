"""Frames of a run that are written as they come: to a file of a folder that outlives a kill, or to memory."""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK_BYTES = 32 * 2**20


class Frames:
    """`count` arrays of one shape and dtype, NaN until they are written.

    With a folder they lie in a file of it, and reading them as a whole is lazy; a file of an earlier process
    is used again.
    """

    def __init__(
        self, folder: Path | None, name: str, count: int, shape: tuple[int, ...], dtype: Any
    ) -> None:
        self._shape, self._dtype = (count, *shape), np.dtype(dtype)
        self._bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._path = None if folder is None else folder / f"{name}.frames"
        self._held = None if folder is not None else np.full(self._shape, np.nan, self._dtype)
        if self._path is not None and not self._path.exists():
            self._path.touch()

    def write(self, first: int, values: np.ndarray) -> None:
        """Write frame `first` and those after it, values (frames, *shape)."""
        if self._held is not None:
            self._held[first : first + len(values)] = values
            return
        assert self._path is not None
        with self._path.open("r+b") as file:
            file.seek(first * self._bytes)
            file.write(np.ascontiguousarray(values, self._dtype).data)

    def sync(self) -> None:
        """Have on the disk what was written, before something is stored that counts it."""
        if self._path is not None:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def holds(self, frames: int) -> bool:
        """Whether so many frames were written, here or by an earlier process."""
        return self._path is not None and self._path.stat().st_size >= frames * self._bytes

    def close(self, written: int) -> Any:
        """All frames as an array (count, *shape), a dask array where they lie in a file; NaN from `written`
        on."""
        if self._held is not None:
            self._held[written:] = np.nan
            return self._held
        import dask.array as da

        assert self._path is not None
        block = max(1, _BLOCK_BYTES // self._bytes)
        gap = np.full((1, *self._shape[1:]), np.nan, self._dtype)
        for frame in range(written, self._shape[0]):
            self.write(frame, gap)
        stored = np.memmap(self._path, self._dtype, "r", shape=self._shape)
        return da.from_array(stored, chunks=(block, *self._shape[1:]), name=False)


def store(folder: Path, name: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Replace what is stored under a name in one move: numbers and texts, and arrays."""
    private = folder / f".{name}.{os.getpid()}"
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with private.open("wb") as file:
        np.savez(file, allow_pickle=False, about=text, **{f"array.{key}": a for key, a in arrays.items()})
        file.flush()
        os.fsync(file.fileno())
    private.replace(folder / name)


def stored(folder: Path | None, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """What `store` has stored; None where there is nothing, or what is there is damaged: then work begins
    anew."""
    if folder is None:
        return None
    for left in folder.glob(f".{name}.*"):
        left.unlink(missing_ok=True)  # of a process that died while it wrote
    try:
        with np.load(folder / name, allow_pickle=False) as held:
            about = json.loads(held["about"].tobytes())
            arrays = {key.removeprefix("array."): held[key] for key in held.files if key != "about"}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return about, arrays


def stacked(parts: Sequence[Any]) -> Any:
    """Arrays, or dask arrays, of samples as one (sample, ...)."""
    if isinstance(parts[0], np.ndarray):
        return np.stack(parts)
    import dask.array as da

    return da.stack(parts)
