"""The page on closures: whole, self-contained, true to the metrics, and plain about runs that died."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from kernels.errors import InputError
from stages._report_closure_animation import animation
from stages._report_closure_figures import Curve, chart
from stages._report_closure_pictures import coloured, director, refined, shown_runs
from stages._report_closure_tables import score
from stages.base import variable
from stages.closure_model import untrained
from stages.evaluate_closure import STAGE as EVALUATE
from stages.evaluate_closure import EvaluateClosureConfig
from stages.report_closure import STAGE, ReportClosureConfig
from stages.variables import FAILED, OK
from tests.stages.closure_sets import closed, dies, forecast, moments

SMALL = ReportClosureConfig(frames=6, title="Closures & <more>")


class Reader(HTMLParser):
    """Checks that every tag is closed in order, and gathers text and links."""

    void = frozenset({"meta", "img", "stop", "rect", "circle", "line", "polyline", "polygon", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def inputs() -> dict[str, xr.Dataset]:
    truth = moments(((-3.0, 1.0), (-1.0, 2.0)), (5, 6), frames=31, n=12)
    long = {
        "long.bingham": closed(truth, 1.08, 1.2),
        "long.net": dies(closed(truth, 1.004, 1.02), 0, 14.0),
        "long.natural": closed(truth, 0.9),
    }
    short = {
        "short.bingham": forecast(truth, (10.0,), 6.0, 0.2),
        "short.net": forecast(truth, (10.0,), 6.0, 0.05),
    }
    config = EvaluateClosureConfig(untrained=("natural",), bins=6)
    provenance = xr.Dataset(
        {
            "stage": (("step",), np.array(["moments", "close"])),
            "label": (("step",), np.array(["moments", "close.strain.0"])),
            "key": (("step",), np.array(["moments-1a2b", "close-3c4d"])),
            "seconds": (("step",), np.array([12.25, 3.5])),
        },
        attrs={"host": "builder"},
    )
    metrics = EVALUATE(config, truth=truth, **long, **short)
    return {"truth": truth, "metrics": metrics, "provenance": provenance, **long}


def text_of(result: xr.Dataset) -> tuple[str, Reader]:
    page = result["page"].values.tobytes().decode("utf-8")
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    return page, reader


@pytest.fixture(scope="module")
def page(inputs) -> tuple[str, Reader]:
    return text_of(STAGE(SMALL, **inputs))


def test_the_page_is_whole_and_needs_no_other_file(page):
    text, reader = page
    assert all(link.startswith("data:image/") for link in reader.links)
    assert "Closures &amp; &lt;more&gt;" in text
    said = " ".join(reader.text)
    for title in ("Does the closure hold?", "moving", "still", "Over the plane", "Statistics", "Limits of",
                  "Given the true moments", "Short forecasts", "Stability and cost"):  # fmt: skip
        assert title in said, title
    assert "nan" not in said.lower().split()
    assert "close-3c4d" in said
    assert "close.strain.0" in said
    assert "Crosses: points of training runs." in said
    assert text.count('stroke="#5d6b79"') == 2 * 2  # two training points on each of two maps


def test_the_verdict_and_the_tables_say_what_the_metrics_say(page, inputs):
    said = " ".join(page[1].text).replace("−", "-")
    metrics, condition = inputs["metrics"], "alpha=-3, zeta=1"
    bias = 100.0 * score(metrics, condition, "bingham", "u_rms_bias")
    assert bias == pytest.approx(20.0)
    assert "bingham misses the wanted 1 % of the order parameter and 5 % of u_rms (+8 % and +20 %)" in said
    assert "50 % of its runs reach t = 30" in said
    assert "net is better than bingham at" in said
    assert "at 10 times the speed of the kinetic run" in said


def test_a_run_that_died_is_told_and_not_drawn(page):
    text, reader = page
    said = " ".join(reader.text)
    assert "died before this time" in said  # the snapshot at the last time, of the run that died at 14
    assert re.search(r'<tr class="off"><td>net</td><td>50</td><td>14</td><td>30</td><td>1</td>', text)


def test_the_animation_plays_all_frames_and_is_small(page):
    uri = next(link for link in page[1].links if link.startswith("data:image/webp"))
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.n_frames == 6
    assert image.info["loop"] == 0
    assert image.size[0] > 3 * image.size[1] / 4


def test_the_animation_gives_way_to_its_limit(inputs):
    runs = shown_runs(inputs["truth"], [("net", inputs["long.net"])], "a-3_z1_s5", 30.0)
    found = animation(runs, 10.0, 31, 0.12, 5.0)
    uri = re.search(r'src="(data:image/webp;base64,[^"]*)"', found).group(1)
    assert len(uri) <= 0.12e6
    frames = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).n_frames
    assert 1 < frames < 31


def test_without_long_runs_the_page_shows_what_there_is(inputs):
    metrics = EVALUATE(EvaluateClosureConfig(untrained=("natural",), bins=4), truth=inputs["truth"])
    given = {name: inputs[name] for name in ("truth", "provenance")}
    _, reader = text_of(STAGE(ReportClosureConfig(frames=0), metrics=metrics, **given))
    said = " ".join(reader.text)
    assert "No long run was given" in said
    assert "Given the true moments" in said
    assert "moving" not in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"closure": "no"}, r"draw the closure 'no'; there are \['net', 'bingham', 'natural'\]"),
        (
            {"condition": "no"},
            r"draw the condition 'no'; there are \['alpha=-3, zeta=1', 'alpha=-1, zeta=2'\]",
        ),
        ({"sample": "a-1_z2_s5"}, r"draw the sample 'a-1_z2_s5'; there are \['a-3_z1_s5', 'a-3_z1_s6'\]"),
    ],
)
def test_what_is_not_there_cannot_be_drawn(inputs, changed, message):
    with pytest.raises(InputError, match=message):
        STAGE(ReportClosureConfig(frames=0, **changed), **inputs)


def test_fields_are_refined_by_their_fourier_series():
    coarse, fine = (np.arange(n) * 2.0 * np.pi / n for n in (12, 30))
    wave = lambda s: np.sin(2 * s)[:, None] * np.cos(3 * s)[None, :] + 0.5  # noqa: E731
    np.testing.assert_allclose(refined(wave(coarse), 30), wave(fine), atol=1e-13)
    np.testing.assert_allclose(refined(wave(coarse) * 1j, 30), wave(fine) * 1j, atol=1e-13)


def test_pictures_have_x_to_the_right_and_y_up():
    field = np.zeros((4, 4))
    field[3, 0] = 1.0  # largest x, smallest y: right, at the bottom
    found = coloured(field, (0.0, 1.0))
    assert found[-1, -1] == 255
    assert found.sum() == 255
    # a director along x + y: the stick rises to the right, which in a picture is y downwards getting smaller
    (x1, y1, x2, y2), *_ = director(np.full((4, 4), 0.5j), np.ones((4, 4)))
    assert x2 - x1 == pytest.approx(y1 - y2)
    assert x2 > x1


def test_a_chart_of_nothing_is_nothing_and_a_flat_line_has_a_frame():
    nothing = Curve("a", np.arange(3.0), np.full(3, np.nan), "#000")
    assert chart([nothing], "x", "y") == ""
    flat = Curve("flat", np.arange(3.0), np.full(3, 2.0), "#000", np.full(3, 0.1))
    assert "flat" in chart([flat, nothing], "x", "y")
    assert "nan" not in chart([flat], "x", "y", logarithmic=(True, True))


def _said(result) -> str:
    return " ".join(text_of(result)[1].text)


def test_runs_that_active_learning_added_are_on_the_plane_and_those_that_failed_are_told(inputs):
    added = moments(((-2.0, 0.7), (-4.0, 3.0)), (), frames=3, n=12)
    told = np.array(["", "the solution grew out of bounds"], dtype=object)
    added = added.assign(status=variable("status", [OK, FAILED]), reason=variable("reason", told))
    text, reader = text_of(STAGE(SMALL, **inputs, **{"acquired.1": added}))
    assert text.count('stroke="#5d6b79"') == 2 * 3  # the failed one trained nothing
    name = str(added["sample_name"].values[1])
    assert f"Kinetic run {name} (train) failed: the solution grew out of bounds" in " ".join(reader.text)


def test_a_closure_asked_outside_of_what_it_was_trained_at_is_told(inputs):
    trained = untrained("bingham").assign_attrs(trained='{"alpha": [-2.0, -1.0], "zeta": [1.0, 2.0]}')
    sets = {name: one for name, one in inputs.items() if name.startswith("long.")}
    scores = EVALUATE(EvaluateClosureConfig(bins=6), truth=inputs["truth"], **sets, **{"models.net": trained})
    assert score(scores, "alpha=-3, zeta=1", "net", "outside") == 1.0
    assert score(scores, "alpha=-1, zeta=2", "net", "outside") == 0.0
    assert np.isnan(score(scores, "alpha=-3, zeta=1", "natural", "outside"))
    said = _said(STAGE(SMALL, **{**inputs, "metrics": scores}))
    assert "net was not trained at parameters like these: it extrapolates." in said
    assert "α = −3, ζ = 1 is outside of the parameters that these were trained at" in said
    assert "α = −1, ζ = 2 is outside" not in said


def test_runs_of_the_coarse_model_say_too_that_they_are_outside(inputs):
    sets = {name: one for name, one in inputs.items() if name.startswith("long.")}
    there = (sets["long.net"]["alpha"].values == -3.0).astype(np.int8)
    sets["long.net"] = sets["long.net"].assign(outside=variable("outside", there))
    scores = EVALUATE(EvaluateClosureConfig(bins=6), truth=inputs["truth"], **sets)
    assert score(scores, "alpha=-3, zeta=1", "net", "outside") == 1.0
    assert score(scores, "alpha=-1, zeta=2", "net", "outside") == 0.0


def test_estimated_parameters_are_shown_with_their_intervals_and_reasons(inputs):
    names = inputs["truth"]["sample_name"].values[1:3]
    gap = np.full(2, np.nan)
    found = xr.Dataset(
        {
            "sample_name": variable("sample_name", names), "alpha": variable("alpha", [-3.0, -3.0]),
            "zeta": variable("zeta", [1.0, 1.0]),
            "estimate": variable("estimate", np.stack([[-3.06, 0.99], gap])),
            "interval_low": variable("interval_low", np.stack([[-3.2, 0.9], gap])),
            "interval_high": variable("interval_high", np.stack([[-2.9, 1.1], gap])),
            "reduced_square": variable("reduced_square", [1.21, np.nan]),
            "converged": variable("converged", [1, 0]), "outside": variable("outside", [1, 0]),
            "status": variable("status", [OK, FAILED]),
            "reason": variable("reason", np.array(["", "alpha does not act"], dtype=object)),
        },
        coords={"estimated": ["alpha", "zeta"]}, attrs={"level": 0.95},
    )  # fmt: skip
    text, reader = text_of(STAGE(SMALL, **inputs, estimates=found))
    assert "Parameters from the runs" in " ".join(reader.text)
    row = re.search(rf"<tr class=\"\"><td>{names[0]}</td>.*?</tr>", text)[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    assert cells[1:10] == ["test", "−3", "−3.06", "−3.2 to −2.9", "2", "1", "0.99", "0.9 to 1.1", "−1"]
    assert cells[10:] == ["1.2", "outside of what the closure was trained at"]
    assert re.search(rf"<tr class=\"off\"><td>{names[1]}</td>.*alpha does not act</td></tr>", text)
    assert "Parameters from the runs" not in _said(STAGE(SMALL, **inputs))


def test_decorrelation_is_shown_also_where_no_lead_is_a_frame(inputs):
    sets = {name: one for name, one in inputs.items() if name.startswith("long.")}
    short = forecast(inputs["truth"], (10.0,), 6.0, 0.2)
    config = EvaluateClosureConfig(bins=6, leads=(0.3,))
    scores = EVALUATE(config, truth=inputs["truth"], **sets, **{"short.bingham": short})
    text, _ = text_of(STAGE(SMALL, **{**inputs, "metrics": scores}))
    table = text[text.index("Short forecasts") :]
    assert re.search(r"<td>bingham</td><td[^>]*>[^<–]*\d[^<]*</td><td[^>]*>–</td>", table)


def test_seeds_are_those_that_count_and_an_unresolved_truth_is_no_judge(inputs):
    said = _said(STAGE(SMALL, **inputs))
    assert "4 kinetic test runs at 2 conditions" in said
    assert "Statistics are of 2 seeds a condition" in said
    assert "not resolved here" not in said
    scores = inputs["metrics"].copy(deep=True)
    at = {"condition": "alpha=-1, zeta=2", "closure": "kinetic"}
    scores["score"].loc[{**at, "metric": "runs_counted"}] = 1.0
    scores["score"].loc[{**at, "condition": "alpha=-3, zeta=1", "metric": "apriori_violations"}] = 0.5
    said = _said(STAGE(SMALL, **{**inputs, "metrics": scores}))
    assert "Statistics are of 1 to 2 seeds a condition" in said
    assert "The kinetic runs are not resolved here: 50 % of their points have moments" in said
