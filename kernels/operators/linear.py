"""The cheapest operators: the mean of the training outputs, and ridge regression between flattened fields."""

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.flat import Flat, folds, rotated
from kernels.operators.settings import LinearSettings, MeanSettings

RIDGES = (0.0, *(10.0**k for k in range(-26, 1)))
"""Candidates, relative to the largest eigenvalue of the Gram matrix of the inputs; 0 is least squares."""

_FOLDS, _MOST, _COMPONENTS = 10, 2000, 256


class Mean(Operator):
    """`u(a) = mean of u over the training samples`, whatever the input: the bar under every bar."""

    family = "mean"
    layouts = ("grid", "mesh")
    closed_form = True
    mean: Tensor

    def __init__(self, signature: Signature, settings: MeanSettings) -> None:
        super().__init__(signature)
        self.flat = Flat(signature)
        self.register_buffer("mean", torch.empty(0, dtype=torch.float64))

    def fit(self, train: Batch, validation: Batch | None = None) -> None:
        """Mean of the training outputs; `validation` is not looked at."""
        self.flat.fit(train)
        self.mean = self.flat.outputs(train).mean(dim=0)

    def forward(self, batch: Batch) -> Tensor:
        """The mean for every sample; raises InputError where the batch cannot be served."""
        return self.flat.restore(self.mean.expand(self.flat.inputs(batch).shape[0], -1), batch)

    def size(self) -> int:
        """Values of the mean."""
        return self.mean.numel()


class Linear(Operator):
    """Ridge regression between flattened fields: `u = mean(u) + W^T (a - mean(a))`,

    W = V diag(s / (s^2 + r s_1^2)) U^T Y from the thin singular value decomposition X = U diag(s) V^T of the
    centred inputs (samples, features), Y the centred outputs (Hoerl & Kennard, Technometrics 12, 1970,
    eq. 2.1; Hastie, Tibshirani & Friedman 2009, eq. 3.47). The thin form costs samples * features *
    min(samples, features), whichever is fewer. r = 0 leaves out s < 1e-13 s_1: least squares of least norm.
    The normal equations are never formed, since they would square the condition number. W is kept as two
    factors, V and the rest, where these have fewer entries.

    The ridge r, where it is not given, has the least error in tenfold cross-validation on at most 2000
    training samples. The validation part is not looked at, so that a model may be chosen by its error there.
    """

    family = "linear"
    layouts = ("grid", "mesh")
    closed_form = True
    basis: Tensor
    weight: Tensor
    mean: Tensor
    ridge: Tensor

    def __init__(self, signature: Signature, settings: LinearSettings) -> None:
        super().__init__(signature)
        if settings.ridge is not None and settings.ridge < 0.0:
            raise InputError(f"ridge is {settings.ridge}, expected zero or more, or none to have it chosen")
        self.settings = settings
        self.flat = Flat(signature)
        for name in ("basis", "weight", "mean", "ridge"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def fit(self, train: Batch, validation: Batch | None = None) -> None:
        """Weights from the training samples; `validation` is not looked at."""
        x, y = self.flat.fit(train), self.flat.outputs(train)
        if len(x) < 2:
            raise InputError(f"there are {len(x)} training samples, expected at least 2: split otherwise")
        given = self.settings.ridge
        ridge = chosen_ridge(x, y) if given is None else given
        self.mean = y.mean(dim=0)
        self.basis, self.weight = ridge_factors(x, y - self.mean, ridge)
        if self.basis.numel() + self.weight.numel() >= x.shape[1] * y.shape[1]:
            self.basis, self.weight = self.basis[:0], self.basis @ self.weight
        self.ridge = torch.tensor(ridge, dtype=torch.float64)

    def forward(self, batch: Batch) -> Tensor:
        """Prediction in float64; raises InputError where the batch cannot be served."""
        rows = self.flat.inputs(batch)
        rows = rows @ self.basis if self.basis.numel() else rows
        return self.flat.restore(rows @ self.weight + self.mean, batch)

    def size(self) -> int:
        """Entries of W, or of its factors, and of the mean."""
        return self.basis.numel() + self.weight.numel() + self.mean.numel()


def ridge_factors(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """V (features, rank) and the rest of W (rank, values), of centred x and y of (samples, ...)."""
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return vt.T.contiguous(), _filter(s, ridge)[:, None] * (u.T @ y)


def _filter(s: Tensor, ridge: float) -> Tensor:
    largest = float(s[0]) if len(s) else 0.0
    if ridge == 0.0:
        kept = s > 1e-13 * largest
        return torch.where(kept, 1.0 / torch.where(kept, s, 1.0), 0.0)
    return s / (s.square() + ridge * max(largest, 1e-300) ** 2)


def chosen_ridge(x: Tensor, y: Tensor) -> float:
    """The ridge of RIDGES of least mean error norm over the samples left out."""
    x, y = rotated(x[:_MOST]), rotated(y[:_MOST], _COMPONENTS)
    errors = torch.zeros(len(RIDGES), dtype=torch.float64)
    for kept, left in folds(len(x), _FOLDS):
        shift, mean = x[kept].mean(dim=0), y[kept].mean(dim=0)
        u, s, vt = torch.linalg.svd(x[kept] - shift, full_matrices=False)
        uy, rows = u.T @ (y[kept] - mean), (x[left] - shift) @ vt.T
        for i, ridge in enumerate(RIDGES):
            wrong = rows @ (_filter(s, ridge)[:, None] * uy) + mean - y[left]
            errors[i] += wrong.norm(dim=1).sum()
    return RIDGES[int(errors.argmin())]
