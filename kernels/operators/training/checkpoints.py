"""Checkpoints of a training run: written whole or not at all, read without unpickling."""

import os
import pickle
import uuid
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kernels.errors import InputError

NAME = "checkpoint.pt"
LAST_GOOD = "last_good_weights.pt"


def tensors_of(operator: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of an operator by name, as they lie; what a library keeps beside them is left out."""
    state = operator.state_dict()
    return {str(n): t.detach() for n, t in state.items() if isinstance(t, torch.Tensor)}


def copied(operator: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all tensors of an operator, in memory of the host."""
    return {name: one.to("cpu", copy=True) for name, one in tensors_of(operator).items()}


def put_back(operator: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy tensors into an operator of the same architecture."""
    own = tensors_of(operator)
    with torch.no_grad():
        for name, values in state.items():
            own[name].copy_(values)


def save(folder: Path, state: dict[str, Any], name: str = NAME) -> Path:
    """Write tensors and plain values so that a kill or a power cut leaves the old file or the new one.

    Raises InputError where the disk takes no more; the old file is there then.
    """
    try:
        return _saved(folder, state, name)
    except (OSError, RuntimeError) as error:  # torch says the latter where a stream of its fails
        raise InputError(
            f"the checkpoint {folder / name} cannot be written ({error}): free space on that disk and start "
            "again, what was written before is there"
        ) from error


def _saved(folder: Path, state: dict[str, Any], name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        with new.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(folder / name)
    finally:
        new.unlink(missing_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return folder / name


def load(folder: Path, name: str = NAME) -> dict[str, Any] | None:
    """What was saved; None where nothing was, or where the disk damaged it, since the run can begin anew."""
    for left in folder.glob(f".{name}.*"):
        if not _is_written(left):
            left.unlink(missing_ok=True)
    try:
        with zipfile.ZipFile(folder / name) as archive:
            if archive.testzip() is not None:
                return None
        found: dict[str, Any] = torch.load(folder / name, map_location="cpu", weights_only=True)
    except (FileNotFoundError, zipfile.BadZipFile, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return found


def _is_written(file: Path) -> bool:
    """Whether the process that writes a new file is there."""
    try:
        os.kill(int(file.name.split(".")[-2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
