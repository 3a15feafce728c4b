"""Stage `report`: one self-contained HTML page that says how good the model is and where it ends."""

from html import escape

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages._report_calibration import honesty
from stages._report_figures import colour_bar, draw, number, parity, spectrum
from stages.base import Stage, StageConfig, schema
from stages.evaluate import ROWS
from stages.evaluate import table as metrics_table
from stages.ragged import offsets, sample_names
from stages.report_page import folded, items, lineage, note, page, section, table
from stages.variables import OK, TEST, TRAIN

LITERATURE = (
    "F. Casenave, B. Staber, X. Roynard: MMGP, a mesh morphing Gaussian process-based machine "
    "learning method for "
    "regression of physical problems under non-parameterized geometrical variability. NeurIPS 36, "
    "2023, arXiv 2305.12871.",
    "W. T. Tutte: How to draw a graph. Proc. London Math. Soc. 13, 1963, 743-767.",
    "M. S. Floater: Mean value coordinates. Computer Aided Geometric Design 20, 2003, 19-27.",
    "L. Sirovich: Turbulence and the dynamics of coherent structures. Quart. Appl. Math. 45, 1987, 561-571.",
    "N. Halko, P. G. Martinsson, J. A. Tropp: Finding structure with randomness. SIAM Review 53, "
    "2011, 217-288.",
    "C. E. Rasmussen, C. K. I. Williams: Gaussian Processes for Machine Learning. MIT Press, 2006.",
    "T. Gneiting, A. E. Raftery, A. H. Westveld, T. Goldman: Calibrated probabilistic forecasting "
    "using ensemble model "
    "output statistics and minimum CRPS estimation. Monthly Weather Review 133, 2005, 1098-1118.",
)


class ReportConfig(StageConfig):
    """What the page shows.

    ranked_by: field whose error ranks the test parts; the first one where empty. fields: what is drawn for
    the
    best, median and worst part; the ranking field where empty.
    """

    title: str = "Surrogate model report"
    ranked_by: str = ""
    fields: tuple[str, ...] = ()


def run(
    config: ReportConfig,
    meshes: xr.Dataset,
    predictions: xr.Dataset,
    metrics: xr.Dataset,
    model: xr.Dataset,
    morphed: xr.Dataset,
    provenance: xr.Dataset,
) -> xr.Dataset:
    """The page as bytes: uint8 `page(html_byte)`, UTF-8, without any reference to another file.

    Table of scores beside baselines and floors, calibration, truth / prediction / error / standard deviation
    of the
    best, median and worst test part by relative error of one field, singular values, processes, morphing,
    timings,
    lineage, failed and refused cases, limits of validity, literature. Truth and prediction share one colour
    scale;
    the error's is symmetric about zero.

    provenance: stage(step), key(step), seconds(step), and attributes that are listed as they are. The numbers
    are
    those of stage `evaluate`; nothing is computed here but the choice of parts.

    Raises InputError where `ranked_by` or `fields` name no field of the model.
    Not handled: cells other than triangles and tetrahedra.
    """
    known = [str(name) for name in model["field"].values]
    ranked = config.ranked_by or known[0]
    drawn = list(config.fields) or [ranked]
    unknown = sorted({ranked, *drawn} - set(known))
    if unknown:
        raise InputError(f"the report is asked to draw {unknown}; the fields of the model are {known}")
    sections = [
        section("Accuracy on the test parts", _scores(metrics)),
        section("Are the error bars honest?", honesty(metrics), _parities(metrics, meshes, predictions)),
        section("Best, median and worst part", _pictures(meshes, predictions, metrics, ranked, drawn)),
        section("Reduced basis", _basis(model)),
        section("Gaussian processes", _processes(model)),
        section("Morphing", _morphing(morphed)),
        section("Failed and refused cases", _refused(meshes, metrics)),
        section("Limits of validity", _limits(model, predictions)),
        section("Timings and lineage", lineage(provenance)),
        section("Literature", items(LITERATURE)),
    ]
    text = page(config.title, _lead(meshes, metrics, model), sections)
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).copy()
    attrs = {"units": "1", "long_name": "HTML page, UTF-8", "media_type": "text/html"}
    return xr.Dataset({"page": (("html_byte",), data, attrs)})


def _lead(meshes: xr.Dataset, metrics: xr.Dataset, model: xr.Dataset) -> str:
    split = meshes["split"].values
    nodes = meshes["node_count"].values[meshes["node_count"].values > 0]
    return (
        f"{int((split == TRAIN).sum())} training and {int((split == TEST).sum())} test parts, "
        f"{nodes.min():,} to {nodes.max():,} nodes each; {metrics.sizes['sample']} test parts scored; "
        f"{model.sizes['latent']} modes of {model.sizes['field']} fields, "
        f"{model.sizes['shape_latent']} of the shape; "
        f"{model.sizes['train_sample']} samples × {model.sizes['feature']} features in the Gaussian "
        "processes."
    )


def _scores(metrics: xr.Dataset) -> str:
    lines = metrics_table(metrics)
    head = ("quantity", "model", "RRMSE", "RMSE / range", "Q²", "CRPS")
    body, notes = [], []
    for quantity, group in lines.groupby("quantity", sort=False):
        reason = str(group["reason"].iloc[0])
        mark = ""
        if reason:
            notes.append(f"{quantity}: {reason}")
            mark = f" <sup>{len(notes)}</sup>"
        units = str(group["units"].iloc[0])
        for order, (_, line) in enumerate(group.iterrows()):
            css = " ".join(c for c, on in (("own", line["row"] == ROWS[0]), ("start", order == 0)) if on)
            crps = number(line["crps"]) + ("" if units == "1" else f" {units}")
            cells = [number(line["rrmse"]), number(line["nrmse"]), _q2(line["q2"]), crps]
            first = (
                f'<td class="group" rowspan="{len(group)}">{escape(str(quantity))}{mark}</td>'
                if order == 0
                else ""
            )
            name = {"gp": "Gaussian process"}.get(line["row"], line["row"])
            body.append(
                f'<tr class="{css}">{first}<td class="left">{escape(name)}</td>'
                + "".join(f"<td>{escape(c)}</td>" for c in cells)
                + "</tr>"
            )
    left = ' class="left"'
    top = "".join(f"<th{left if i == 1 else ''}>{h}</th>" for i, h in enumerate(head))
    explained = note(
        "RRMSE: root mean over parts of the squared error relative to the part's own largest value. "
        "POD floor: the part's own field, projected on the "
        "modes and brought "
        "back; round trip: brought to the common mesh and back. No model on these modes can beat its "
        "floor. CRPS of a row "
        "without a spread is its mean absolute error."
    )
    marks = "".join(f'<p class="note"><sup>{i}</sup> {escape(t)}</p>' for i, t in enumerate(notes, 1))
    rows = f"<thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody>"
    return f'{explained}<div class="wide"><table>{rows}</table></div>{marks}'


def _q2(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.5f}".replace("-", "−") if value > -1.0 else number(value)


def _parities(metrics: xr.Dataset, meshes: xr.Dataset, predictions: xr.Dataset) -> str:
    at = {name: i for i, name in enumerate(sample_names(meshes))}
    guess = {name: i for i, name in enumerate(sample_names(predictions))}
    scored = [str(name) for name in metrics["sample_name"].values]
    rows, columns = [at[n] for n in scored], [guess[n] for n in scored]
    plots = []
    for quantity in metrics["quantity"].values[~metrics["is_field"].values.astype(bool)]:
        units = str(metrics["quantity_units"].sel(quantity=quantity).values)
        mean, std = (predictions[f"{quantity}_{p}"].values[columns] for p in ("mean", "std"))
        plots.append(
            f"<figure>{parity(str(quantity), units, meshes[quantity].values[rows], mean, std)}</figure>"
        )
    if not plots:
        return ""
    head = "<h3>Scalars: predicted against true, with 95 % intervals</h3>"
    return head + f'<div class="plots">{"".join(plots)}</div>'


def _pictures(
    meshes: xr.Dataset, predictions: xr.Dataset, metrics: xr.Dataset, ranked: str, drawn: list[str]
) -> str:
    error = metrics["sample_error"].sel(quantity=ranked, row=ROWS[0]).values
    order = np.argsort(error)[: int(np.isfinite(error).sum())]
    if order.size == 0:
        return note(f"No test part has a relative error of {ranked}.")
    picks = {"best": order[0], "median": order[order.size // 2], "worst": order[-1]}
    content = [
        note(f"Ranked by the relative error of {ranked}. Truth and prediction share one colour scale.")
    ]
    seen = set()
    for title, position in picks.items():
        if position in seen:
            continue
        seen.add(position)
        name = str(metrics["sample_name"].values[position])
        for field in drawn:
            own = float(metrics["sample_error"].sel(quantity=field, row=ROWS[0]).values[position])
            heading = f"{title}: {name}, {field}, relative error {number(own)}"
            content.append(f"<h3>{escape(heading)}</h3>{_panels(meshes, predictions, name, field)}")
    return "".join(content)


def _panels(meshes: xr.Dataset, predictions: xr.Dataset, name: str, field: str) -> str:
    sample, guess = sample_names(meshes).index(name), sample_names(predictions).index(name)
    node, cell, other = offsets(meshes, "node"), offsets(meshes, "cell"), offsets(predictions, "node")
    own, far = slice(node[sample], node[sample + 1]), slice(other[guess], other[guess + 1])
    points = meshes["x"][own].values
    cells = meshes["connectivity"][cell[sample] : cell[sample + 1]].values
    truth = meshes[field][own].values.astype(np.float64)
    mean, std = predictions[f"{field}_mean"][far].values, predictions[f"{field}_std"][far].values
    both = _spread(min(truth.min(), mean.min()), max(truth.max(), mean.max()))
    largest = float(np.abs(mean - truth).max()) or 1.0
    units = str(meshes[field].attrs.get("units", "1"))
    panels = (
        ("truth", truth, both, "viridis"),
        ("prediction", mean, both, "viridis"),
        ("prediction − truth", mean - truth, (-largest, largest), "RdBu_r"),
        ("predicted standard deviation", std, _spread(0.0, float(std.max())), "magma"),
    )
    figures = "".join(
        f'<figure><figcaption>{title}</figcaption><img alt="{escape(field)}: {title}" '
        f'src="{draw(points, cells, values, limits, colours)}"/>{colour_bar(limits, colours, units)}</figure>'
        for title, values, limits, colours in panels
    )
    extent = np.ptp(points, axis=0)
    return f'<div class="parts {"two" if extent[0] > 1.6 * extent[1] else "four"}">{figures}</div>'


def _spread(low: float, high: float) -> tuple[float, float]:
    return (float(low), float(high)) if high > low else (float(low), float(low) + (abs(float(low)) or 1.0))


def _basis(model: xr.Dataset) -> str:
    owner, names = model["latent_field"].values, [str(n) for n in model["field"].values]
    lines = [(n, model["singular_value"].values[owner == i]) for i, n in enumerate(names)]
    lines.append(("shape", model["shape_singular_value"].values))
    energy = model["field_energy"].values if "field_energy" in model else np.full(len(names), np.nan)
    rows = [
        (n, str(model["field_units"].values[i]), str(int((owner == i).sum())), _missing(float(energy[i])))
        for i, n in enumerate(names)
    ]
    counts = table(("field", "units", "modes", "energy left out"), rows)
    return f'<div class="plots"><figure>{spectrum(lines)}</figure><div>{counts}</div></div>'


def _missing(energy: float) -> str:
    if not np.isfinite(energy):
        return "–"
    return number(1.0 - energy, 2) if 1.0 - energy > 1e-15 else "below 10⁻¹⁵"


def _processes(model: xr.Dataset) -> str:
    features, lengths = model["feature"].values, model["lengthscale"].values
    noise = model["noise_variance"].values / model["signal_variance"].values
    rows = []
    for k, name in enumerate(model["output"].values):
        short = int(np.argmin(lengths[k]))
        rows.append(
            (
                str(name), number(float(model["log_marginal_likelihood"].values[k]), 4),
                number(float(noise[k]), 2),
                f"{features[short]} ({number(float(lengths[k, short]))})", number(float(lengths[k].max())),
            )
        )  # fmt: skip
    head = ("output", "log marginal likelihood", "noise / signal variance", "shortest lengthscale", "longest")
    worst = int(np.argmax(noise))
    text = note(
        "Lengthscales in standard deviations of the features. A noise ratio near one means that the "
        "inputs do not explain "
        f"the output; the largest is that of {model['output'].values[worst]}, "
        f"{number(float(noise[worst]), 2)}."
    )
    return text + folded(f"All {len(rows)} processes", table(head, rows, left=(3,)))


def _morphing(morphed: xr.Dataset) -> str:
    rows = []
    for name, text, pick in (
        ("inverted_cells", "inverted cells, most in a part", np.max),
        ("smallest_area_ratio", "smallest area ratio over all parts", np.min),
        ("points_outside", "points outside, most in a part", np.max),
    ):
        if name in morphed:
            rows.append((text, number(float(pick(morphed[name].values)))))
    if "roundtrip_error" in morphed:
        for i, name in enumerate(morphed["field"].values):
            values = morphed["roundtrip_error"].values[:, i]
            rows.append(
                (
                    f"round trip of {name}, median and largest",
                    f"{number(np.median(values))}, {number(values.max())}",
                )
            )
    return table(("check", "value"), rows) if rows else ""


def _refused(meshes: xr.Dataset, metrics: xr.Dataset) -> str:
    content = []
    if "status" in meshes:
        failed = np.flatnonzero(meshes["status"].values != OK)
        names = sample_names(meshes)
        reasons = meshes["reason"].values if "reason" in meshes else np.full(meshes.sizes["sample"], "")
        if failed.size:
            rows = [(names[i], str(reasons[i])) for i in failed]
            content.append(
                f"<h3>{failed.size} of {len(names)} cases failed</h3>" + table(("case", "reason"), rows, (1,))
            )
    if metrics.attrs.get("not_evaluated"):
        content.append(
            f"<h3>Test parts without a score</h3><p>{escape(str(metrics.attrs['not_evaluated']))}</p>"
        )
    pairs = zip(metrics["quantity"].values, metrics["excluded_reason"].values, strict=True)
    refused = [f"{q}: {reason}" for q, reason in pairs if str(reason)]
    if refused:
        content.append("<h3>Relative errors left out</h3>" + items(refused))
    return "".join(content) or note("None: every case was computed, morphed and scored.")


def _limits(model: xr.Dataset, predictions: xr.Dataset) -> str:
    said = [
        "Parts of the same topology as the training parts, meshed with the same kind of cell.",
        "Inputs inside the training range below; beyond it the model flags a part and should not be trusted.",
        "The standard deviations hold what the Gaussian processes do not know, scaled by errors of held-out "
        "training parts, and what modes and transfer missed in training; errors of neighbouring nodes go "
        "together, which intervals node by node do not show.",
        "The scores are those of test parts from the same distribution as the training parts.",
    ]
    if "shape_residual_limit" in model.attrs:
        limit = number(float(model.attrs["shape_residual_limit"]))
        said.insert(2, f"A shape of which the modes miss more than {limit} is flagged.")
    if "extrapolation" in predictions:
        flags = predictions["extrapolation"].values
        said.append(f"{int(flags.sum())} of {flags.size} predicted parts are flagged as extrapolation.")
    rows = []
    if "feature_minimum" in model:
        for k, name in enumerate(model["feature"].values):
            log = "log of " if "feature_log" in model and bool(model["feature_log"].values[k]) else ""
            units = str(model["feature_units"].values[k]) if "feature_units" in model else ""
            ends = (float(model[f"feature_{end}"].values[k]) for end in ("minimum", "maximum"))
            rows.append((f"{log}{name}", *(number(v) for v in ends), units))
    ranges = table(("input", "from", "to", "units"), rows, (3,)) if rows else ""
    return items(said) + (folded("Training range of every input", ranges) if ranges else "")


STAGE = Stage(
    name="report",
    version=3,
    config=ReportConfig,
    inputs={
        "meshes": schema(
            "node_count", "cell_count", "x", "connectivity", "split", optional=("status", "reason")
        ),
        "predictions": schema("node_count", optional=("extrapolation",)),
        "metrics": schema("sample_name"),
        "model": schema(
            "latent_field", "singular_value", "shape_singular_value", "lengthscale", "noise_variance"
        ),
        "morphed": schema(optional=("inverted_cells", "points_outside", "roundtrip_error")),
        "provenance": schema(),
    },
    output=schema(),
    run=run,
)
