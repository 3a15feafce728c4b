"""The page on operators: complete, self-contained, honest about baselines, on grids, curves and meshes."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages._report_operator_figures import png
from stages.evaluate_operator import STAGE as EVALUATE
from stages.evaluate_operator import EvaluateOperatorConfig
from stages.predict_operator import STAGE as PREDICT
from stages.predict_operator import PredictOperatorConfig
from stages.report_operator import STAGE, ReportOperatorConfig
from tests.stages.operator_sets import mesh_set

PROVENANCE = xr.Dataset(
    {
        "stage": ("step", np.array(["generate", "train_operator"])),
        "key": ("step", np.array(["0123", "abcd"])),
        "seconds": ("step", np.array([1.5, np.nan])),
    },
    attrs={"machine": "two cores"},
)


def scored(toys, data: xr.Dataset, fine: xr.Dataset | None = None) -> dict[str, xr.Dataset]:
    """Everything the page is made from: a network in two seeds and as an ensemble, a baseline."""
    split = toys.split_of(data)
    models = {"net.0": toys.model_of(data), "net.1": toys.model_of(data, members=1)}
    models |= {"net.ensemble": toys.model_of(data, members=3, floor=True)}
    if "node_count" not in data:
        models["cheap.0"] = toys.model_of(data, "linear")
        models["cheap.0"]["validation_error"] += 1.0

    def predicted(on: xr.Dataset) -> dict[str, xr.Dataset]:
        config = PredictOperatorConfig(unserved="interpolate")
        return {
            f"predictions.{name}": PREDICT(config, data=on, model=model, split=toys.split_of(on))
            for name, model in models.items()
        }

    found = {"data": data, "split": split, "provenance": PROVENANCE, **predicted(data)}
    given = {name: one for name, one in found.items() if name.startswith("predictions.")}
    found["metrics"] = EVALUATE(EvaluateOperatorConfig(), data=data, split=split, **given)
    found |= {f"models.{name}": model for name, model in models.items()}
    if fine is not None:
        found["others.16"] = EVALUATE(
            EvaluateOperatorConfig(), data=fine, split=toys.split_of(fine), **predicted(fine)
        )
    return found


def text_of(inputs: dict[str, xr.Dataset], **config: str) -> str:
    made = STAGE(ReportOperatorConfig(**config), **inputs)
    return made["page"].values.tobytes().decode("utf-8")


def test_the_page_has_all_sections_and_refers_to_nothing(toys):
    inputs = scored(toys, toys.grid_set(), toys.grid_set(points=16))
    before = {name: value.copy(deep=True) for name, value in inputs.items()}
    text = text_of(inputs, title="Tests & more")
    for name, value in inputs.items():
        xr.testing.assert_identical(value, before[name])
    for title in (
        "Accuracy and cost", "At other resolutions", "Best, median and worst", "Errors by scale",
        "Are the intervals honest?", "Training", "Limits of validity", "Timings and lineage", "Literature",
    ):  # fmt: skip
        assert f"<h2>{title}" in text, title
    assert "Tests &amp; more" in text
    assert text.count("data:image/png;base64,") == 15
    for word in ("http://", "https://", "<script", "<link"):
        assert word not in text
    metrics = inputs["metrics"]
    error = 100.0 * float(metrics["score"].sel(candidate="net", metric="relative_l2", quantity="u"))
    assert f"{error:.3g}" in text
    assert "cheap (baseline) *" in text  # it cannot serve the finer grid
    assert "cheap (baseline)</td>" in text
    assert "16 × 16" in text
    assert "2021" in text
    assert "machine: two cores" in text


def test_every_output_is_shown_at_other_resolutions_and_by_scale(toys):
    inputs = scored(toys, toys.grid_set(), toys.grid_set(points=16))
    one = text_of(inputs)
    for name in ("metrics", "others.16"):
        second = inputs[name].copy(deep=True).assign_coords(quantity=["v"])
        second["score"] *= 0.125
        second["score"].loc[{"metric": "boundary_error"}] = 0.0417
        inputs[name] = xr.concat(
            [inputs[name], second], "quantity", data_vars="minimal", join="outer"
        ).assign_attrs(inputs[name].attrs)
    text = text_of(inputs)
    assert "<h3>v, K</h3>" not in one
    sections = text.split("<h2>")
    for title in ("Accuracy and cost", "At other resolutions", "Errors by scale"):
        part = next(section for section in sections if section.startswith(title))
        assert part.index("<h3>u, K</h3>") < part.index("<h3>v, K</h3>"), title
    elsewhere = next(section for section in sections if section.startswith("At other resolutions"))
    fine = 100.0 * float(
        inputs["others.16"]["score"].sel(quantity="v", candidate="net", metric="relative_l2")
    )
    assert f"<td>{fine:.3g}" in elsewhere
    for metric, called in (("relative_h1", "relative H¹, %"), ("boundary_error", "boundary, %")):
        shown = 100.0 * float(inputs["others.16"]["score"].sel(quantity="v", candidate="net", metric=metric))
        assert f"<td>{shown:.3g}" in elsewhere
        assert f"<th>{called}</th>" in elsewhere
    inputs["others.16"]["score"].loc[{"metric": "boundary_error"}] = np.nan
    assert "boundary, %" not in text_of(inputs).partition("At other resolutions")[2].partition("<h2>")[0]


def test_what_was_not_scored_is_said_with_the_reason(toys):
    inputs = scored(toys, toys.grid_set(), toys.grid_set(points=16))
    inputs["others.16"] = inputs["others.16"].assign_attrs(unserved={"bound": "2 of 5 samples, other cells"})
    said = "Not scored (16), since it cannot serve it: bound, 2 of 5 samples, other cells."
    assert said in text_of(inputs)


def test_a_network_that_adds_nothing_is_called_so(toys):
    inputs = scored(toys, toys.grid_set())
    metrics = inputs["metrics"] = inputs["metrics"].copy(deep=True)
    for net, words in ((0.5, "has 50 % of the error of the best baseline, cheap"), (2.0, "It adds nothing")):
        metrics["score"][:] = net
        metrics["score"].loc[{"candidate": "cheap"}] = 1.0
        assert words in text_of(inputs)
    metrics.attrs["chosen"] = "cheap"
    assert "The chosen candidate is a baseline, cheap: no network was better" in text_of(inputs)


def test_curves_for_one_axis_and_meshes_as_parts(toys):
    curve = toys.grid_set().isel(y=0, drop=True)
    curve.attrs["boundary"] = "dirichlet"
    text = text_of(scored(toys, curve))
    assert "truth (black), prediction ± 2 σ" in text
    assert "data:image/png" not in text
    text = text_of(scored(toys, mesh_set()))
    assert text.count("data:image/png;base64,") == 15
    assert "Not defined here: a mesh has no wavenumbers." in text


def test_what_cannot_be_drawn_is_refused(toys):
    inputs = scored(toys, toys.grid_set())
    with pytest.raises(InputError, match=r"asked to draw 'other', and has predictions of \['net', 'cheap'\]"):
        text_of(inputs, candidate="other")
    with pytest.raises(InputError, match=r"asked to draw 'v'; the outputs are \['u'\]"):
        text_of(inputs, output="v")


def test_an_image_is_read_back_as_it_was_drawn(tmp_path):
    import base64

    from PIL import Image

    values = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 9.0]])
    data = png(values, (0.0, 4.0), "gray").partition(",")[2]
    (tmp_path / "image.png").write_bytes(base64.b64decode(data))
    pixels = np.asarray(Image.open(tmp_path / "image.png"))
    assert pixels.shape == (2, 3, 3)
    np.testing.assert_allclose(pixels[:, :, 0], np.clip(values, 0, 4) / 4 * 255, atol=2.0)
