"""The vocabulary: name, dims, dtype, units and meaning of every variable that crosses a stage boundary."""

from dataclasses import dataclass, field
from typing import Any

FIELD, SCALAR, PARAMETER, INPUT = "field", "scalar", "parameter", "input"
"""Values of the attribute `role`: an output field, an output on `sample`, an input on `sample`, an input
field."""

TRAIN, TEST, VALIDATION, CALIBRATION = 0, 1, 2, 3
"""Values of `split`: what trains, what scores, what chooses, what intervals are scaled with."""

LEFT_OUT = -1
"""Value of `split` for a sample that belongs to no part: a copy of another, or a case that failed."""

OK, FAILED = 0, 1
"""Values of `status`."""


@dataclass(frozen=True)
class Variable:
    """One named variable: its dims, dtype, units and meaning; gaps: nan says that there is no value."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    meaning: str
    attrs: dict[str, Any] = field(default_factory=dict)
    gaps: bool = False

    def attributes(self) -> dict[str, Any]:
        """Attributes that a dataset variable of this name carries."""
        return {"units": self.units, "long_name": self.meaning, **self.attrs}


_SPLIT = {
    "flag_values": [TRAIN, TEST, VALIDATION, CALIBRATION],
    "flag_meanings": "train test validation calibration",
}
_STATUS = {"flag_values": [OK, FAILED], "flag_meanings": "ok failed"}
_HARMONICS = ("sample", "time", "harmonic", "x", "y")
_ESTIMATED = ("sample", "estimated")
_MAPS = ("sample", "time", "x", "y")
_MOMENTS = (
    ("concentration", "c = int psi dp"),
    ("D_xx", "xx of D = int pp psi dp; D_yy = c - D_xx"),
    ("D_xy", "xy of D = int pp psi dp"),
    ("S_xxxx", "xxxx of S = int pppp psi dp"),
    ("S_xxxy", "xxxy of S = int pppp psi dp"),
    ("u_x", "velocity along x"),
    ("u_y", "velocity along y"),
    ("E_xx", "xx of the strain rate; E_yy = -E_xx"),
    ("E_xy", "xy of the strain rate"),
    ("ST_xx", "xx of S:T, T = E + 2 zeta D; ST_yy = D:T - ST_xx"),
    ("ST_xy", "xy of S:T, T = E + 2 zeta D"),
)


def _number(name: str, meaning: str) -> Variable:
    return Variable(name, ("sample",), "float64", "1", meaning, {"role": PARAMETER})


_ALL = (
    # --- samples
    Variable("sample_name", ("sample",), "str", "1", "name of the sample, a file or case"),
    Variable("split", ("sample",), "int8", "1", "part of the split that the sample belongs to", _SPLIT),
    Variable("status", ("sample",), "int8", "1", "whether the case was computed", _STATUS),
    Variable("reason", ("sample",), "str", "1", "why the case failed, empty where it did not"),
    # --- ragged meshes (CF contiguous ragged form)
    Variable("node_count", ("sample",), "int64", "1", "nodes of the sample", {"sample_dimension": "node"}),
    Variable("cell_count", ("sample",), "int64", "1", "cells of the sample", {"sample_dimension": "cell"}),
    Variable(
        "facet_count",
        ("sample",),
        "int64",
        "1",
        "tagged boundary facets of the sample",
        {"sample_dimension": "facet"},
    ),
    Variable("x", ("node", "axis"), "float64", "m", "node coordinates"),
    Variable(
        "connectivity", ("cell", "corner"), "int32", "1", "nodes of each cell, numbered within the sample"
    ),
    Variable(
        "facet_node", ("facet", "facet_corner"), "int32", "1", "nodes of each tagged facet, within the sample"
    ),
    Variable("facet_tag", ("facet",), "int32", "1", "boundary tag; names in flag_meanings"),
    # --- common mesh
    Variable("common_x", ("common_node", "common_axis"), "float64", "1", "coordinates of the common mesh"),
    Variable("common_connectivity", ("common_cell", "corner"), "int32", "1", "cells of the common mesh"),
    Variable(
        "reference_x", ("common_node", "axis"), "float64", "m", "physical coordinates of the reference sample"
    ),
    # --- morphed samples
    Variable(
        "mapped_x",
        ("node", "common_axis"),
        "float64",
        "1",
        "own nodes of each sample, mapped onto the common mesh",
    ),
    Variable(
        "shape", ("sample", "common_node", "axis"), "float64", "m", "physical position of each common node"
    ),
    Variable("inverted_cells", ("sample",), "int64", "1", "cells turned over by the morphing"),
    Variable(
        "smallest_area_ratio",
        ("sample",),
        "float64",
        "1",
        "smallest ratio of mapped to own cell measure, scaled by the median ratio",
    ),
    Variable(
        "points_outside",
        ("sample",),
        "int64",
        "1",
        "points clamped to the boundary in the transfer, both ways",
    ),
    Variable(
        "roundtrip_error", ("sample", "field"), "float64", "1", "RRMSE of own -> common -> own transfer"
    ),
    Variable(
        "transfer_error",
        ("sample", "field", "common_node"),
        "float32",
        "1",
        "pulled-back size of own - own -> common -> own, in the units of each field",
    ),
    # --- reduced basis
    Variable(
        "modes",
        ("latent", "common_node"),
        "float64",
        "1",
        "POD modes, orthonormal in the mass inner product",
    ),
    Variable(
        "latent_field", ("latent",), "int32", "1", "index along `field` of the field that a mode belongs to"
    ),
    Variable(
        "singular_value", ("latent",), "float64", "1", "singular values of the centred training snapshots"
    ),
    Variable("field_mean", ("field", "common_node"), "float64", "1", "training mean of each field"),
    Variable(
        "field_residual",
        ("field", "common_node"),
        "float64",
        "1",
        "training standard deviation of what modes and transfer miss, in the units of each field",
    ),
    Variable(
        "residual_scale",
        ("field", "common_node"),
        "float64",
        "1",
        "training root mean square of each field in its modes, in the units of each field",
    ),
    Variable("residual_knot", ("field", "knot"), "float64", "1", "field over residual_scale at each knot"),
    Variable("residual_growth", ("field", "knot"), "float64", "1", "squared residual over field_residual^2"),
    Variable(
        "shape_modes", ("shape_latent", "common_node", "axis"), "float64", "1", "POD modes of the shape"
    ),
    Variable(
        "shape_singular_value",
        ("shape_latent",),
        "float64",
        "m",
        "singular values of the centred training shapes",
    ),
    Variable("shape_mean", ("common_node", "axis"), "float64", "m", "training mean of the shape"),
    Variable("coefficients", ("sample", "latent"), "float64", "1", "projections of each sample's fields"),
    Variable(
        "shape_coefficients", ("sample", "shape_latent"), "float64", "m", "projections of each sample's shape"
    ),
    Variable("shape_residual", ("sample",), "float64", "1", "relative part of the shape that the modes miss"),
    # --- Gaussian processes; output = latents, then scalars
    Variable("gp_features", ("train_sample", "feature"), "float64", "1", "standardised training inputs"),
    Variable("feature_mean", ("feature",), "float64", "1", "training mean of each input"),
    Variable("feature_scale", ("feature",), "float64", "1", "training standard deviation of each input"),
    Variable("target_mean", ("output",), "float64", "1", "training mean of each output"),
    Variable("target_scale", ("output",), "float64", "1", "training standard deviation of each output"),
    Variable("lengthscale", ("output", "feature"), "float64", "1", "Matern lengthscales"),
    Variable("signal_variance", ("output",), "float64", "1", "kernel variance"),
    Variable("noise_variance", ("output",), "float64", "1", "noise variance"),
    Variable(
        "variance_factor", ("output",), "float64", "1", "by which held-out errors scaled both variances"
    ),
    Variable("log_marginal_likelihood", ("output",), "float64", "1", "at the optimum"),
    Variable("gp_targets", ("train_sample", "output"), "float64", "1", "standardised training targets"),
    Variable(
        "linear_coefficients",
        ("output", "linear_term"),
        "float64",
        "1",
        "least-squares baseline: intercept, then features",
    ),
    # --- predictions
    Variable("latent_mean", ("sample", "output"), "float64", "1", "posterior mean of each output"),
    Variable(
        "latent_std", ("sample", "output"), "float64", "1", "posterior standard deviation of each output"
    ),
    Variable(
        "shape_distance",
        ("sample",),
        "float64",
        "1",
        "largest standardised distance of the inputs to the training range",
    ),
    Variable("extrapolation", ("sample",), "int8", "1", "1 where the mesh is far from the training shapes"),
    # --- operator learning
    Variable("dirichlet", ("node",), "int8", "1", "1 where the outputs are prescribed"),
    Variable("content", ("sample",), "str", "1", "digest of the inputs, parameters and mesh of the sample"),
    Variable("input_mean", ("input_channel",), "float64", "1", "training mean, in the channel's units"),
    Variable("input_scale", ("input_channel",), "float64", "1", "training standard deviation"),
    Variable("input_logarithm", ("input_channel",), "int8", "1", "1 where the logarithm is scaled"),
    Variable("output_mean", ("output_channel",), "float64", "1", "training mean, in the channel's units"),
    Variable("output_scale", ("output_channel",), "float64", "1", "training standard deviation"),
    Variable("parameter_mean", ("parameter_channel",), "float64", "1", "training mean"),
    Variable("parameter_scale", ("parameter_channel",), "float64", "1", "training standard deviation"),
    Variable("parameter_logarithm", ("parameter_channel",), "int8", "1", "1 where the logarithm is scaled"),
    Variable(
        "weights", ("member", "weight"), "float64", "1", "all tensors of an operator, flattened, joined"
    ),
    Variable("tensor_name", ("tensor",), "str", "1", "name of each tensor"),
    Variable("tensor_shape", ("tensor",), "str", "1", "its shape, numbers divided by commas"),
    Variable("tensor_dtype", ("tensor",), "str", "1", "its precision, in which the numbers are exact"),
    Variable("seed", ("member",), "int64", "1", "from which weights and order of the samples were drawn"),
    Variable(
        "train_loss", ("member", "epoch"), "float64", "1", "mean loss over the batches of an epoch", gaps=True
    ),
    Variable(
        "validation_error",
        ("member", "epoch"),
        "float64",
        "1",
        "relative L2 of the validation part",
        gaps=True,
    ),
    Variable("inference_seconds", ("sample",), "float64", "s", "time of a prediction, one sample alone"),
    Variable(
        "interpolated", ("sample",), "int8", "1", "1 where the model cannot serve the grid: interpolated"
    ),
    Variable(
        "unserved", ("sample",), "str", "1", "why the model cannot serve the sample, empty where it can"
    ),
    Variable("interval_level", ("level",), "float64", "1", "nominal coverage of intervals"),
    Variable(
        "interval_factor",
        ("level", "output_channel"),
        "float64",
        "1",
        "half width over standard deviation: this part of the points of a new sample is inside",
    ),
    Variable(
        "simultaneous_factor",
        ("level", "output_channel"),
        "float64",
        "1",
        "half width over standard deviation: all points of a new sample are inside with this probability",
    ),
    Variable(
        "spread_floor",
        ("output_channel",),
        "float64",
        "1",
        "joined in quadrature with the spread of the members, in the units of the output",
    ),
    Variable(
        "epoch_seconds",
        ("member", "epoch"),
        "float64",
        "s",
        "time of an epoch, without validation",
        gaps=True,
    ),
    # --- closures of active suspensions, nondimensional
    _number("alpha", "strength of the active dipole, negative for pushers"),
    _number("zeta", "strength of the Maier-Saupe alignment"),
    _number("beta", "particle concentration in the stress of immersed rods"),
    _number("rotary", "rotary diffusion"),
    _number("translational", "translational diffusion"),
    Variable("run_seed", ("sample",), "int64", "1", "from which the initial state was drawn"),
    Variable("angular_modes", ("sample",), "int64", "1", "even angular modes of a run, that of c among them"),
    Variable("run_seconds", ("sample",), "float64", "s", "time that a run took"),
    Variable(
        "source", ("sample",), "str", "1", "kinetic run whose frame a run of the coarse model starts from"
    ),
    Variable("start", ("sample",), "float64", "1", "time of that frame"),
    Variable("warning", ("sample",), "str", "1", "what to know before a run is used, empty where nothing"),
    Variable("harmonic_re", _HARMONICS, "float64", "1", "Re int exp(i m theta) psi dtheta", gaps=True),
    Variable("harmonic_im", _HARMONICS, "float64", "1", "Im int exp(i m theta) psi dtheta", gaps=True),
    Variable(
        "mode_tail",
        ("sample", "time"),
        "float64",
        "1",
        "relative amplitude of the last angular mode",
        gaps=True,
    ),
    *(
        Variable(name, _MAPS, "float64", "1", meaning, {"role": FIELD}, gaps=True)
        for name, meaning in _MOMENTS
    ),
    Variable("survived_until", ("sample",), "float64", "1", "last time of a run that stayed finite"),
    Variable("step_seconds", ("sample",), "float64", "s", "time of a step of the model, median"),
    Variable("violations", ("sample",), "int64", "1", "points and times whose moments no density has"),
    Variable(
        "power_residual",
        ("sample",),
        "float64",
        "1",
        "largest |power in - power out| over power, of all times",
    ),
    Variable("outside", ("sample",), "int8", "1", "1 where the closure was not trained at the parameters"),
    # --- estimated parameters of active suspensions
    Variable("estimate", _ESTIMATED, "float64", "1", "estimated parameter", gaps=True),
    Variable("deviation", _ESTIMATED, "float64", "1", "standard deviation of the estimate", gaps=True),
    Variable("interval_low", _ESTIMATED, "float64", "1", "lower end of the interval", gaps=True),
    Variable("interval_high", _ESTIMATED, "float64", "1", "upper end of the interval", gaps=True),
    Variable(
        "covariance", (*_ESTIMATED, "estimated_2"), "float64", "1", "of the estimates of a run", gaps=True
    ),
    Variable("reduced_square", ("sample",), "float64", "1", "residual over the noise, squared", gaps=True),
    Variable("window_count", ("sample",), "int64", "1", "windows of the record that were used"),
    Variable("steps", ("sample",), "int64", "1", "Gauss-Newton steps"),
    Variable("converged", ("sample",), "int8", "1", "1 where the last step was small"),
    # --- choice of the next simulations
    Variable("candidate_alpha", ("candidate",), "float64", "1", "alpha of a point that may be simulated"),
    Variable("candidate_zeta", ("candidate",), "float64", "1", "zeta of a point that may be simulated"),
    Variable(
        "disagreement", ("candidate",), "float64", "1", "variance of S:T over the members, relative to S:T"
    ),
)

MOMENTS = tuple(name for name, _ in _MOMENTS)
"""Fields of a data set of moments, in order."""

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _ALL}
