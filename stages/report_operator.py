"""Stage `report_operator`: one self-contained HTML page: how good the operators are, and at what cost."""

from collections.abc import Mapping
from html import escape

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages._operator_scores import ENSEMBLE
from stages._report_figures import PALETTE, number
from stages._report_operator_figures import training
from stages._report_operator_pictures import pictures
from stages._report_operator_tables import BASELINES, candidates, intervals, pair, resolutions, scales
from stages.base import Stage, StageConfig, schema
from stages.parts import PART_NAMES
from stages.report_page import items, lineage, page, section, table

LITERATURE = {
    "mgno": "J. He, X. Liu, J. Xu: MgNO: Efficient parameterization of linear operators via multigrid. ICLR "
    "2024, arXiv 2310.19809.",
    "fno": "Z. Li, N. Kovachki, K. Azizzadenesheli et al.: Fourier neural operator for parametric partial "
    "differential equations. ICLR 2021, arXiv 2010.08895.",
    "deeponet": "L. Lu, P. Jin, G. Pang, Z. Zhang, G. E. Karniadakis: Learning nonlinear operators via "
    "DeepONet. Nature Machine Intelligence 3, 2021, 218-229.",
    "multionet": "Y. Zang, P.-S. Koutsourelakis: DGenNO: a novel physics-aware neural operator. Journal of "
    "Computational Physics, 2025, arXiv 2502.06250.",
    "spon": "N. Bouziani, N. Boullé: Structure-preserving operator learning. 2024, arXiv 2410.01065.",
    "kernel_ridge": "P. Batlle, M. Darcy, B. Hosseini, H. Owhadi: Kernel methods are competitive for "
    "operator learning. Journal of Computational Physics 496, 2024, 112549.",
}
"""What to cite for a family."""

_ENSEMBLES = (
    "B. Lakshminarayanan, A. Pritzel, C. Blundell: Simple and scalable predictive uncertainty estimation "
    "using deep ensembles. NeurIPS 30, 2017.",
    "A. N. Angelopoulos, S. Bates: Conformal prediction: a gentle introduction. Foundations and Trends in "
    "Machine Learning 16, 2023, 494-591.",
)


class ReportOperatorConfig(StageConfig):
    """What the page shows. candidate: whose predictions are drawn, the chosen one where empty; output: which
    field ranks and is drawn, the first one where empty.
    """

    title: str = "Operator learning report"
    candidate: str = ""
    output: str = ""


def run(
    config: ReportOperatorConfig,
    data: xr.Dataset,
    metrics: xr.Dataset,
    provenance: xr.Dataset,
    split: xr.Dataset | None = None,
    **several: xr.Dataset,
) -> xr.Dataset:
    """The page as bytes: uint8 `page(html_byte)`, UTF-8, without any reference to another file.

    Candidates beside baselines with errors, sizes and times; other resolutions beside interpolated
    predictions; errors by scale; measured against nominal coverage; curves of training; input, truth,
    prediction, error and standard deviation of the best, median and worst test sample; limits of validity;
    provenance; literature. The numbers are those of `evaluate_operator`; nothing is computed here but the
    choice of samples.

    data, metrics: of the resolution of the training; `predictions.<candidate>.<seed>`: of it, those that
    were scored; `others.<label>`: scores at other resolutions; `models.<candidate>.<seed>`: for the curves;
    provenance: stage(step), key(step), seconds(step), and attributes that are listed as they are.

    Raises InputError where a candidate or output that is to be drawn is not there.
    """
    given: dict[str, dict[str, xr.Dataset]] = {"predictions": {}, "others": {}, "models": {}}
    for name, dataset in several.items():
        given[name.partition(".")[0]][name] = dataset
    drawn = _drawn(config, metrics, given["predictions"])
    output = config.output or str(metrics["quantity"].values[0])
    if output not in metrics["quantity"].values:
        raise InputError(
            f"the report is asked to draw {output!r}; the outputs are {metrics['quantity'].values.tolist()}"
        )
    names = list(dict.fromkeys(str(name) for name in metrics["base"].values))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    sections = [
        section("Accuracy and cost", _verdict(metrics), candidates(metrics)),
        section("At other resolutions", resolutions(metrics, given["others"])),
        section("Best, median and worst test sample", pictures(data, metrics, drawn, output)),
        section("Errors by scale", scales(metrics, colours)),
        section("Are the intervals honest?", intervals(metrics)),
        section("Training", training(given["models"], colours)),
        section("Limits of validity", _limits(data, metrics, given["others"])),
        section("Timings and lineage", lineage(provenance)),
        section("Literature", items(_literature(metrics))),
    ]
    text = page(config.title, _lead(data, metrics, split), sections)
    values = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).copy()
    attrs = {"units": "1", "long_name": "HTML page, UTF-8", "media_type": "text/html"}
    return xr.Dataset({"page": (("html_byte",), values, attrs)})


def _drawn(
    config: ReportOperatorConfig, metrics: xr.Dataset, predictions: Mapping[str, xr.Dataset]
) -> tuple[str, xr.Dataset]:
    """Name of the run that is drawn, the ensemble of the candidate or its first seed, and its predictions."""
    known = list(dict.fromkeys(name.removeprefix("predictions.").rpartition(".")[0] for name in predictions))
    wanted = config.candidate or metrics.attrs["chosen"] or known[0]
    mine = {name: one for name, one in predictions.items() if name.startswith(f"predictions.{wanted}.")}
    if not mine:
        raise InputError(
            f"the report is asked to draw {wanted!r}, and has predictions of {known}: name one of them, or "
            "give its predictions"
        )
    whole = f"predictions.{wanted}.{ENSEMBLE}"
    name = whole if whole in mine else next(iter(mine))
    return name.removeprefix("predictions."), mine[name]


def _l2(metrics: xr.Dataset) -> dict[str, float]:
    """Relative L2 of every row, mean over the outputs."""
    values = metrics["score"].sel(metric="relative_l2").values.mean(axis=0)
    return {str(name): float(v) for name, v in zip(metrics["candidate"].values, values, strict=True)}


def _lead(data: xr.Dataset, metrics: xr.Dataset, split: xr.Dataset | None) -> str:
    facts = []
    if split is not None:
        parts = split["split"].values
        counts = [(int((parts == part).sum()), name) for part, name in PART_NAMES.items() if part >= 0]
        facts.append(", ".join(f"{count} {name}" for count, name in counts if count) + " samples")
    else:
        facts.append(f"{data.sizes['sample']} samples, {metrics.sizes['sample']} of them tested")
    facts.append(f"fields on {metrics.attrs['points'].replace(' x ', ' × ')}")
    names = list(dict.fromkeys(str(name) for name in metrics["base"].values))
    facts.append(f"{len(names)} candidate{'s' if len(names) > 1 else ''}")
    chosen = str(metrics.attrs["chosen"])
    if chosen:
        spread = metrics["seed_deviation"].sel(metric="relative_l2").values.mean(axis=0)
        row = next(i for i, base in enumerate(metrics["base"].values) if base == chosen)
        error = pair(_l2(metrics)[str(metrics["candidate"].values[row])], float(spread[row]))
        facts.append(f"chosen by validation: <b>{escape(chosen)}</b>, {escape(error)} % relative L² on test")
    return "; ".join(facts) + "."


def _verdict(metrics: xr.Dataset) -> str:
    """Whether the chosen candidate is worth more than the cheapest methods."""
    chosen, errors = str(metrics.attrs["chosen"]), _l2(metrics)
    family = dict(zip(metrics["candidate"].values, metrics["family"].values, strict=True))
    plain = {n: e for n, e in errors.items() if family[n] in BASELINES and not n.endswith("interpolated")}
    if not chosen or not plain or chosen not in errors:
        return ""
    best = min(plain, key=lambda name: plain[name])
    if family[chosen] in BASELINES:
        why = "no network was better on validation" if set(family.values()) - set(BASELINES) else "all are"
        text = f"The chosen candidate is a baseline, {chosen}: {why}."
        return f'<p class="warn">{escape(text)}</p>'
    share = number(100.0 * errors[chosen] / plain[best])
    text = f"{chosen} has {share} % of the error of the best baseline, {best}."
    if errors[chosen] < plain[best]:
        return f"<p>{escape(text)}</p>"
    return f'<p class="warn">{escape(text)} It adds nothing to it on this data set.</p>'


def _limits(data: xr.Dataset, metrics: xr.Dataset, others: Mapping[str, xr.Dataset]) -> str:
    said = [
        "The scores hold for samples drawn as the test samples were: the same kinds of inputs, from the same "
        "ranges. Nothing here says what happens outside of them.",
        f"Trained and scored on {metrics.attrs['points'].replace(' x ', ' × ')}; "
        + (
            "other resolutions as far as the section above shows."
            if others
            else "no other resolution was tried, so none should be asked for without a test."
        ),
        "Intervals hold on average over samples and points. A single sample may lie outside more often, and "
        "a whole field at once does.",
    ]
    if metrics.sizes["sample"] < 30:
        said.append(
            f"Only {metrics.sizes['sample']} test samples: differences between candidates of the size of "
            "their scatter over the samples mean little."
        )
    unserved = metrics["candidate"].values[metrics["stands_in"].values > 0].tolist()
    for label, scored in {"": metrics, **others}.items():
        where = f" ({label.removeprefix('others.')})" if label else ""
        said += [
            f"Not scored{where}, since it cannot serve it: {name}, {why}."
            for name, why in scored.attrs.get("unserved", {}).items()
        ]
    if unserved:
        said.append(f"Interpolated, since the model cannot serve this grid: {', '.join(unserved)}.")
    for quantity in metrics["quantity"].values:
        one = metrics["undefined"].sel(quantity=quantity)
        reasons = {
            str(v): str(m) for m, v in zip(metrics["metric"].values, one.values, strict=True) if str(v)
        }
        said += [f"{quantity}, {m.replace('_', ' ')}: {reason}." for reason, m in reasons.items()]
    rows = [
        (
            str(name),
            str(one.attrs["role"]),
            str(one.attrs.get("units", "1")),
            " × ".join(map(str, one.dims[1:])),
        )
        for name, one in data.data_vars.items()
        if "role" in one.attrs
    ]
    return items(said) + table(("variable", "role", "units", "axes"), rows, (1, 2, 3))


def _literature(metrics: xr.Dataset) -> list[str]:
    families = dict.fromkeys(str(name) for name in metrics["family"].values)
    cited = [LITERATURE[name] for name in families if name in LITERATURE]
    return cited + (list(_ENSEMBLES) if metrics.sizes["level"] else [])


STAGE = Stage(
    name="report_operator",
    version=4,
    config=ReportOperatorConfig,
    inputs={
        "data": schema("sample_name", optional=("node_count", "cell_count", "x", "connectivity")),
        "metrics": schema("sample_name"),
        "provenance": schema(),
        "split": schema("split", "sample_name"),
        "predictions": schema("sample_name", "inference_seconds"),
        "others": schema("sample_name"),
        "models": schema("train_loss", "validation_error"),
    },
    output=schema(),
    run=run,
    optional=("split", "others", "models"),
    several=("predictions", "others", "models"),
)
