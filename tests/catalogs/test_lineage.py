"""What made an artifact and what was made of it: directions, depths, diamonds, the Mermaid diagram."""

import re
from datetime import UTC, datetime

import pytest
import xarray as xr

from catalogs.catalog import Catalog, Record
from kernels.errors import InputError

EDGES = {
    "a": {},
    "b": {"left": "a"},
    "c": {"right": "a"},
    "d": {"one": "b", "two": "c", "short": "a"},
    "e": {"from_d": "d"},
    "f": {"from_e": "e"},
    "9": {"from_b": "b"},
}
"""a is used by b, c and d; d by e, e by f: two ways of two steps from a to d, and one of one."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres")()
    catalog = Catalog(tmp_path_factory.mktemp("lineage") / "project", url)
    for letter, inputs in EDGES.items():
        put(catalog, letter, f"stage_{letter}", {name: key * 32 for name, key in inputs.items()})
    yield catalog
    catalog.close()


def put(catalog, letter, stage, inputs):
    record = Record(stage, 1, {}, inputs, datetime.now(UTC), 0.5)
    catalog.publish(letter * 32, xr.Dataset({"u": ((), 1.0)}), record)


def rows(table):
    return [(d, n, k[0]) for d, n, k in zip(table["direction"], table["depth"], table["key"], strict=True)]


def test_the_whole_lineage_with_least_depths(catalog):
    table = catalog.lineage("d")
    assert rows(table) == [
        ("input", 1, "a"), ("input", 1, "b"), ("input", 1, "c"), ("self", 0, "d"), ("used by", 1, "e"),
        ("used by", 2, "f"),
    ]  # fmt: skip
    named = dict(zip(table["key"].str[0], table["name"], strict=True))
    assert named == {"a": "short", "b": "one", "c": "two", "d": "", "e": "from_d", "f": "from_e"}
    assert table["stage"].tolist() == [f"stage_{letter}" for letter in "abcdef"]
    assert (table["seconds"] == 0.5).all()
    assert len(table.attrs["edges"]) == 7


@pytest.mark.parametrize(
    ("key", "up", "down", "found"),
    [
        ("f", 1, None, "ef"),
        ("f", 2, None, "def"),
        ("f", 3, None, "abcdef"),
        ("f", None, None, "abcdef"),
        ("a", None, 1, "abcd"),
        ("a", None, 2, "9abcde"),
        ("a", 0, 3, "9abcdef"),
        ("d", 0, 0, "d"),
        ("d", 0, 1, "de"),
        ("b", 1, 0, "ab"),
    ],
)
def test_steps_up_and_down(catalog, key, up, down, found):
    table = catalog.lineage(key, up=up, down=down)
    assert sorted(k[0] for k in table["key"]) == sorted(found)
    inside = {source for source, _, _ in table.attrs["edges"]} | {k for _, _, k in table.attrs["edges"]}
    assert inside <= set(table["key"])


def test_a_side_branch_is_not_lineage(catalog):
    assert "9" * 32 not in set(catalog.lineage("d")["key"])
    assert rows(catalog.lineage("9")) == [("input", 2, "a"), ("input", 1, "b"), ("self", 0, "9")]
    with pytest.raises(InputError, match=r"no artifact in .* has a name or a key that starts with '7'"):
        catalog.lineage("7")


def test_a_long_lattice_is_walked_once(tmp_path):
    # 2^40 ways lead from the end to the beginning
    catalog = Catalog(tmp_path / "project")
    before = []
    for level in range(40):
        keys = [f"{level:02x}{side}" + "0" * 29 for side in "ab"]
        for key in keys:
            inputs = {f"i{n}": one for n, one in enumerate(before)}
            record = Record("make", 1, {}, inputs, datetime.now(UTC), 0.1)
            catalog.publish(key, xr.Dataset({"u": ((), 1.0)}), record)
        before = keys
    table = catalog.lineage(before[0])
    assert len(table) == 79
    assert table["depth"].max() == 39
    catalog.close()


NODE = re.compile(r'  ([0-9a-f]{12})\["([^"\[\]<>\n]*)<br/>[0-9a-f]{12}"\]')
ARROW = re.compile(r'  ([0-9a-f]{12}) -- "([^"|\n]*)" --> ([0-9a-f]{12})')
STYLE = re.compile(r"  style ([0-9a-f]{12}) stroke-width:4px")


def test_mermaid_holds_every_artifact_and_edge(catalog):
    first, *lines = catalog.lineage("d").mermaid().splitlines()
    assert first == "flowchart LR"
    nodes = dict(match.groups() for line in lines if (match := NODE.fullmatch(line)))
    arrows = {match.groups() for line in lines if (match := ARROW.fullmatch(line))}
    marked = [line for line in lines if STYLE.fullmatch(line)]
    assert nodes == {letter * 12: f"stage_{letter}" for letter in "abcdef"}
    inside = {k: v for k, v in EDGES.items() if k != "9"}
    assert arrows == {(key * 12, n, letter * 12) for letter, i in inside.items() for n, key in i.items()}
    assert marked == [f"  style {'d' * 12} stroke-width:4px"]
    assert len(nodes) + len(arrows) + len(marked) == len(lines)


@pytest.mark.parametrize(
    "text",
    ['a"]\n  click aaaaaaaaaaaa "x"', "<script>alert(1)</script>", "#quot;]", "a|b-->c", "end;", "%%{x}"],
)  # fmt: skip
def test_mermaid_text_cannot_leave_its_quotes(tmp_path, text):
    catalog = Catalog(tmp_path / "project")
    put(catalog, "a", "make", {})
    put(catalog, "b", text, {text: "a" * 32})
    lines = catalog.lineage("b").mermaid().splitlines()[1:]
    assert len(lines) == 4
    shown = NODE.fullmatch(lines[1])
    arrow = ARROW.fullmatch(lines[3])
    for found in (shown[2], arrow[2]):
        assert re.fullmatch(r"(\w|[ _\-.,]|#\d+;)*", found)
        assert re.sub(r"#(\d+);", lambda match: chr(int(match[1])), found) == text
    catalog.close()
