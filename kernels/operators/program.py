"""An operator with its scales as one traceable module: physical values in, physical values out."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kernels.operators.base import Batch, Operator
from kernels.operators.grids import coordinates


class Program(nn.Module):
    """u = mean over the members of (operator(normalised inputs) * scale + mean), all outside float64.

    numbers: input_mean, input_scale, ... (channels,) as `normalise` names them; logarithms: whether they are
    those of ln(value), by input and by parameter. Of `input` and `parameters` only what the operators take
    is passed.
    """

    def __init__(
        self, members: Sequence[Operator], dtype: torch.dtype, numbers: Mapping[str, Tensor],
        input_logarithms: Sequence[bool], parameter_logarithms: Sequence[bool],
    ) -> None:  # fmt: skip
        super().__init__()
        self.members, self.dtype = nn.ModuleList(members), dtype
        signature = members[0].signature
        self.inputs, self.parameters_ = signature.inputs, signature.parameters
        self.logarithms = {"input": list(input_logarithms), "parameter": list(parameter_logarithms)}
        self.axes = (coordinates(signature.grid), coordinates(signature.out_grid))
        for name, values in numbers.items():
            self.register_buffer(name, values)
        for member in members:
            member.before_export()

    def forward(self, *given: Tensor) -> Tensor:
        """(samples, outputs, *out_grid), physical."""
        a, parameters = self.normalised(*given)
        batch = Batch(a, None, parameters, *self.axes).to(self.dtype)
        u = torch.stack([member(batch).to(torch.float64) for member in self.members]).mean(dim=0)
        return u * self._column("output_scale", u) + self._column("output_mean", u)

    def normalised(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised inputs and parameters, of no channels where there are none."""
        first = given[0]
        a = self._normalised("input", first) if self.inputs else first.new_empty(first.shape[0], 0)
        if not self.parameters_:
            return a, first.new_empty(first.shape[0], 0)
        return a, self._normalised("parameter", given[-1])

    def _normalised(self, kind: str, values: Tensor) -> Tensor:
        values = values.to(torch.float64)
        if any(self.logarithms[kind]):
            columns = values.unbind(dim=1)
            flags = self.logarithms[kind]
            logs = [torch.log(v) if flag else v for v, flag in zip(columns, flags, strict=True)]
            values = torch.stack(logs, dim=1)
        return (values - self._column(f"{kind}_mean", values)) / self._column(f"{kind}_scale", values)

    def _column(self, name: str, like: Tensor) -> Tensor:
        return self.get_buffer(name).reshape(1, -1, *[1] * (like.dim() - 2))


def traced(program: Program, given: tuple[Tensor, ...]) -> Any:
    """The program by torch.export, of any number of samples; given: inputs of some samples."""
    samples = torch.export.Dim("samples", min=1)
    with torch.no_grad(), _plain_einsum():
        return torch.export.export(
            program.eval(), given, dynamic_shapes={"given": tuple({0: samples} for _ in given)}, strict=False
        )


@contextmanager
def _plain_einsum() -> Iterator[None]:
    """The library of Fourier operators plans its sums for one number of samples; for a while it does not."""
    plugins = sys.modules.get("tensorly.plugins")
    if plugins is None or plugins.PREVIOUS_EINSUM is None:
        yield
        return
    plugins.use_default_einsum()
    try:
        yield
    finally:
        plugins.use_opt_einsum("optimal")
