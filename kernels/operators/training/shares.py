"""Shares of a batch: each of several processes trains on its own, and sums over all of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch
from kernels.operators.training.batches import select
from kernels.operators.training.options import Options
from kernels.operators.training.stream import Stream


@dataclass(frozen=True)
class Share:
    """The part of every batch that process `rank` of `count` has; of one process it is the batch itself."""

    rank: int = 0
    count: int = 1

    def ends(self, samples: int) -> tuple[int, int]:
        """First and last sample, exclusive, of a batch: shares differ by one sample at most."""
        return samples * self.rank // self.count, samples * (self.rank + 1) // self.count

    def of(self, batch: Batch) -> Batch:
        """The samples of a batch that are this share's; it must have some."""
        if self.count == 1:
            return batch
        part = select(batch, np.arange(*self.ends(batch.samples)))
        if batch.mesh is not None and part.mesh is not None:
            part.mesh = replace(part.mesh, extent=batch.mesh.longest())
        return part

    def total(self, value: float, device: torch.device) -> float:
        """Sum over the processes, the same bits in each: all must call it."""
        return value if self.count == 1 else float(sum(self._all(value, device)))

    def first(self, value: float, device: torch.device) -> float:
        """The number of the first process, for what must not differ, such as times: all must call it."""
        return value if self.count == 1 else self._all(value, device)[0]

    def _all(self, value: float, device: torch.device) -> list[float]:
        own = torch.tensor([value], dtype=torch.float64, device=device)
        found: list[Tensor] = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(found, own)
        return [float(one) for one in found]


def check_devices(options: Options, stream: Stream) -> None:
    """Raise InputError where batches or the machine cannot be divided among `options.devices`."""
    if options.devices == 1:
        return
    fewest = int(np.diff(stream.bounds).min())
    if fewest < options.devices:
        raise InputError(
            f"devices is {options.devices}, and {len(stream.samples)} training samples in batches of at most "
            f"{options.batch} leave one of {fewest}: lower `devices` to {fewest} or raise `batch`"
        )
    if options.accelerator == "cpu":
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else int(torch.backends.mps.is_available())
    if gpus < options.devices and (gpus or options.accelerator == "gpu"):
        raise InputError(
            f"devices is {options.devices}, and torch {torch.__version__} sees {gpus} "
            f'GPU{"" if gpus == 1 else "s"} on this machine: lower `devices`, or set accelerator to "cpu"'
        )


def devices_of(options: Options) -> list[str]:
    """The device of every process."""
    on_gpus = options.accelerator != "cpu" and torch.cuda.is_available()
    return [f"cuda:{i}" if on_gpus else "cpu" for i in range(options.devices)]
