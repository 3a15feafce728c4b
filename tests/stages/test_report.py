import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from kernels.errors import InputError
from stages import report
from stages._report_calibration import honesty
from stages._report_figures import calibration, draw, number, parity, spectrum, ticks
from stages.evaluate import STAGE as EVALUATE
from stages.evaluate import EvaluateConfig
from stages.report import STAGE, ReportConfig

REASON = "Newton <did not> converge at load step 7"


class Reader(HTMLParser):
    """Checks that every tag is closed in order, and gathers text and links."""

    void = frozenset({"meta", "img", "stop", "rect", "circle", "line", "polyline", "br"})

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
def inputs(build_case):
    case = build_case(18)
    meshes = case.meshes.assign(
        status=(("sample",), np.array([1] + [0] * 17, np.int8)),
        reason=(("sample",), np.array([REASON] + [""] * 17)),
    )
    metrics = EVALUATE(
        EvaluateConfig(), meshes=meshes, morphed=case.morphed, model=case.model, predictions=case.predictions
    )
    provenance = xr.Dataset(
        {
            "stage": (("step",), np.array(["morph", "reduce"])),
            "key": (("step",), np.array(["morph-1a2b", "reduce-3c4d"])),
            "seconds": (("step",), np.array([12.25, 3.5])),
        },
        attrs={"host": "builder"},
    )
    return {
        "meshes": meshes,
        "predictions": case.predictions,
        "metrics": metrics,
        "model": case.model,
        "morphed": case.morphed,
        "provenance": provenance,
    }


@pytest.fixture(scope="module")
def html(inputs):
    return STAGE(ReportConfig(fields=("u", "p")), **inputs)["page"].values.tobytes().decode("utf-8")


def pictures(html):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")) for text in found]


def test_page_is_well_formed_and_self_contained(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert all(link.startswith("data:image/png;base64,") for link in reader.links)
    assert "http://" not in html
    assert "nan" not in "".join(reader.text[2:]).lower().split()


def test_page_says_what_it_must(html):
    reader = Reader()
    reader.feed(html)
    text = " ".join(reader.text)
    for expected in (
        *(
            "u",
            "p",
            "peak",
            "moment",
            "Gaussian process",
            "training mean",
            "linear",
            "POD floor",
            "round trip",
        ),
        *("crosses zero", "left out of the relative error", REASON, "1 of 18 cases failed"),
        *("reduce-3c4d", "15.8", "host: builder", "arXiv 2305.12871", "12 training and 6 test parts"),
        *("best: ", "median: ", "worst: ", "nominal coverage", "topology", "shape_0"),
    ):
        assert expected in text, expected


def test_calibration_is_read_on_the_values_that_are_not_zero(inputs):
    """Half of p is zero and covered, the rest is not: the row says 40 %, too narrow, and 70 % of all."""
    metrics = inputs["metrics"].copy(deep=True)
    metrics["coverage_of_class"].loc[{"quantity": "p"}] = np.array([0.4, 1.0])[:, None]
    metrics["coverage_of_class"].loc[{"quantity": "peak", "class": "nonzero"}] = 1.0
    metrics["coverage"].loc[{"quantity": "p"}] = 0.7
    metrics["values"].loc[{"quantity": "p"}] = [1500, 1500]
    page = honesty(metrics)
    rows = {cells[0]: cells for cells in map(_cells, re.findall(r"<tr.*?</tr>", page))}
    assert rows["p"][1:9] == ["3,000", "50.0 %", *["40.0 %"] * 3, "too narrow", "70.0 %", "100.0 %"]
    assert rows["peak"][6] == "± 8.9 too wide"  # sqrt(0.95 0.05 / 6)
    assert rows["u"][2] == "none"
    assert "too" not in rows["u"][6]
    assert page.count('<tr class="off">') == 2 + sum("too" in rows[n][6] for n in ("moment",))
    assert page.count("p, all values (dashed)") == 1
    assert "u, all values" not in page


def _cells(row):
    return re.findall(r"<td[^>]*>(.*?)</td>", row) or [""]


def test_calibration_lines_are_where_the_numbers_are():
    levels = np.array([0.0, 0.5, 1.0])
    svg = calibration(levels, np.array([[0.0, 0.25, 1.0]]), ["a"], {"a": levels}, (0.95, 0.88, 0.99))
    lines = [
        np.array([pair.split(",") for pair in points.split()], dtype=float)
        for points in re.findall(r'polyline points="([^"]+)"', svg)
    ]
    ideal, judged, plain, wanted = lines
    (left, bottom), (right, top) = ideal
    assert left < right
    assert top < bottom
    np.testing.assert_allclose(judged[1], [0.5 * (left + right), bottom + 0.25 * (top - bottom)], atol=0.1)
    np.testing.assert_allclose(plain[1], [0.5 * (left + right), 0.5 * (top + bottom)], atol=0.1)
    np.testing.assert_allclose(
        wanted, [[left + 0.95 * (right - left), bottom + y * (top - bottom)] for y in (0.88, 0.99)], atol=0.1
    )


def test_pictures_are_not_blank_and_differ(html):
    drawn = pictures(html)
    assert len(drawn) == 3 * 2 * 4
    assert all(picture.astype(float).std() > 10.0 for picture in drawn)
    assert all((picture == 255).all(axis=2).mean() < 0.4 for picture in drawn)
    truth, error = drawn[0].astype(float), drawn[2].astype(float)
    assert truth.shape == error.shape
    assert np.abs(truth - error).mean() > 20.0


def test_error_is_prediction_less_truth(inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "draw", lambda *given: drawn.append(given[2]) or "")
    STAGE(ReportConfig(), **inputs)
    truth, prediction, error, _ = drawn[:4]
    np.testing.assert_array_equal(error, prediction - truth)
    assert np.abs(error).max() > 0.0


def test_parity_bars_are_95_percent_intervals_and_spectra_are_relative():
    svg = parity("q", "1", np.array([0.0, 10.0]), np.array([0.0, 10.0]), np.array([0.5, 0.1]))
    low, high, centre = (
        [float(v) for v in re.findall(rf'{name}="([^"]+)"[^>]*stroke-opacity', svg)]
        for name in ("y1", "y2", "x1")
    )
    scale = (centre[1] - centre[0]) / 10.0 * (300 - 60) / (320 - 106)  # the axes have the same range
    assert low[1] - high[1] == pytest.approx(2 * 1.96 * 0.1 * scale, abs=0.2)
    assert low[0] - high[0] == pytest.approx((0.6 + 0.98) * scale, abs=0.3)  # cut at the frame
    one, other = (spectrum([("a", factor * np.array([1.0, 0.1]))]) for factor in (1.0, 50.0))
    assert one == other


def test_ranking_follows_the_stated_field(inputs):
    html = STAGE(ReportConfig(ranked_by="p"), **inputs)["page"].values.tobytes().decode("utf-8")
    error = inputs["metrics"]["sample_error"].sel(quantity="p", row="gp").values
    order = [i for i in np.argsort(error) if np.isfinite(error[i])]
    for title, position in (("best", 0), ("median", len(order) // 2), ("worst", -1)):
        name = str(inputs["metrics"]["sample_name"].values[order[position]])
        assert f"{title}: {name}, p, relative error {number(float(error[order[position]]))}" in html
    assert len(pictures(html)) == 12


def test_unknown_field_is_refused(inputs):
    with pytest.raises(InputError, match=r"asked to draw \['q'\]; the fields of the model are"):
        STAGE(ReportConfig(fields=("q",)), **inputs)


def test_a_flat_part_keeps_its_aspect_and_a_solid_is_seen(unit_grid):
    points, cells = unit_grid(9, 5)
    wide = draw(points * [3.0, 1.0], cells, points[:, 0], (0.0, 1.0), "viridis")
    high, width = np.asarray(Image.open(io.BytesIO(base64.b64decode(wide.split(",")[1])))).shape[:2]
    assert width / high == pytest.approx(3.0, rel=0.02)
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    solid = draw(corners, np.array([[0, 1, 2, 3]]), np.arange(4.0), (0.0, 3.0), "viridis")
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(solid.split(",")[1])))).std() > 10.0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (np.nan, "–"),
        (0.01234, "0.0123"),
        (-2.5, "−2.5"),
        (1234567.0, "1.23·10⁶"),
        (3.21e-7, "3.21·10⁻⁷"),
        (1234.0, "1234"),
        (-12345.0, "−1.23·10⁴"),
    ],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_ticks_are_round_and_inside():
    assert [t for t, _ in ticks(0.0, 1.0)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(-3.1e6 <= t <= 2.2e6 for t, _ in ticks(-3.1e6, 2.2e6))
