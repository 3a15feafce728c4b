"""Families that are fitted, not stepped: the same surroundings as the loop gives to the others."""

import torch

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator
from kernels.operators.training.losses import Scales, relative_l2
from kernels.torch_threads import torch_threads


def fit(operator: Operator, train: Batch, validation: Batch | None, seed: int, threads: int | None) -> None:
    """Fit in place; seeds and thread counts of the process are as they were, in the end.

    Raises InputError where the operator has values that are not finite after it.
    """
    with torch_threads(threads), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        operator.fit(train, validation)
    for name, values in operator.state_dict().items():
        if isinstance(values, torch.Tensor) and not bool(torch.isfinite(torch.view_as_real(values)
                if values.is_complex() else values).all()):  # fmt: skip
            raise InputError(
                f"{operator.family!r} was fitted to values that are not finite ({name}): raise `ridge`, or "
                "leave out outputs and inputs that do not vary"
            )
    operator.eval()


def mean_error(operator: Operator, batch: Batch, scales: Scales) -> float:
    """Mean relative L2 error over samples and outputs."""
    with torch.no_grad():
        return float(relative_l2(operator(batch), batch, scales, "dirichlet").mean())
