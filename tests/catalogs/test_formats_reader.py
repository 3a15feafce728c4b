"""Sets of files: order, tables, units, names, and the hash of what is read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from catalogs.formats.reader import ReadOptions, fingerprint, read_files
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from tests.catalogs.formats_files import SU2_SQUARE, two_triangles_and_a_quad


def folder(tmp_path: Path, names: str = "b a c") -> Path:
    place = tmp_path / "runs"
    place.mkdir()
    for name in names.split():
        two_triangles_and_a_quad().save(place / f"{name}.vtu")
    return place


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    raw = read_files(folder(tmp_path))
    assert raw["sample_name"].values.tolist() == ["a", "b", "c"]
    assert raw["cell_entry_count"].values.tolist() == [10, 10, 10]
    assert raw["cell_entry_count"].attrs["sample_dimension"] == "cell_entry"
    assert "split" not in raw


def test_a_table_gives_parameters_and_the_split(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "sample,load [Pa],angle,split\nb,2e6,0.2,test\na.vtu,1e6,0.1,train\nc,3e6,0.3,train\nz,1,1,train\n"
    )
    raw = read_files(folder(tmp_path), ReadOptions(table=table))
    assert raw["load"].values.tolist() == [1e6, 2e6, 3e6]
    assert raw["load"].attrs["units"] == "Pa"
    assert raw["load"].attrs["role"] == "parameter"
    assert raw["split"].values.tolist() == [0, 1, 0]
    assert raw.attrs["notes"] == ["table.csv: 1 rows belong to no sample (z)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,load\na,1\nb,2\n", r"table\.csv has no row for 1 samples \(c\), expected one each"),
        ("sample,load\na,1\nb,2\nc,\n", r"table\.csv: sample 'c' has 'load' = '', expected a finite number"),
        (
            "sample,load\na,1\nb,2\nc,nan\n",
            r"table\.csv: sample 'c' has 'load' = 'nan', expected a finite number",
        ),
        ("sample,load\na,1\nb,2\nc,3\nc,3\n", r"table\.csv: sample 'c' has two rows \(second: 5\)"),
        ("sample,load\na,1\nb,2\nc\n", r"table\.csv: row 'c' has 1 entries, expected 2"),
        ("sample,drag\na,1\nb,2\nc,3\n", r"table\.csv: 'drag' is also a scalar in .*a\.vtu"),
        ("sample,split\na,train\nb,test\nc,valid\n", r"sample 'c' has split 'valid', expected train or test"),
        ("sample\n", r"table\.csv has no rows or no columns"),
    ],
)
def test_a_table_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        read_files(folder(tmp_path), ReadOptions(table=table))


def test_units_that_disagree(tmp_path: Path) -> None:
    place = folder(tmp_path, "a")
    other = two_triangles_and_a_quad()
    other.point_data["T [K]"] = other.point_data.pop("T")
    other.save(place / "b.vtu")
    with pytest.raises(
        InputError, match=r"'T' has units 'K' in sample 'b' and|'T' has units 'none' in sample 'a' and 'K'"
    ):
        read_files(place)
    assert read_files(place, ReadOptions(units={"T": "K"}))["T"].attrs["units"] == "K"
    with pytest.raises(InputError, match=r"'T' has units 'K' in .*b\.vtu and 'degC' in the given units"):
        read_files(place, ReadOptions(units={"T": "degC"}))
    other.point_data["T [degC]"] = other.point_data.pop("T [K]")
    other.save(place / "c.vtu")
    with pytest.raises(
        InputError, match=r"'T' has units 'degC' in sample 'c' and 'K' in sample 'b': expected one unit"
    ):
        read_files(place, ReadOptions(units={"T": "K"}))
    with pytest.raises(InputError, match=r"units are given for nothing, expected names among"):
        read_files(place / "a.vtu", ReadOptions(units={"nothing": "K"}))


def test_fields_that_some_samples_lack(tmp_path: Path) -> None:
    place = folder(tmp_path, "a b")
    lacking = two_triangles_and_a_quad()
    del lacking.point_data["T"]
    lacking.save(place / "c.vtu")
    with pytest.raises(
        InputError, match=r"sample 'c' \(.*c\.vtu\) has no node field 'T', which sample 'a' has"
    ):
        read_files(place)
    raw = read_files(place, ReadOptions(fields=("U", "q")))
    assert [n for n in raw if raw[n].attrs.get("role") == "field"] == ["U_1", "U_2", "U_3", "q"]
    with pytest.raises(InputError, match=r"fields 'V' are in none of the files, expected some of T, U, q"):
        read_files(place, ReadOptions(fields=("V",)))


def test_names_that_the_pipeline_uses_are_changed(tmp_path: Path) -> None:
    mesh = two_triangles_and_a_quad()
    mesh.point_data["x"] = np.arange(6.0)
    mesh.point_data["modes"] = np.arange(6.0)
    mesh.field_data["shape"] = np.array([2.0])
    mesh.cell_data["T"] = np.arange(3.0)
    mesh.point_data["a/b"] = np.arange(6.0)
    mesh.save(tmp_path / "a.vtu")
    raw = read_files(tmp_path / "a.vtu")
    assert raw["x_value"].dims == ("node",)
    assert raw["T_cell"].dims == ("cell",)
    assert "a_b" in raw
    out = STAGE(IngestConfig(units={"modes": "Hz"}), raw=raw)
    assert out["modes_value"].attrs["units"] == "Hz"
    assert out["shape_value"].values.tolist() == [2.0]
    assert out["x_value"].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_cannot_be_a_set(tmp_path: Path) -> None:
    place = folder(tmp_path, "a")
    (place / "a.su2").write_text(SU2_SQUARE)
    with pytest.raises(InputError, match=r"two samples are called 'a' \(.*a\.su2 and .*a\.vtu\)"):
        read_files(place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no mesh file \(\.vtu, \.vtk, \.vtp, \.su2, \.cgns\)"):
        read_files(tmp_path / "empty")
    (tmp_path / "a.step").write_text("x")
    with pytest.raises(InputError, match=r"a\.step has the extension '\.step', expected one of \.vtu"):
        read_files(tmp_path / "a.step")
    with pytest.raises(InputError, match="no files to read were given"):
        read_files([])
    with pytest.raises(InputError, match=r"solutions are given for b, expected samples among a, a\.su2"):
        read_files(place / "a.su2", ReadOptions(solutions={"b": "b.csv"}))
    with pytest.raises(ValidationError, match="tabel"):
        ReadOptions(tabel="t.csv")


def test_the_fingerprint_follows_the_contents(tmp_path: Path) -> None:
    place = folder(tmp_path, "a b")
    first = fingerprint(place)
    shutil.copytree(place, tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == first
    assert fingerprint(place, ReadOptions(units={"T": "K"})) != first
    (place / "b.vtu").write_bytes((place / "b.vtu").read_bytes() + b"\n")
    assert fingerprint(place) != first
    mesh = tmp_path / "m.su2"
    mesh.write_text(SU2_SQUARE)
    before = fingerprint(mesh)
    (tmp_path / "m.csv").write_text("PointID,p\n")
    assert fingerprint(mesh) != before
    with pytest.raises(InputError, match=r"none\.vtu is not a file"):
        fingerprint(tmp_path / "none.vtu")
