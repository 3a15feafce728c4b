"""Parameters of an active suspension from coarse, noisy moments, with the uncertainty of the estimate.

Multiple shooting (Bock 1981): the record is cut into windows much shorter than the time in which
trajectories part. Unknown are the parameters x, common to all windows, and the state z_2 at the start of each
window, since a noisy state taken for true would bias x. They minimise sum |y - F(x, z)|^2 / sigma^2.
Gauss-Newton with the states eliminated (variable projection): with G = dF/dx, M = dF/dz of a window and Q the
projector on the complement of M's range, from conjugate gradients (CGLS),

    (sum_w G^T Q G) dx = sum_w G^T Q r,    covariance of x = s^2 (sum_w G^T Q G)^{-1},

s^2 the reduced sum of squares. Where the closure is not exact, residuals are not white: scores G^T Q r of
blocks of windows give the cluster-robust covariance (Liang and Zeger, Biometrika 73, 1986) beside it.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from kernels.closures.inference_model import Forecast, Model, Parameters, Tangent
from kernels.closures.inference_windows import Windows
from kernels.errors import InputError

_LARGEST_STEP = 0.5
_DAMPING = (0.0, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Options:
    """iterations: of Gauss-Newton; sweeps, tolerance: of conjugate gradients for a window's state, and the
    part of the normal residual that they leave; blocks: of windows for the robust covariance; largest:
    standard deviation of a coordinate from which a combination of them counts as not identified."""

    iterations: int = 8
    sweeps: int = 8
    tolerance: float = 0.1
    blocks: int = 10
    largest: float = 0.5


@dataclass(frozen=True)
class Estimate:
    """x (p,) and the states start (W, n, n); information (p, p) with unit noise; chi: reduced sum of squares;
    covariance, robust (p, p) of x, freedom: degrees of freedom of the robust one; iterations: steps taken."""

    x: Tensor
    start: Tensor
    information: Tensor
    chi: float
    covariance: Tensor
    robust: Tensor
    freedom: int
    iterations: int
    converged: bool


@dataclass(frozen=True)
class _Normal:
    """Normal equations without the states: scores (W, p), information parts (W, p, p); shift (W, n, n) and
    response (p, W, n, n): how the states follow."""

    scores: Tensor
    parts: Tensor
    shift: Tensor
    response: Tensor

    @property
    def information(self) -> Tensor:
        """Of all windows."""
        return self.parts.sum(0)

    def after(self, dx: Tensor) -> "_Normal":
        """The same once the step dx is taken, for a linear model."""
        return replace(self, scores=self.scores - self.parts @ dx)


def eliminate(tangent: Tangent, rows: Tensor, sweeps: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """argmin_d |v - M d| (R, W, n, n) and v - M d (R, W, N) for v (R, W, N): CGLS, each window by itself."""

    def square(field: Tensor) -> Tensor:
        return field.abs().square().flatten(2).sum(-1)

    left, gradient = rows.clone(), tangent.backward(rows)
    found, direction = torch.zeros_like(gradient), gradient
    size = square(gradient)
    goal = tolerance**2 * size
    for _ in range(sweeps):
        if bool((size <= goal).all()):
            break
        image = tangent.forward(direction)
        step = torch.where(size > goal, size / square(image).clamp_min(1e-300), 0.0)
        found = found + step[..., None, None] * direction
        left = left - step[..., None] * image
        gradient = tangent.backward(left)
        before, size = size, square(gradient)
        direction = gradient + (size / before.clamp_min(1e-300))[..., None, None] * direction
    return found, left


def _normal(forecast: Forecast, x: Tensor, start: Tensor, options: Options, free: bool) -> _Normal:
    tangent = Tangent(forecast, x, start)
    rows = torch.cat([(forecast.data - tangent.values)[None], tangent.columns()])
    moves, left = torch.zeros(len(rows), *start.shape, dtype=start.dtype), rows
    if free:
        moves, left = eliminate(tangent, rows, options.sweeps, options.tolerance)
    scores = torch.einsum("pwn,wn->wp", left[1:], left[0])
    parts = torch.einsum("pwn,qwn->wpq", left[1:], left[1:])
    return _Normal(scores, parts, moves[0], moves[1:])


def gauss_newton(
    model: Model, parameters: Parameters, windows: Windows, x: Tensor, start: Tensor | None,
    options: Options, free: bool = True,
) -> Estimate:  # fmt: skip
    """Estimate from coordinates x and states at the start of the windows (None: the observed ones).

    free: the states are unknown too. Raises InputError where the data do not tell a combination of parameters
    from its surroundings, naming it.
    """
    forecast = Forecast(model, parameters, windows)
    if start is None:
        if windows.z2 is None:
            raise InputError("D is not observed and no states are given to start from: pass states")
        start = windows.z2[:, 0]
    cost = _cost(forecast, x, start)
    converged, count = False, 0
    while not converged and count < options.iterations:
        normal = _normal(forecast, x, start, options, free)
        unit = cost / _freedom(windows, x, free)
        check_identified(parameters, normal.information, unit, options.largest)
        moved = _step(forecast, x, start, normal, cost)
        if moved is None:
            converged = True
            break
        dx, gain = moved[0] - x, cost - moved[2]
        x, start, cost = moved
        normal, count = normal.after(dx), count + 1
        # a fiftieth of a standard deviation, and little is left to gain in the states
        converged = float(dx @ normal.information @ dx) < 4e-4 * len(x) * unit and gain < 1e-2 * cost
    return _estimate(parameters, windows, x, start, normal, cost, count, converged, options, free)


def _cost(forecast: Forecast, x: Tensor, start: Tensor) -> float:
    with torch.no_grad():
        rows = forecast(x.expand(len(start), -1), start, stability=True)
    return float((forecast.data - rows).square().sum())


def _freedom(windows: Windows, x: Tensor, free: bool) -> float:
    states = 2 * windows.known if free else 0
    return float(max(len(windows) * (windows.observed - states) - len(x), 1))


def _step(
    forecast: Forecast, x: Tensor, start: Tensor, normal: _Normal, cost: float
) -> tuple[Tensor, Tensor, float] | None:
    """The step of least damping that lowers the sum of squares; None where none does."""
    scale, score = torch.diag(normal.information.diagonal()), normal.scores.sum(0)
    for damping in _DAMPING:
        dx = torch.linalg.solve(normal.information + damping * scale, score)
        dx = dx * min(1.0, _LARGEST_STEP / max(float(dx.abs().max()), 1e-300))
        moved = start + normal.shift - torch.einsum("p,pwij->wij", dx.to(start.dtype), normal.response)
        try:
            new = _cost(forecast, x + dx, moved)
        except InputError:  # the model refuses what is too far off, as an unstable time step
            continue
        if new < cost:
            return x + dx, moved, new
    return None


def check_identified(parameters: Parameters, information: Tensor, noise: float, largest: float) -> None:
    """Raise InputError where a combination of coordinates has a standard deviation above `largest`."""
    if not bool(torch.isfinite(information).all()):
        raise InputError("the model leaves finite numbers at these parameters: give another start, or bounds")
    values, vectors = torch.linalg.eigh(information)
    deviation = (noise / values.clamp_min(1e-300)).sqrt()
    if float(deviation[0]) > largest:
        names = [name if name == "alpha" else f"log {name}" for name in parameters.names]
        parts = zip(vectors[:, 0].tolist(), names, strict=True)
        text = " ".join(f"{weight:+.2g} {name}" for weight, name in parts if abs(weight) > 0.05)
        raise InputError(
            f"the observations do not tell the combination {text}: its relative standard deviation is "
            f"{float(deviation[0]):.3g}, expected below {largest:g}; observe a state that flows and changes, "
            "more frames, or estimate fewer parameters"
        )


def _estimate(
    parameters: Parameters, windows: Windows, x: Tensor, start: Tensor, normal: _Normal, cost: float,
    count: int, converged: bool, options: Options, free: bool,
) -> Estimate:  # fmt: skip
    chi = cost / _freedom(windows, x, free)
    inverse = torch.linalg.inv(normal.information)
    blocks = min(options.blocks, len(windows))
    edges = [round(i * len(windows) / blocks) for i in range(blocks + 1)]
    scores = torch.stack([normal.scores[a:b].sum(0) for a, b in pairwise(edges)])
    freedom = max(blocks - len(x), 1)
    scores = scores - scores.mean(0)  # zero at a minimum
    robust = inverse @ (scores.T @ scores) @ inverse * (blocks / freedom)
    return Estimate(x, start, normal.information, chi, chi * inverse, robust, freedom, count, converged)


def estimate(
    model: Model, parameters: Parameters, windows: Windows, begin: Tensor, options: Options
) -> Estimate:
    """Start value from single intervals with the observed states taken for true, then from whole windows.

    Single intervals are nearly linear in x, a regression in weak form, so they converge from afar; noise in
    the states biases them, which the second part removes.
    """
    rough = replace(options, iterations=12, largest=1e6)
    x = gauss_newton(model, parameters, windows.split(), begin, None, rough, free=False).x
    return gauss_newton(model, parameters, windows, x, None, options)
