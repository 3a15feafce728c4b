"""Gaussian-process fits beside scikit-learn and GPyTorch, with the likelihoods that they reach."""

import argparse
import os
import statistics
import time
import warnings

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

from kernels.regression.gaussian_process import FitOptions, GaussianProcesses, fit, predict  # noqa: E402
from kernels.regression.likelihood import Likelihood  # noqa: E402


def targets_of(inputs: np.ndarray, outputs: int, seed: int = 1) -> np.ndarray:
    """Smooth functions, from nearly linear to strongly curved, with noise variance from 1e-6 to 1e-1."""
    generator = np.random.default_rng(seed)
    n, d = inputs.shape
    columns = []
    for _k in range(outputs):
        relevance = np.exp(-1.5 * generator.random(d) * np.arange(d) / 3.0)
        curvature = 10.0 ** generator.uniform(-1.5, 0.3)
        directions = generator.standard_normal((6, d)) * relevance
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        phase = generator.uniform(0.0, 2.0 * np.pi, 6)
        smooth = np.sin(curvature * inputs @ directions.T + phase) @ generator.standard_normal(6)
        noise = 10.0 ** generator.uniform(-3.0, -0.5) * smooth.std()
        columns.append(smooth + noise * generator.standard_normal(n))
    return np.stack(columns, axis=1)


def sklearn_fit(inputs: np.ndarray, target: np.ndarray, noise: tuple[float, float], start: str = "default"):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    length = np.full(inputs.shape[1], 1.0 if start == "default" else 2.0 * np.sqrt(inputs.shape[1]))
    white = WhiteKernel(1.0 if start == "default" else 1e-2, noise)
    kernel = ConstantKernel(1.0, (1e-5, 1e5)) * Matern(length, (1e-5, 1e5), nu=2.5) + white
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GaussianProcessRegressor(kernel, alpha=0.0).fit(inputs, target)
    return time.process_time() - begin, model.log_marginal_likelihood_value_, model


def gpytorch_step(inputs: np.ndarray, target: np.ndarray, steps: int = 10) -> float:
    """Median seconds of one likelihood and gradient."""
    import gpytorch
    import torch

    torch.set_num_threads(1)

    class Exact(gpytorch.models.ExactGP):
        def __init__(self, x, y, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            base = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=x.shape[1])
            self.covar_module = gpytorch.kernels.ScaleKernel(base)

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    x, y = torch.as_tensor(inputs), torch.as_tensor(target)
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    model = Exact(x, y, likelihood).double()
    model.train(), likelihood.train()
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    seconds = []
    with gpytorch.settings.fast_computations(log_prob=False, covar_root_decomposition=False, solves=False):
        for _ in range(steps):
            begin = time.perf_counter()
            model.zero_grad()
            (-objective(model(x), y)).backward()
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def our_step(inputs: np.ndarray, target: np.ndarray, steps: int = 30) -> float:
    likelihood, seconds = Likelihood(inputs, target), []
    length = np.full(inputs.shape[1], 2.0 * np.sqrt(inputs.shape[1]))
    for _ in range(steps):
        begin = time.perf_counter()
        likelihood.profiled(length, 1e-2)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--inputs", type=int, default=14)
    parser.add_argument("--outputs", type=int, default=100)
    parser.add_argument("--compare", type=int, default=8, help="outputs that scikit-learn fits too")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    inputs = np.random.default_rng(0).uniform(-1.7, 1.7, (arguments.samples, arguments.inputs))
    targets = targets_of(inputs, arguments.outputs)
    options = FitOptions(threads=arguments.threads)
    fit(inputs[:40], targets[:40, :1], options)  # compiles
    begin, begin_cpu = time.perf_counter(), time.process_time()
    model = fit(inputs, targets, options)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    print(
        f"{arguments.samples} samples, {arguments.inputs} inputs, {arguments.outputs} outputs, "
        f"{arguments.threads} threads, "
        f"one BLAS thread each, {os.cpu_count()} cores"
    )
    print(f"fit of all outputs            {seconds:8.2f} s   {cpu / arguments.outputs:.3f} CPU s an output")
    begin = time.perf_counter()
    predict(model, inputs[:200], threads=arguments.threads)
    print(f"200 posteriors of all outputs {time.perf_counter() - begin:8.2f} s")
    print(f"one likelihood and gradient   {1e3 * our_step(model.inputs, model.targets[:, 0]):8.2f} ms")
    print(f"the same in GPyTorch          {1e3 * gpytorch_step(model.inputs, model.targets[:, 0]):8.2f} ms")
    compare(model, options, arguments.compare)


def compare(model: GaussianProcesses, options: FitOptions, outputs: int) -> None:
    """One thread each, CPU seconds, which other work on the machine leaves alone; likelihoods reached."""
    print(
        "output   ours s   scikit-learn s   ratio   L ours - L scikit-learn   signal    noise   "
        "(scikit-learn's)"
    )
    rows = []
    single = FitOptions(**{**options.__dict__, "threads": 1})
    for k in range(outputs):
        begin = time.process_time()
        fit(model.inputs, model.targets[:, [k]], single)
        ours = time.process_time() - begin
        theirs, value, other = sklearn_fit(model.inputs, model.targets[:, k], (1e-8, 1e2))
        rows.append((ours, theirs, model.log_marginal_likelihood[k] - value))
        found = np.exp(other.kernel_.theta)
        print(
            f"{k:6d} {ours:8.3f} {theirs:16.3f} {theirs / ours:7.1f} {rows[-1][2]:25.5f} "
            f"{model.signal_variance[k]:8.3g} {model.noise_variance[k]:8.2g}   {found[0]:.3g} "
            f"{found[-1]:.2g}",
            flush=True,
        )
    median = [statistics.median(row[c] for row in rows) for c in range(2)]
    print(
        f"median {median[0]:8.3f} {median[1]:16.3f} {median[1] / median[0]:7.1f} "
        f"{min(row[2] for row in rows):25.5f} (smallest)"
    )


if __name__ == "__main__":
    main()
