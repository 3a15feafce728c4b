"""Stage `predict`: fields and scalars of morphed samples on their own nodes, with standard deviations."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator
from scipy import sparse

from kernels.errors import InputError
from kernels.mesh.locate import Locator
from kernels.mesh.mass import mass_matrix
from kernels.mesh.transfer import interpolation_operator
from kernels.reduction.basis import Basis, project
from kernels.reduction.missed import Growth
from kernels.reduction.snapshots import Reader
from kernels.regression.draws import draws
from kernels.regression.gaussian_process import predict
from kernels.regression.von_mises import drawn_statistics
from stages.base import Stage, StageConfig, schema, variable
from stages.gp_model import feature_values, outside_range, processes_of
from stages.ragged import offsets, sample_names
from stages.variables import FIELD, SCALAR, TEST

_COMPONENTS = (3, 4, 6)


class PredictConfig(StageConfig):
    """Which samples, what the standard deviations hold, and the quantities that need draws.

    samples: "test" (split == 1; all where the set has no split) or "all".
    include_noise: standard deviations of a new simulation, so with the part of the coefficients that the
    features do not explain; False: of the smooth latent function only. The default is True, because errors
    are measured on simulations. include_residual: the part of each field that modes and transfer missed in
    training is in the standard deviations of fields. von_mises_from: stress fields in the order 11, 22, 12
    (plane stress), + 33 (plane strain), or 11, 22, 33, 12, 13, 23; their von Mises stress at the nodes and
    its maximum come from
    `draws` draws. Empty: none.
    """

    samples: Literal["test", "all"] = "test"
    include_noise: bool = True
    include_residual: bool = True
    von_mises_from: tuple[str, ...] = ()
    draws: int = Field(default=512, ge=2)
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)

    @field_validator("von_mises_from")
    @classmethod
    def _count(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names and len(names) not in _COMPONENTS:
            raise ValueError(
                f"{len(names)} stress fields; expected {_COMPONENTS[0]}, {_COMPONENTS[1]} or {_COMPONENTS[2]}"
            )
        return names


def run(config: PredictConfig, morphed: xr.Dataset, model: xr.Dataset) -> xr.Dataset:
    """Posterior of every field at every node of the samples, in their own order, and of every scalar.

    mean = Q (mean_f + Phi^T y), std = sqrt(sum_k (Q Phi_k)^2 v_k + r^2 g(|mean| / scale)), with Q of the
    squared `field_residual` as r^2 and its growth g (stage `reduce`): Q takes the common mesh to the sample's
    nodes by P1 interpolation, y and v are posterior means and variances of the coefficients (Casenave,
    Staber, Roynard 2023, arXiv 2305.12871, section 3: decoder and Q are linear, so the field posterior is
    Gaussian). Features are the shape coefficients, projected in the mass inner product of the common mesh,
    and the parameters.

    morphed: output of stage `morph`; model: output of stage `train_gp`. Returns `<field>_mean` and
    `<field>_std` on `node`, `<scalar>_mean` and `<scalar>_std` on `sample`, `latent_mean` and `latent_std`
    of every output, `shape_distance`, `shape_residual`, and `extrapolation`, 1 where either exceeds the
    limit of the model. With `von_mises_from` also `von_mises_mean/std(node)` and
    `von_mises_max_mean/std(sample)` by draws seeded by the sample's features, so that no cut of the samples
    changes them; they hold the spread of the coefficients, not r.

    Raises InputError for a mesh of another dimension or another common mesh than the model's, a parameter
    that is missing or has other units, an unknown stress field, and values that are not finite. Not handled:
    covariances between nodes are not stored.
    """
    _check_mesh(morphed, model)
    rows = _rows(config, morphed)
    features, residual = _features(morphed, model, rows)
    mean, std = predict(processes_of(model), features, config.include_noise, config.threads)
    decoder = _Decoder.of(model, config)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in decoder.node_names()}
    tops: list[tuple[float, float]] = []
    bounds = offsets(morphed, "node")
    for i, row in enumerate(rows):
        own = np.asarray(morphed["mapped_x"][bounds[row] : bounds[row + 1]].values, dtype=np.float64)
        fields, top = decoder.decode(own, mean[i], std[i], _position(features[i]))
        for name, values in fields.items():
            parts[name].append(values)
        tops.append(top)
    data = _on_samples(morphed, model, rows, mean, std)
    data.update(_validity(model, features, residual))
    for name, blocks in parts.items():
        attrs = {"role": FIELD, "units": decoder.units_of(name), "long_name": _meaning(name)}
        data[name] = xr.Variable(("node",), np.concatenate([np.empty(0), *blocks]), attrs)
    if config.von_mises_from:
        data.update(_maximum(np.array(tops).reshape(-1, 2), decoder.units_of("von_mises_mean")))
    return xr.Dataset(data, coords={"output": model["output"].values})


def _check_mesh(morphed: xr.Dataset, model: xr.Dataset) -> None:
    for dim, holder, what in (
        ("axis", "shape_mean", "dimension of space"),
        ("common_axis", "common_x", "dimension of the common mesh"),
        ("common_node", "shape_mean", "number of common nodes"),
    ):
        given, wanted = morphed.sizes[dim], model[holder].sizes[dim]
        if given != wanted:
            raise InputError(
                f"the morphed set has {dim} of size {given}, the model {wanted} ({what}); expected samples "
                "morphed onto "
                "the common mesh that the model was trained on: morph them onto it"
            )


def _rows(config: PredictConfig, morphed: xr.Dataset) -> np.ndarray:
    if config.samples == "all" or "split" not in morphed:
        return np.arange(morphed.sizes["sample"])
    return np.flatnonzero(morphed["split"].values == TEST)


def _features(morphed: xr.Dataset, model: xr.Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, d) and the part of each shape that the modes miss (rows,), sample after sample."""
    basis, mass = _shape_basis(model)
    coefficients, residual = np.empty((rows.size, len(basis.modes))), np.empty(rows.size)
    names = sample_names(morphed)
    for i, row in enumerate(rows):
        shape = np.asarray(morphed["shape"][int(row)].values, dtype=np.float64)
        if not np.isfinite(shape).all():
            raise InputError(
                f"'shape' of sample {names[int(row)]!r} is not finite; expected finite coordinates: repair "
                "the sample or "
                "leave it out"
            )
        line = np.ascontiguousarray(shape.T).reshape(1, -1)
        part, missed = project(_reader(line), 1, basis, mass)
        coefficients[i], residual[i] = part[0], missed[0]
    count = int(model.attrs["shape_features"])
    parameters = [str(name) for name in model["feature"].values[count:]]
    units = dict(zip(parameters, model["feature_units"].values[count:].tolist(), strict=True))
    logarithm = [bool(flag) for flag in model["feature_log"].values[count:]]
    return feature_values(coefficients, morphed, units, logarithm, rows), residual


def _reader(line: np.ndarray) -> Reader:
    return lambda start, stop: line[start:stop]


def _shape_basis(model: xr.Dataset) -> tuple[Basis, sparse.csr_array]:
    mean, modes = model["shape_mean"].values, model["shape_modes"].values
    mass = mass_matrix(model["common_x"].values, model["common_connectivity"].values)
    vector_mass = sparse.csr_array(sparse.block_diag([mass] * mean.shape[1], format="csr"))
    lines = np.ascontiguousarray(modes.transpose(0, 2, 1)).reshape(len(modes), mean.size)
    basis = Basis(np.ascontiguousarray(mean.T).ravel(), lines, np.ones(len(modes)), float(len(modes)), 0)
    return basis, vector_mass


def _position(features: np.ndarray) -> int:
    """Seed of a sample's draws: its content, since its number depends on the cut."""
    return int.from_bytes(hashlib.blake2b(features.tobytes(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class _Decoder:
    """From coefficients to fields at the nodes of one sample.

    columns (common nodes, 3 fields + latents): means, squared residuals, their scales, modes; growth: of the
    squared residual of each field with its size over the scale.
    """

    config: PredictConfig
    names: list[str]
    units: list[str]
    owner: np.ndarray
    columns: np.ndarray
    growth: list[Growth]
    locator: Locator

    @classmethod
    def of(cls, model: xr.Dataset, config: PredictConfig) -> "_Decoder":
        names = [str(name) for name in model["field"].values]
        unknown = sorted(set(config.von_mises_from) - set(names))
        if unknown:
            raise InputError(f"von_mises_from names {unknown}; the fields of the model are {names}")
        residual = model["field_residual"].values * float(config.include_residual)
        rows = np.concatenate(
            [model["field_mean"].values, residual**2, model["residual_scale"].values, model["modes"].values]
        )
        curves = zip(model["residual_knot"].values, model["residual_growth"].values, strict=True)
        return cls(
            config, names, [str(u) for u in model["field_units"].values], model["latent_field"].values,
            np.ascontiguousarray(rows.T), [Growth(*curve) for curve in curves],
            Locator(model["common_x"].values, model["common_connectivity"].values),
        )  # fmt: skip

    def node_names(self) -> list[str]:
        stress = ["von_mises"] if self.config.von_mises_from else []
        return [f"{name}_{what}" for name in [*self.names, *stress] for what in ("mean", "std")]

    def units_of(self, name: str) -> str:
        base = name.rsplit("_", 1)[0]
        if base not in self.names:
            base = self.config.von_mises_from[0]
        return self.units[self.names.index(base)]

    def decode(
        self, own: np.ndarray, mean: np.ndarray, std: np.ndarray, position: int
    ) -> tuple[dict[str, np.ndarray], tuple[float, float]]:
        """Fields at the mapped nodes `own` (n, axes); mean and deviation of the largest von Mises stress."""
        count = len(self.names)
        local = interpolation_operator(self.locator, own, outside="clamp").matrix @ self.columns
        fields, stress = {}, {}
        for f, name in enumerate(self.names):
            mine = np.flatnonzero(self.owner == f)
            modes = local[:, 3 * count + mine]
            fields[f"{name}_mean"] = local[:, f] + modes @ mean[mine]
            growth = self.growth[f].at(fields[f"{name}_mean"], local[:, 2 * count + f])
            missed = local[:, count + f] * growth
            fields[f"{name}_std"] = np.sqrt(modes**2 @ std[mine] ** 2 + missed)
            stress[name] = (mine, local[:, f], modes)
        if not self.config.von_mises_from:
            return fields, (0.0, 0.0)
        latents, levels, modes = zip(*[stress[name] for name in self.config.von_mises_from], strict=True)
        chosen = np.concatenate(latents)
        drawn = draws(mean[chosen], std[chosen], self.config.draws, self.config.seed, position)
        cuts = np.cumsum([mine.size for mine in latents])[:-1]
        node_mean, node_std, tops = drawn_statistics(
            levels, modes, np.split(mean[chosen], cuts), np.split(drawn, cuts, axis=1)
        )
        top = (float(tops.mean()), float(tops.std()))
        return {**fields, "von_mises_mean": node_mean, "von_mises_std": node_std}, top


def _meaning(name: str) -> str:
    base, what = name.rsplit("_", 1)
    return f"posterior {'mean' if what == 'mean' else 'standard deviation'} of {base}"


def _on_samples(
    morphed: xr.Dataset, model: xr.Dataset, rows: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> dict[str, xr.Variable]:
    kept = [name for name in ("node_count", "sample_name", "split") if name in morphed]
    data = {name: morphed[name].variable.isel(sample=rows) for name in kept}
    data["latent_mean"], data["latent_std"] = variable("latent_mean", mean), variable("latent_std", std)
    for k in range(model.sizes["latent"], model.sizes["output"]):
        name = str(model["output"].values[k])
        for values, what in ((mean, "mean"), (std, "std")):
            attrs = {
                "role": SCALAR,
                "units": str(model["output_units"].values[k]),
                "long_name": _meaning(f"{name}_{what}"),
            }
            data[f"{name}_{what}"] = xr.Variable(("sample",), values[:, k].copy(), attrs)
    return data


def _validity(model: xr.Dataset, features: np.ndarray, residual: np.ndarray) -> dict[str, xr.Variable]:
    distance = outside_range(model, features)
    far = (distance > model.attrs["feature_margin"]) | (residual > model.attrs["shape_residual_limit"])
    return {
        "shape_distance": variable("shape_distance", distance),
        "shape_residual": variable("shape_residual", residual),
        "extrapolation": variable("extrapolation", far),
    }


def _maximum(tops: np.ndarray, units: str) -> dict[str, xr.Variable]:
    return {
        f"von_mises_max_{what}": xr.Variable(
            ("sample",), tops[:, column].copy(),
            {"role": SCALAR, "units": units, "long_name": _meaning(f"von_mises_max_{what}")},
        )
        for column, what in enumerate(("mean", "std"))
    }  # fmt: skip


STAGE = Stage(
    name="predict",
    version=3,
    config=PredictConfig,
    inputs={
        "morphed": schema("mapped_x", "node_count", "shape", optional=("split", "sample_name")),
        "model": schema(
            "gp_features", "feature_mean", "feature_scale", "target_mean", "target_scale", "lengthscale",
            "signal_variance", "noise_variance", "gp_targets", "modes", "latent_field", "field_mean",
            "field_residual", "residual_scale", "residual_knot", "residual_growth", "shape_modes",
            "shape_mean", "common_x", "common_connectivity",
        ),
    },
    output=schema(
        "node_count", "latent_mean", "latent_std", "shape_distance", "shape_residual", "extrapolation",
        optional=("split", "sample_name"),
    ),
    run=run,
    split_over="morphed",
    batch=64,
    literature=("Casenave, Staber, Roynard 2023, MMGP, NeurIPS 36, arXiv 2305.12871",),
)  # fmt: skip
