"""Search: equal to a filter in plain Python, whatever drives it; hostile text is harmless."""

import contextlib
import string
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import results, selection
from catalogs.catalog import Catalog, Record
from catalogs.results import Results
from catalogs.selection import Order, Selection
from catalogs.where import All, Any, Compare, HasName, HasTag, Not, OneOf, Within, parse
from kernels.errors import InputError
from tests.catalogs.random_catalogs import Known, fill, fits, flat

HALVES = st.integers(0, 9).map(lambda n: n / 2)
NUMBERS = ("metrics.rmse", "metrics.q.2", "config.modes", "config.mixed", "parameters.load")
LEAVES = st.one_of(
    st.builds(Compare, st.sampled_from(NUMBERS), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), HALVES),
    st.builds(
        Compare,
        st.sampled_from(["config.inner.kind", "config.mixed"]),
        st.sampled_from(["==", "!="]),
        st.sampled_from(["a", "b", "0"]),
    ),
    st.builds(Compare, st.just("stage"), st.sampled_from(["==", "!="]), st.sampled_from(["make", "train"])),
    st.builds(OneOf, st.just("metrics.rmse"), st.lists(HALVES, min_size=1, max_size=3).map(tuple)),
    st.builds(
        OneOf, st.just("config.mixed"), st.lists(st.sampled_from(["a", 0.0, 1.0]), min_size=1).map(tuple)
    ),
    st.builds(HasTag, st.sampled_from(["t1", "t2", "t3"])),
    st.builds(HasName, st.sampled_from(["set", "none"])),
    st.builds(lambda a, b: Within("load", min(a, b), max(a, b)), HALVES, HALVES),
)
TREES = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.builds(Not, part),
        st.builds(All, st.lists(part, min_size=1, max_size=3).map(tuple)),
        st.builds(Any, st.lists(part, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
ORDERS = st.builds(
    Order,
    st.sampled_from(["created", "seconds", "stage", "metrics.rmse", "config.modes", "parameters.load"]),
    st.booleans(),
)
quick = settings(
    derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None, max_examples=25
)


@pytest.fixture(scope="module")
def postgres_once(postgres):
    return postgres()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request, tmp_path_factory):
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_once")
    catalog = Catalog(tmp_path_factory.mktemp("search") / "project", url)
    yield catalog, fill(catalog, 40, 3)
    catalog.close()


def value_in(one: Known, order: Order, number: int):
    space, _, name = order.name.partition(".")
    if not name:
        return {"created": number, "seconds": number * 0.5, "stage": one.stage}[space]
    if space == "parameters":
        return one.ranges.get(name, (None,))[0]
    return {"metrics": one.metrics, "config": one.config}[space].get(name)


@pytest.mark.parametrize("few", [5000, 3, -1])
@quick
@given(conditions=st.lists(TREES, max_size=3).map(tuple), order=ORDERS, data=st.data())
def test_search_equals_a_filter_in_python(filled, few, conditions, order, data):
    catalog, known = filled
    expected = [
        (value_in(one, order, i), i, one.key) for i, one in enumerate(known) if fits(one, All(conditions))
    ]
    having = sorted((row for row in expected if row[0] is not None), reverse=order.descending)
    lacking = sorted((row for row in expected if row[0] is None), reverse=order.descending)
    keys = [row[2] for row in having + lacking]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "FEW", few)
        patch.setattr(results, "PAGE", 500 if few > 0 else 2)
        assert Results(catalog, Selection(conditions, order), None).keys() == keys
        paged = Results(catalog, Selection(conditions, order), None)
        assert len(paged) == len(keys)
        start, stop = sorted((data.draw(st.integers(0, 12)), data.draw(st.integers(0, 45))))
        assert [one.key for one in Results(catalog, Selection(conditions, order), None)[start:stop]] == keys[
            start:stop
        ]
        assert [one.key for one in paged[start:stop]] == keys[start:stop]
        limited = Results(catalog, Selection(conditions, order), 4)
        assert len(limited) == min(4, len(keys))
        assert limited.keys() == keys[:4]


@quick
@given(conditions=st.lists(TREES, max_size=2).map(tuple))
def test_facets_count_what_was_found(filled, conditions):
    catalog, known = filled
    mine = [one for one in known if fits(one, All(conditions))]
    facets = Results(catalog, Selection(conditions, Order()), None).facets()
    assert (facets.counted, facets.complete) == (len(mine), True)
    for kind, found in (
        ("stage", [[one.stage] for one in mine]),
        ("tag", [one.tags for one in mine]),
        ("name", [one.names for one in mine]),
        ("metric", [one.metrics for one in mine]),
        ("parameter", [one.ranges for one in mine]),
        ("number", [[n for n, v in flat_of(one) if not isinstance(v, str)] for one in mine]),
        ("text", [[f"{n}={v}" for n, v in flat_of(one) if isinstance(v, str) and v] for one in mine]),
    ):
        names = [name for some in found for name in some]
        assert facets[kind] == {name: names.count(name) for name in names}
    values = [one.metrics["rmse"] for one in mine if "rmse" in one.metrics]
    if values:
        assert facets.range("metric", "rmse") == (min(values), max(values))
    highs = [one.ranges["load"] for one in mine if "load" in one.ranges]
    if highs:
        assert facets.range("parameter", "load") == (min(highs)[0], max(high for _, high in highs))


def flat_of(one):
    return flat(one.config).items()


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "project", database_url)
    yield made
    made.close()


def put(catalog, key, dataset=None, stage="evaluate", config=None, **metrics):
    record = Record(stage, 1, config or {}, {}, datetime.now(UTC), 0.1, metrics=metrics)
    catalog.publish(key * 32, xr.Dataset({"u": ((), 1.0)}) if dataset is None else dataset, record)


def test_words_of_a_search(catalog):
    sampled = xr.Dataset({"reynolds": ("sample", [2e4, 5e4], {"role": "parameter"})})
    put(catalog, "a", sampled, config={"modes": 12}, rmse=0.01)
    put(catalog, "b", sampled, config={"modes": 8}, rmse=0.01)
    put(catalog, "c", sampled * 10, config={"modes": 12}, rmse=0.01)
    put(catalog, "d", stage="make")
    catalog.tag("a", "train")
    catalog.tag("b", "train")
    catalog.name("b", "best")
    catalog.name("a", "best")
    found = catalog.search(
        stage="evaluate",
        reynolds=(1e4, 1e5),
        tags={"train"},
        where="metrics.rmse < 0.02 and config.modes >= 12",
    )
    one = found.one()
    assert (one.key, one.stage, one.samples, one.tags) == ("a" * 32, "evaluate", 2, ("train",))
    assert one.open()["reynolds"].values.tolist() == [2e4, 5e4]
    assert list(one.lineage()["direction"]) == ["self"]
    assert one.show()["config"] == {"modes": 12}
    assert {r.key[0] for r in catalog.search(reynolds=(None, 5e4))} == {"a", "b"}
    assert [r.key[0] for r in catalog.search(name="best", order="created")] == ["a", "b"]
    assert catalog.search(name="best@1").one().key == "b" * 32
    assert len(catalog.search(stage=("make", "evaluate"), limit=2)) == 2
    assert catalog.search(tags="none").first() is None
    assert len(catalog.search(where='created >= "2020-01-01" and created < "2100-01-01"')) == 4
    assert len(catalog.search(where="bytes > 0.5 and version == 1 and not version < 0.75")) == 4
    frame = catalog.search(stage="evaluate", order="created").to_pandas(
        ["metrics.rmse", "config.modes", "parameters.reynolds"]
    )
    assert list(frame["config.modes"]) == [12, 8, 12]
    assert list(frame["parameters.reynolds.high"]) == [5e4, 5e4, 5e5]
    assert list(frame.columns[:8]) == [
        "key",
        "stage",
        "version",
        "created",
        "seconds",
        "bytes",
        "samples",
        "tags",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"stage": "evalute"}, "the catalog knows no stage evalute; the nearest are: stage evaluate"),
        ({"reynold": 3.0}, "knows no parameters.reynold; the nearest are: parameters.reynolds"),
        ({"where": "metrics.rmsd < 1"}, "knows no metrics.rmsd; the nearest are: metrics.rmse"),
        ({"order": "-metrics.rms"}, "knows no metrics.rms; the nearest are"),
        ({"order": "size"}, "order 'size' is not known; expected one of created, stage"),
        ({"reynolds": (2, 1)}, r"reynolds = \(2, 1\) holds nothing"),
        ({"reynolds": "many"}, "reynolds = 'many' given; expected a number, or"),
        ({"reynolds": (1, 2, 3)}, "expected a number, or"),
        ({"limit": 0}, "limit 0; expected at least 1"),
        ({"limit": 1.5}, "limit 1.5; expected a whole number"),
        ({"tags": 3}, "3 given; expected a text or several"),
        ({"tags": "a\0"}, "cannot be searched for; expected a text without NUL"),
        ({"where": "metrics.rmse == 'small'"}, "compared with the text 'small'; metrics are numbers"),
        ({"where": "stage == 3"}, "stage is compared with 3; it is a text"),
        ({"where": "stage < 'x'"}, "compares texts by size"),
        ({"where": "created > 'monday'"}, "created is compared with 'monday'; expected a date"),
        ({"name": "none@3"}, "no artifact in .* has a name or a key that starts with 'none@3'"),
    ],
)
def test_what_a_search_refuses(catalog, words, message):
    put(catalog, "a", xr.Dataset({"reynolds": ("sample", [2e4], {"role": "parameter"})}), rmse=0.1)
    with pytest.raises(InputError, match=message):
        catalog.search(**words)


def test_one_says_what_was_found(catalog):
    with pytest.raises(InputError, match="the search found no artifact, expected one"):
        catalog.search().one()
    put(catalog, "a")
    put(catalog, "b")
    with pytest.raises(InputError, match=r"found 2 artifacts, expected one: b{12} \(evaluate, .*a{12} "):
        catalog.search().one()
    assert catalog.search()[0].key == "b" * 32
    assert catalog.search()[-1].key == "a" * 32
    with pytest.raises(IndexError, match="result 2 of 2"):
        catalog.search()[2]


def test_html_is_escaped(catalog):
    put(catalog, "a", stage="<script>alert(1)</script>", config={"<b>": "<i>"})
    for shown in (catalog.search()._repr_html_(), catalog.search().facets()._repr_html_()):
        assert "<script>" not in shown
        assert "<i>" not in shown
        assert "&lt;script&gt;" in shown
    assert "<script>" in repr(catalog.search())


def test_counters_follow_tags_and_removal(catalog):
    put(catalog, "a", config={"kind": "x"}, rmse=0.5)
    put(catalog, "b", config={"kind": "x"}, rmse=1.5)
    catalog.tag("a", "train")
    catalog.tag("b", "train")
    catalog.untag("a", "train")
    before = catalog.search().facets()
    assert (before["tag"], before["text"], before["stage"]) == ({"train": 1}, {"kind=x": 2}, {"evaluate": 2})
    catalog.remove("b")
    after = catalog.search(stage="evaluate").facets()
    assert (after["tag"], after["text"], after["metric"]) == ({}, {"kind=x": 1}, {"rmse": 1})
    assert after.range("metric", "rmse") == (0.5, 0.5)
    assert len(catalog.search()) == 1


def test_long_facets_say_that_they_are_not_whole(catalog, monkeypatch):
    for key in "abc":
        put(catalog, key)
    catalog.tag("a", "t")
    monkeypatch.setattr("catalogs.results.COUNTED", 2)
    found = catalog.search(where='not "x" in tags')
    assert (found.facets().counted, found.facets().complete, found.facets(exact=True).counted) == (
        2,
        False,
        3,
    )
    assert "the first 2 artifacts" in repr(catalog.search(where='not "x" in tags').facets())


def meshes(samples):
    """Triangles, one more in every sample."""
    cells = [np.array([[0, 1, 2]] * (1 + i), dtype=np.int32) for i in range(samples)]
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    return xr.Dataset(
        {
            "sample_name": ("sample", np.array([f"s{i}" for i in range(samples)], dtype=object)),
            "node_count": ("sample", np.full(samples, 3), {"sample_dimension": "node"}),
            "cell_count": ("sample", [len(c) for c in cells], {"sample_dimension": "cell"}),
            "x": (("node", "axis"), np.tile(points, (samples, 1))),
            "connectivity": (("cell", "corner"), np.concatenate(cells)),
            "heat": ("node", np.arange(3.0 * samples), {"role": "field", "units": "K"}),
        }
    )


def test_open_as_meshes_and_tensors(catalog):
    put(catalog, "a", meshes(1))
    put(catalog, "b", meshes(3))
    put(catalog, "c")
    one, three, none = (catalog.search(where=f'key == "{key * 32}"').one() for key in "abc")
    assert one.open(as_="pyvista")["heat"].tolist() == [0, 1, 2]
    blocks = three.open(as_="pyvista")
    assert blocks.keys() == ["s0", "s1", "s2"]
    assert [block.n_cells for block in blocks] == [1, 2, 3]
    assert blocks["s2"]["heat"].tolist() == [6, 7, 8]
    tensors = three.open(as_="torch")
    assert tensors["connectivity"].shape == (6, 3)
    assert "sample_name" not in tensors
    with pytest.raises(InputError, match="holds no mesh of its samples: expected x, connectivity"):
        none.open(as_="pyvista")
    with pytest.raises(InputError, match="as_='numpy' is not known; expected None, 'pyvista' or 'torch'"):
        none.open(as_="numpy")


def test_tensors_without_torch(catalog, monkeypatch):
    put(catalog, "a")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"torch is not installed: pip install torch"):
        catalog.search().one().open(as_="torch")


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=string.printable + "\0\ud800é", max_size=40),
    st.lists(
        st.sampled_from(
            ["metrics.rmse", "config.modes", "key", "stage", "created", "tags", "in", "not", "and", "or", "(",
             ")", "<", "==", ",", "1", "1e999", "'x'", '"t"', "true", "'; DROP TABLE artifacts; --",
             "__import__('os')", "config.a.b", "parameters.load", "host", "-1", "!=", "[", "]"]
        ),
        max_size=14,
    ).map(" ".join),
    st.sampled_from(
        ["(" * 19 + "version<1" + ")" * 19, "not " * 19 + "version<1", "version<1 or " * 199 + "version<1"]
    ),
)  # fmt: skip


@settings(quick, max_examples=60)
@given(text=HOSTILE)
def test_hostile_text_gives_a_message_or_a_result(filled, text):
    catalog, known = filled
    for attempt in (
        lambda: len(catalog.search(where=text)),
        lambda: len(catalog.search(tags=text)),
        lambda: len(catalog.search(name=text)[:2]),
        lambda: len(catalog.search(stage=text)),
        lambda: len(catalog.search(order=text)[:2]),
        lambda: catalog.resolve(text),
        lambda: len(catalog.search(**{"p" + text: 1.0})),
    ):
        with contextlib.suppress(InputError):
            attempt()
    assert len(catalog.search()) == len(known)


def test_nested_deep_and_wide(filled):
    catalog, known = filled
    deep = "version < 0"
    for sign in ("and", "or") * 3:
        deep = f"not (version > 0 {sign} ({deep}))"
    assert len(catalog.search(where=deep)) in (0, len(known))
    wide = " or ".join(f"version == {i}" for i in range(200))
    assert len(catalog.search(where=wide)) == len(known)
    with pytest.raises(InputError, match="201 comparisons, expected at most 200"):
        parse(wide + " or version == 1")
