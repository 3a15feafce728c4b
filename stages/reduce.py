"""Stage `reduce`: fields and shapes on the common mesh become coefficients of centred POD modes."""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field, model_validator
from scipy import sparse

from kernels.errors import InputError
from kernels.mesh.mass import mass_matrix
from kernels.reduction.basis import Basis, Truncation, project
from kernels.reduction.missed import Growth, GrowthTally
from kernels.reduction.pod import snapshot_pod
from kernels.reduction.randomised import randomised_pod
from kernels.reduction.snapshots import Reader
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.ragged import sample_names
from stages.variables import FIELD, PARAMETER, SCALAR, TRAIN

DEFAULT = "default"


class Modes(StageConfig):
    """Where a basis ends: count (the cap), energy (part kept) or tolerance (projection error)."""

    count: int | None = Field(default=None, ge=1)
    energy: float | None = Field(default=None, gt=0.0, le=1.0)
    tolerance: float | None = Field(default=None, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _has_a_rule(self) -> "Modes":
        if self.count is None and self.energy is None and self.tolerance is None:
            raise ValueError("give at least one of count, energy, tolerance")
        return self


class ReduceConfig(StageConfig):
    """Modes of each field and of the shape, the method and its memory.

    modes: an int or a rule a field name; "default" holds for every field not named.
    memory_mib: budget for blocks of snapshots; a basis of k modes on N nodes takes 16 k N bytes on top of it.
    """

    modes: dict[str, int | Modes] = Field(default={DEFAULT: 16})
    shape_modes: int | Modes = 16
    method: Literal["snapshots", "randomised"] = "snapshots"
    oversampling: int = Field(default=10, ge=0)
    power_iterations: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)
    memory_mib: int = Field(default=1024, ge=1)


def run(config: ReduceConfig, morphed: xr.Dataset, common: xr.Dataset) -> xr.Dataset:
    """Centred POD of every field and of the shape in the L2 inner product of the common mesh.

    s_i = mean + sum_k a_ik phi_k,  phi_k M phi_l = delta_kl,  a_ik = phi_k M (s_i - mean)
    (Casenave, Staber, Roynard 2023, arXiv 2305.12871, section 3). Mean and modes come from the training
    samples (split == 0; all where there is no split); coefficients are given for every sample.

    morphed: shape(sample, common_node, axis) and every variable of role field with dims (sample,
    common_node); common: the common mesh. Returns modes(latent, common_node) with the field's units divided
    by the unit of coefficients, latent_field(latent) numbering the coordinate `field`, means, singular
    values, coefficients, field_residual(field, common_node), the spread of what modes and transfer miss in
    training, how it grows with the field there (see `_residual`), shape_residual(sample) = |s - mean - a
    phi|_M / |s - mean|_M, the captured part of the energy a field, the common mesh, and the parameters,
    scalars, names and split of the samples.

    Raises InputError where there are fewer training samples than modes + 1, where no field is given, where a
    config names an unknown field, and where a value is not finite. Fields that do not vary get no mode.
    Not handled: cell fields; modes shared by several fields.
    """
    fields = by_role(morphed, FIELD, ("sample", "common_node"))
    if not fields:
        raise InputError(
            "the morphed set has no variable of role 'field' with dims (sample, common_node); expected one"
        )
    unknown = sorted(set(config.modes) - {DEFAULT, *fields})
    if unknown:
        raise InputError(f"modes are configured for {unknown}; the fields of the set are {fields}")
    rows = training_rows(morphed)
    mass = sparse.csr_array(mass_matrix(common["common_x"].values, common["common_connectivity"].values))
    bases, coefficients = {}, {}
    for name in fields:
        bases[name] = _basis(config, morphed, name, rows, mass, _truncation(config, name))
        coefficients[name] = _project(config, morphed, name, bases[name], mass)[0]
    result = _fields(morphed, bases, coefficients)
    result.update(
        _missed([_residual(config, morphed, name, rows, bases[name], coefficients[name]) for name in fields])
    )
    result.update(_shape(config, morphed, rows, mass))
    result.update({name: common[name].variable for name in ("common_x", "common_connectivity")})
    passed = [
        *by_role(morphed, PARAMETER, ("sample",)),
        *by_role(morphed, SCALAR, ("sample",)),
        "sample_name",
        "split",
    ]
    result.update({name: morphed[name].variable for name in passed if name in morphed})
    return xr.Dataset(result, coords={"field": list(fields)})


def training_rows(dataset: xr.Dataset) -> np.ndarray:
    """Positions of the training samples; all samples where the set has no split."""
    if "split" not in dataset:
        return np.arange(dataset.sizes["sample"])
    rows = np.flatnonzero(dataset["split"].values == TRAIN)
    if rows.size == 0:
        raise InputError("no sample has split 0 (train); expected at least two training samples")
    return rows


def _truncation(config: ReduceConfig, name: str) -> Truncation:
    rule = config.modes.get(name, config.modes.get(DEFAULT))
    if rule is None:
        raise InputError(f"modes name neither {name!r} nor 'default'; add one of the two")
    return _rule(rule)


def _rule(rule: int | Modes) -> Truncation:
    return (
        Truncation(count=rule)
        if isinstance(rule, int)
        else Truncation(rule.count, rule.energy, rule.tolerance)
    )


def _reader(morphed: xr.Dataset, name: str, rows: np.ndarray) -> Reader:
    """Blocks of a variable's samples as rows; vectors are laid out one component after the other."""
    values, names = morphed[name].variable, sample_names(morphed)

    def read(start: int, stop: int) -> np.ndarray:
        picked = rows[start:stop]
        along = slice(picked[0], picked[-1] + 1) if picked[-1] - picked[0] + 1 == picked.size else picked
        block = np.asarray(values.isel(sample=along).values)
        if not np.isfinite(block).all():
            bad = int(np.flatnonzero(~np.isfinite(block.reshape(len(block), -1)).all(axis=1))[0])
            raise InputError(
                f"sample {names[picked[bad]]!r}: {name!r} has values that are not finite on the common mesh; "
                "repair the sample or leave it out"
            )
        return block if block.ndim == 2 else block.transpose(0, 2, 1).reshape(len(block), -1)

    return read


def _basis(
    config: ReduceConfig,
    morphed: xr.Dataset,
    name: str,
    rows: np.ndarray,
    mass: sparse.csr_array,
    truncation: Truncation,
) -> Basis:
    read, memory = _reader(morphed, name, rows), config.memory_mib * 2**20
    try:
        if config.method == "snapshots":
            return snapshot_pod(read, rows.size, mass, truncation, memory)
        return randomised_pod(
            read,
            rows.size,
            mass,
            truncation,
            memory,
            config.oversampling,
            config.power_iterations,
            config.seed,
        )
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from error


def _project(
    config: ReduceConfig, morphed: xr.Dataset, name: str, basis: Basis, mass: sparse.csr_array
) -> tuple[np.ndarray, np.ndarray]:
    everything = np.arange(morphed.sizes["sample"])
    return project(
        _reader(morphed, name, everything), everything.size, basis, mass, config.memory_mib * 2**20
    )


def _residual(
    config: ReduceConfig,
    morphed: xr.Dataset,
    name: str,
    rows: np.ndarray,
    basis: Basis,
    coefficients: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, Growth]:
    """What the k modes and the transfer (error t_i) miss over the n training samples, in the field's units.

    r = sqrt(sum_i e_i^2 / n) with e_i^2 = (s_i - p_i)^2 n / (n - k - 1) + t_i^2, p_i = mean + a_i Phi; scale
    = sqrt(sum_i p_i^2 / n), both (common_node,); g with e_i^2 ~ r^2 g(|p_i| / scale).
    """
    nodes = morphed.sizes["common_node"]
    free = rows.size / max(rows.size - len(basis.modes) - 1, 1)
    read = _reader(morphed, name, rows)
    position = [str(field) for field in morphed["field"].values].index(name) if "field" in morphed else 0
    block = max(1, config.memory_mib * 2**20 // (8 * 8 * nodes))

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, rows.size, block):
            part = rows[start : min(start + block, rows.size)]
            projected = basis.mean + coefficients[part] @ basis.modes
            squares = free * (read(start, start + part.size) - projected) ** 2
            if "transfer_error" in morphed:
                squares += morphed["transfer_error"][part, position].values.astype(np.float64) ** 2
            yield projected, squares

    missed, size = np.zeros(nodes), np.zeros(nodes)
    for projected, squares in blocks():
        missed += squares.sum(axis=0)
        size += np.einsum("ij,ij->j", projected, projected)
    variance, scale = missed / rows.size, np.sqrt(size / rows.size)
    tally = GrowthTally(scale, variance)
    for projected, squares in blocks():
        tally.add(projected, squares)
    return np.sqrt(variance), scale, tally.growth()


def _missed(found: list[tuple[np.ndarray, np.ndarray, Growth]]) -> dict[str, xr.Variable]:
    values = {
        "field_residual": [spread for spread, _, _ in found],
        "residual_scale": [scale for _, scale, _ in found],
        "residual_knot": [growth.knots for _, _, growth in found],
        "residual_growth": [growth.values for _, _, growth in found],
    }
    return {name: variable(name, np.stack(rows)) for name, rows in values.items()}


def _fields(
    morphed: xr.Dataset, bases: Mapping[str, Basis], coefficients: Mapping[str, np.ndarray]
) -> dict[str, xr.Variable]:
    owner = np.repeat(np.arange(len(bases)), [len(b.modes) for b in bases.values()])
    units = np.array([str(morphed[name].attrs["units"]) for name in bases])
    captured = np.array([b.captured for b in bases.values()])
    return {
        "modes": variable("modes", np.concatenate([b.modes for b in bases.values()])),
        "latent_field": variable("latent_field", owner),
        "singular_value": variable(
            "singular_value", np.concatenate([b.singular_values for b in bases.values()])
        ),
        "field_mean": variable("field_mean", np.stack([b.mean for b in bases.values()])),
        "field_units": xr.Variable(("field",), units, {"units": "1", "long_name": "units of each field"}),
        "field_energy": xr.Variable(
            ("field",), captured, {"units": "1", "long_name": "part of the training energy inside the modes"}
        ),
        "coefficients": variable("coefficients", np.concatenate(list(coefficients.values()), axis=1)),
    }


def _shape(
    config: ReduceConfig, morphed: xr.Dataset, rows: np.ndarray, mass: sparse.csr_array
) -> dict[str, xr.Variable]:
    nodes, axes = morphed.sizes["common_node"], morphed.sizes["axis"]
    vector_mass = sparse.csr_array(sparse.block_diag([mass] * axes, format="csr"))
    basis = _basis(config, morphed, "shape", rows, vector_mass, _rule(config.shape_modes))
    coefficients, residual = _project(config, morphed, "shape", basis, vector_mass)
    modes = basis.modes.reshape(len(basis.modes), axes, nodes).transpose(0, 2, 1)
    return {
        "shape_modes": variable("shape_modes", np.ascontiguousarray(modes)),
        "shape_mean": variable("shape_mean", np.ascontiguousarray(basis.mean.reshape(axes, nodes).T)),
        "shape_singular_value": variable("shape_singular_value", basis.singular_values),
        "shape_coefficients": variable("shape_coefficients", coefficients),
        "shape_residual": variable("shape_residual", residual),
    }


STAGE = Stage(
    name="reduce",
    version=2,
    config=ReduceConfig,
    inputs={
        "morphed": schema("shape", optional=("split", "sample_name", "transfer_error")),
        "common": schema("common_x", "common_connectivity"),
    },
    output=schema(
        *("modes", "latent_field", "singular_value", "field_mean", "coefficients"),
        *("shape_modes", "shape_mean", "shape_singular_value", "shape_coefficients", "shape_residual"),
        *("field_residual", "residual_scale", "residual_knot", "residual_growth"),
        *("common_x", "common_connectivity"),
        optional=("split", "sample_name"),
    ),
    run=run,
    literature=(
        "Sirovich 1987, Turbulence and the dynamics of coherent structures, Quart. Appl. Math. 45, 561-571",
        "Halko, Martinsson, Tropp 2011, Finding structure with randomness, SIAM Review 53, 217-288",
        "Casenave, Staber, Roynard 2023, MMGP, NeurIPS 36, arXiv 2305.12871",
        "Carroll, Ruppert 1988, Transformation and Weighting in Regression, Chapman and Hall",
    ),
)  # fmt: skip
