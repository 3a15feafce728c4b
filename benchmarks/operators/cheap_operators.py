"""Closed-form operators on real sets beside scikit-learn's kernel ridge, and how often their intervals hold.

Run from the repository, on one thread: python -m benchmarks.operators.cheap_operators [folder of inputs].
Greens: 10 splits of 80 / 20 pairs; burgers, darcy: the given parts. Intervals: 10 draws of the calibration
part (20, 100, 100 samples) from the training samples; kernels chosen on the rest. Needs the extra `dev`.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.io import loadmat
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold

from kernels.metrics.conformal import pointwise_factor, simultaneous_factor
from kernels.operators.base import Batch, Signature
from kernels.operators.families import build
from kernels.operators.settings import SETTINGS

GREENS = ("laplace", "advection_diffusion", "cubic_helmholtz")
LEVELS = (0.5, 0.8, 0.9, 0.95)
Split = tuple[np.ndarray, np.ndarray]


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, Signature, list[Split]]:
    """Inputs, outputs, what is mapped, and (train, test) positions."""
    if name in GREENS:
        found = loadmat(folder / "greens" / f"{name}.mat")
        grid, out = (found["Y"].ravel(),), (found["X"].ravel(),)
        orders = [np.random.default_rng(i).permutation(100) for i in range(10)]
        where = Signature("grid", 1, 1, 0, ("s",), ("x",), grid, out, dimension=1)
        return found["F"].T[:, None], found["U"].T[:, None], where, [(o[:80], o[80:]) for o in orders]
    parts = [
        torch.load(folder / name / f"{name}_{part}_16.pt", weights_only=True) for part in ("train", "test")
    ]
    a, u = (np.concatenate([part[key].double().numpy() for part in parts])[:, None] for key in ("x", "y"))
    x, t = np.arange(16) / 16, np.arange(17) / 16
    axes, out_axes = (("x",), ("t", "x")) if name == "burgers" else (("y", "x"), ("y", "x"))
    grid, out = ((x,), (t, x)) if name == "burgers" else ((x, x), (x, x))
    train = len(parts[0]["x"])
    where = Signature("grid", 1, 1, 0, axes, out_axes, grid, out, dimension=len(grid))
    return a, u, where, [(np.arange(train), np.arange(train, len(a)))]


def batch(a: np.ndarray, u: np.ndarray, where: Signature) -> Batch:
    """All samples in one."""
    grid, out = (tuple(map(torch.tensor, axes)) for axes in (where.grid, where.out_grid))
    nothing = torch.zeros(len(a), 0, dtype=torch.float64)
    return Batch(torch.from_numpy(a), torch.from_numpy(u), nothing, grid, out)


def predicted(family: str, a: np.ndarray, u: np.ndarray, where: Signature, rows: Split) -> np.ndarray:
    """Predictions of the second rows by what was fitted to the first; channels normalised on those."""
    train, test = rows
    pairs = [(v.mean(), v.std()) for v in (a[train], u[train])]
    a, u = ((v - mean) / scale for v, (mean, scale) in zip((a, u), pairs, strict=True))
    if family == "scikit-learn":
        return peer(a[train], u[train], a[test]) * pairs[1][1] + pairs[1][0]
    operator = build(family, where, SETTINGS[family]())
    operator.fit(batch(a[train], u[train], where), None)
    return operator(batch(a[test], u[test], where)).numpy() * pairs[1][1] + pairs[1][0]


def peer(a: np.ndarray, u: np.ndarray, new: np.ndarray) -> np.ndarray:
    """RBF kernel ridge regression, width and ridge by a grid search in 5 folds for what is scored here."""

    def score(model: KernelRidge, x: np.ndarray, y: np.ndarray) -> float:
        return -float(np.linalg.norm(model.predict(x) - y, axis=1).mean())

    x, y = a.reshape(len(a), -1), u.reshape(len(u), -1)
    distance = 2.0 * x.var(axis=0).sum()
    grid = {
        "gamma": [0.5 / (length**2 * distance) for length in (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0)],
        "alpha": 10.0 ** np.arange(-10.0, 1.0, 2.0),
    }
    folds = KFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=folds, scoring=score)
    return search.fit(x, y).predict(new.reshape(len(new), -1)).reshape(len(new), *u.shape[1:])


def relative(error: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the samples of the relative L2 error."""
    norms = (np.linalg.norm(v.reshape(len(v), -1), axis=1) for v in (error, truth))
    return float(np.mean(next(norms) / next(norms)))


def coverage(
    family: str, a: np.ndarray, u: np.ndarray, where: Signature, rows: Split, seed: int
) -> np.ndarray:
    """(pointwise, simultaneous) parts inside at every level, of the test samples."""
    train = np.random.default_rng(seed).permutation(rows[0])
    held = 100 if len(train) > 200 else 20
    both = np.concatenate([train[:held], rows[1]])
    error = np.abs(predicted(family, a, u, where, (train[held:], both)) - u[both]).reshape(len(both), -1)
    known, new = error[:held], error[held:]
    whole = [simultaneous_factor(known.max(axis=1), level) for level in LEVELS]
    each = [pointwise_factor(list(known), level, "seen") for level in LEVELS]
    return np.array([[(new <= f).mean() for f in each], [(new.max(axis=1) <= f).mean() for f in whole]])


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("../shared/data")
    print(f"{'set':<20} {'model':<14} {'relative L2':>11} {'sd':>9} {'seconds':>8}")
    for name in (*GREENS, "burgers", "darcy"):
        a, u, where, splits = read(folder, name)
        for family in ("mean", "linear", "kernel_ridge", "scikit-learn"):
            start = time.perf_counter()
            errors = [relative(predicted(family, a, u, where, s) - u[s[1]], u[s[1]]) for s in splits]
            seconds = (time.perf_counter() - start) / len(splits)
            print(f"{name:<20} {family:<14} {np.mean(errors):11.3e} {np.std(errors):9.1e} {seconds:8.1f}")
    print(f"\n{'inside, of':<20} {'model':<14} " + " ".join(f"{level:>12g}" for level in LEVELS))
    for name, family in (("cubic_helmholtz", "linear"), ("burgers", "linear"), ("darcy", "linear")):
        a, u, where, splits = read(folder, name)
        found = np.array([coverage(family, a, u, where, splits[i % len(splits)], i) for i in range(10)])
        for kind, values in zip(("points", "fields"), found.swapaxes(0, 1), strict=True):
            shown = (
                f"{m:6.3f}±{s:.3f}" for m, s in zip(values.mean(axis=0), values.std(axis=0), strict=True)
            )
            print(f"{name + ' ' + kind:<20} {family:<14} " + " ".join(f"{one:>12}" for one in shown))


if __name__ == "__main__":
    main()
