"""Kernel ridge regression between flattened fields, with a metric learnt from the linear regression."""

from dataclasses import astuple

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.flat import Flat
from kernels.operators.kernel_search import Choice, chosen, describe, gram, solve, transform
from kernels.operators.settings import KernelRidgeSettings

MOST_SAMPLES = 12_000


class KernelRidge(Operator):
    """`u(a) = mean(u) + sum_i k(a, a_i) alpha_i`, with (K + r trace(K)/n I) alpha = u - mean(u).

    k(a, b) = phi(|T(a - b)| / l) + c <T a, T b> / l^2 with phi of the RBF or Matern 5/2 kernel, c = 0 or 1;
    the mean square distance of the training samples is 1 in the metric of T. T is the identity, or the
    power p of what the ridge regression W (features, values) of the outputs is sensitive to:
    T = (W W^T)^(p/2). So directions of the input that hardly move the output hardly count, which matters
    where there are fewer samples than directions; it is the first step of recursive feature machines
    (Radhakrishnan et al., Science 383, 2024), whose average gradient outer product is W W^T for a linear
    predictor. The rest is kernel ridge regression (Rasmussen & Williams 2006, eq. 2.25 and 4.17). All in
    float64.

    What is not given in the settings has the least error in cross-validation within the training part, W
    being learnt anew in every fold: the metric, then the kernel on at most 300 samples, then length and ridge
    on at most 2000. The validation part is not looked at, so that a model may be chosen by its error there.
    """

    family = "kernel_ridge"
    layouts = ("grid", "mesh")
    closed_form = True
    points: Tensor
    weight: Tensor
    mean: Tensor
    metric: Tensor
    choice: Tensor

    def __init__(self, signature: Signature, settings: KernelRidgeSettings) -> None:
        super().__init__(signature)
        for name in ("length", "ridge", "sensitivity"):
            value = getattr(settings, name)
            if value is not None and (value < 0.0 or (value == 0.0 and name == "length")):
                raise InputError(f"{name} is {value}, expected a positive number, or none to have it chosen")
        self.settings = settings
        self.flat = Flat(signature)
        self._stated: Choice | None = None
        for name in ("points", "weight", "mean", "metric", "choice"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))

    def fit(self, train: Batch, validation: Batch | None = None) -> None:
        """Choose what is not given, then solve with all training samples; `validation` is not looked at."""
        samples = train.samples
        if not 5 <= samples <= MOST_SAMPLES:
            raise InputError(
                f"kernel ridge regression was given {samples} training samples, expected 5 to "
                f"{MOST_SAMPLES}, since it holds a matrix of samples by samples: choose a network, or "
                "train on a part"
            )
        x, y = self.flat.fit(train), self.flat.outputs(train)
        choice = chosen(x, y, self.settings)
        self.mean = y.mean(dim=0)
        self.metric = transform(x, y - self.mean, choice)
        self.points = self._features(x)
        self.weight = solve(gram(self.points, self.points, choice), y - self.mean, choice.ridge)
        self.choice = torch.tensor(astuple(choice), dtype=torch.float64)

    def forward(self, batch: Batch) -> Tensor:
        """Prediction in float64; raises InputError where the batch cannot be served."""
        features = self._features(self.flat.inputs(batch))
        rows = gram(features, self.points, self._choice()) @ self.weight + self.mean
        return self.flat.restore(rows, batch)

    def size(self) -> int:
        """Entries of alpha and of the mean."""
        return self.weight.numel() + self.mean.numel()

    def before_export(self) -> None:
        """The choice as plain numbers; see `Operator`."""
        self._stated = self._choice()

    @property
    def chosen(self) -> str:
        """Kernel, metric, length and ridge, in words."""
        return describe(self._choice())

    def _choice(self) -> Choice:
        if self._stated is not None:
            return self._stated
        if len(self.choice) == 0:
            raise InputError("the model was not trained: fit it, or load its weights")
        return Choice(*self.choice.tolist())

    def _features(self, x: Tensor) -> Tensor:
        # an identity is kept as one number
        return x * self.metric if self.metric.numel() == 1 else x @ self.metric
