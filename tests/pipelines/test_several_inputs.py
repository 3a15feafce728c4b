"""Inputs that come many times, through the real runner: keys, lineage, archives and studies know them."""

import pytest
import xarray as xr
from fake_stages import ANY, SOURCE, WORK, SourceConfig, WorkConfig

from catalogs.archive import export_artifact, import_archive
from catalogs.catalog import Catalog
from catalogs.lineage import walk
from kernels.errors import InputError
from pipelines.runner import Runner
from pipelines.settings import settings
from pipelines.studies.target import Target
from stages.base import Stage, StageConfig


def _together(config: StageConfig, **members: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"total": ((), sum(float(m["y"].sum()) for m in members.values()))})


TOGETHER = Stage("together", 1, StageConfig, {"members": ANY}, ANY, _together, several=("members",))


def test_keys_lineage_and_archive_hold_dotted_names(tmp_path):
    with Runner(settings(project=tmp_path / "p", quiet=True)) as runner:
        made = {}
        for label, seed in (("a.0", 0), ("a.1", 1), ("with space", 2)):
            cases = runner.step(SOURCE, SourceConfig(samples=2, seed=seed), {})
            made[f"members.{label}"] = runner.step(WORK, WorkConfig(), {"meshes": cases})
        key = runner.step(TOGETHER, StageConfig(), made)
        assert runner.step(TOGETHER, StageConfig(), dict(reversed(made.items()))) == key
        swapped = {**made, "members.a.0": made["members.a.1"], "members.a.1": made["members.a.0"]}
        assert runner.step(TOGETHER, StageConfig(), swapped) != key
        shown = runner.catalog.show(key)["inputs"]
        assert {name: one["key"] if isinstance(one, dict) else one for name, one in shown.items()} == made
        tree = walk(runner.catalog.engine, key, up=1, down=0)
        assert set(tree["name"]) == {*made, ""}
        assert "members.a.1" in tree.mermaid()
        export_artifact(runner.catalog, [key], tmp_path / "out.zip", with_inputs=True)
    other = Catalog(tmp_path / "q")
    import_archive(other, tmp_path / "out.zip")
    assert float(other.open(key)["total"]) > 0.0
    other.close()


def test_a_study_varies_one_of_several():
    target = Target(TOGETHER, {}, {"members.a": "0" * 32})
    target.check(["inputs.members.b"])
    with pytest.raises(InputError, match=r"'inputs.others.b' is no input of 'together'"):
        target.check(["inputs.others.b"])
    with pytest.raises(InputError, match=r"missing: \['members'\].* name their addresses"):
        Target(TOGETHER, {}, {}).check([])
