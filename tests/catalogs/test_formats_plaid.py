"""PLAID data set folders."""

import json
from pathlib import Path

import pytest
import yaml

from catalogs.formats.reader import ReadOptions, read_files
from kernels.errors import InputError
from stages.ingest import STAGE, IngestConfig
from stages.ragged import concat, take
from stages.variables import TEST, TRAIN
from tests.catalogs.formats_files import write_cgns


def data_set(root: Path, splits: dict[str, int], infos: dict | None = None) -> Path:
    for split, count in splits.items():
        for i in range(count):
            meshes = root / "data" / split / f"sample_{i:09d}" / "meshes"
            meshes.mkdir(parents=True)
            write_cgns(meshes / "mesh_000000000.cgns")
    root.mkdir(exist_ok=True)
    (root / "infos.yaml").write_text(
        yaml.safe_dump(infos or {"num_samples": splits, "storage_backend": "cgns"})
    )
    return root


def old_data_set(root: Path, count: int, splits: dict[str, list[int]]) -> Path:
    for i in range(count):
        folder = root / "dataset" / "samples" / f"sample_{i:09d}"
        (folder / "meshes").mkdir(parents=True)
        write_cgns(folder / "meshes" / "mesh_000000000.cgns")
        (folder / "scalars.csv").write_text(f"P,yield\n{float(i)},{2.0 * i}\n")
    (root / "problem_definition").mkdir()
    (root / "problem_definition" / "split.json").write_text(json.dumps(splits))
    (root / "problem_definition" / "problem_infos.yaml").write_text(
        yaml.safe_dump({"inputs": [{"name": "P"}], "output_scalars": ["yield"]})
    )
    return root


@pytest.mark.reference_data
def test_the_real_cars(reference_data: Path) -> None:
    raw = read_files(reference_data / "plaid_cars", ReadOptions(units={"pressure": "Pa"}))
    assert raw.sizes["sample"] == 10
    assert raw["node_count"].values.tolist() == [3586] * 10
    assert raw["cell_count"].values.tolist() == [7168] * 10
    assert raw["split"].values.tolist() == [TEST] * 4 + [TRAIN] * 6
    assert raw["sample_name"].values[0] == "test/sample_000000000"
    assert raw["pressure"].attrs["units"] == "Pa"
    assert raw.attrs["notes"] == [
        "plaid_cars: infos.yaml declares 10 samples in 'test', found 4",
        "plaid_cars: infos.yaml declares 10 samples in 'train', found 6",
    ]


@pytest.mark.reference_data
def test_any_cut_of_the_cars_gives_the_same(reference_data: Path) -> None:
    raw = read_files(reference_data / "plaid_cars")
    whole = STAGE(IngestConfig(), raw=raw)
    parts = [STAGE(IngestConfig(), raw=take(raw, part)) for part in ([0], range(1, 4), range(4, 10))]
    assert concat(parts).identical(whole)
    assert whole.sizes["axis"] == 3


def test_globals_and_roles_of_a_definition(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 2, "test": 1})
    (root / "problem_definitions").mkdir()
    definition = {
        "input_features": ["Global/angle_in"],
        "output_features": ["Global/power"],
        "train_split": {"train": "all"},
    }
    (root / "problem_definitions" / "one.yaml").write_text(yaml.safe_dump(definition))
    raw = read_files(root)
    assert raw["angle_in"].attrs["role"] == "parameter"
    assert raw["power"].attrs["role"] == "scalar"
    assert not [note for note in raw.attrs["notes"] if "declares" in note]


def test_a_definition_picks_the_samples(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 3, "test": 2})
    (root / "problem_definitions").mkdir()
    for count in (1, 2):
        definition = {"train_split": {"train": list(range(count))}, "test_split": {"test": "all"}}
        (root / "problem_definitions" / f"regression_{count}.yaml").write_text(yaml.safe_dump(definition))
    raw = read_files(root, ReadOptions(problem="regression_2"))
    assert raw["split"].values.tolist() == [TEST, TEST, TRAIN, TRAIN]
    assert "set: left out 1 samples of neither split" in raw.attrs["notes"]
    with pytest.raises(
        InputError, match=r"no problem definition 'other', expected one of regression_1, regression_2"
    ):
        read_files(root, ReadOptions(problem="other"))


def test_the_older_layout(tmp_path: Path) -> None:
    root = old_data_set(tmp_path / "set", 4, {"train_2": [0, 2], "train_3": [0, 1, 2], "test": [3]})
    with pytest.raises(
        InputError, match=r"has the train splits train_2, train_3, expected one: set train_split"
    ):
        read_files(root)
    raw = read_files(root, ReadOptions(train_split="train_2"))
    assert raw["sample_name"].values.tolist() == ["sample_000000000", "sample_000000002", "sample_000000003"]
    assert raw["split"].values.tolist() == [TRAIN, TRAIN, TEST]
    assert raw["P"].attrs["role"] == "parameter"
    assert raw["yield"].attrs["role"] == "scalar"
    assert raw["yield"].values.tolist() == [0.0, 4.0, 6.0]
    with pytest.raises(InputError, match=r"has no split 'train_9', expected one of train_2, train_3, test"):
        read_files(root, ReadOptions(train_split="train_9"))


def test_a_folder_of_one_split(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 2, "test": 1})
    raw = read_files([root / "data" / "train", root / "data" / "test"])
    assert raw["sample_name"].values.tolist() == [
        "train/sample_000000000", "train/sample_000000001", "test/sample_000000000",
    ]  # fmt: skip
    assert raw["split"].values.tolist() == [TRAIN, TRAIN, TEST]
    assert raw.attrs["notes"] == [
        "train/sample_000000000: skipped Global/history, which is no single number (and 2 more samples)"
    ]


def test_no_samples_is_an_error(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {})
    with pytest.raises(
        InputError, match=r"set holds no samples \(data/<split>/sample_\* or dataset/samples/sample_\*\)"
    ):
        read_files(root)
    (root / "data" / "train" / "sample_000000000").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"sample_000000000 has no meshes/\*\.cgns, expected one mesh: complete the download"
    ):
        read_files(root)


def test_time_steps_are_chosen(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 1})
    write_cgns(root / "data/train/sample_000000000/meshes/mesh_000000001.cgns")
    with pytest.raises(
        InputError, match=r"sample_000000000 has 2 meshes .*one a time step, expected one: set step"
    ):
        read_files(root)
    assert read_files(root, ReadOptions(step=1)).sizes["sample"] == 1
    with pytest.raises(InputError, match=r"has 2 meshes, step = 2 was asked for: expected 0 to 1"):
        read_files(root, ReadOptions(step=2))


def test_other_backends_and_bad_descriptions(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 1}, {"storage_backend": "zarr"})
    with pytest.raises(InputError, match=r"stores its samples as 'zarr', expected 'cgns'"):
        read_files(root)
    (root / "infos.yaml").write_text("a: [1")
    with pytest.raises(InputError, match=r"infos\.yaml cannot be read as YAML"):
        read_files(root)


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    root = data_set(tmp_path / "set", {"train": 2})
    path = root / "data/train/sample_000000001/meshes/mesh_000000000.cgns"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(
        InputError, match=r"train/sample_000000001/meshes/mesh_000000000\.cgns cannot be read as CGNS/HDF5"
    ):
        read_files(root)
