"""Pipeline config: shipped files load, errors name field and file, a field changes its dependents only."""

import pytest

from kernels.errors import InputError
from pipelines.config import SHIPPED, load_config
from pipelines.diagram import planned_keys


@pytest.mark.parametrize("name", ["surrogate", "surrogate_small", "surrogate_full"])
def test_shipped_configs_load(name):
    assert (SHIPPED / f"{name}.toml").is_file()
    assert len(set(planned_keys(load_config(name)).values())) == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[simulate]\nmesh_sise = 1.0",
            r"bad\.toml: unknown field 'simulate\.mesh_sise'; did you mean 'mesh_size'",
        ),
        ("sauce = 1", r"bad\.toml: unknown field 'sauce'"),
        ("[design]\ntrain = -1", r"bad\.toml: field 'design\.train' is -1"),
        ("[design", r"bad\.toml is not a TOML file"),
        ('source = "files"', r"bad\.toml: source is .files. but files is empty"),
    ],
)
def test_errors_name_field_and_file(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(file)


def test_missing_config_lists_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match=r"no config file .*surrogate, surrogate_full, surrogate_small"):
        load_config(tmp_path / "none.toml")


def test_a_field_changes_exactly_the_dependents(tmp_path):
    base = planned_keys(load_config("surrogate_small"))
    file = tmp_path / "other.toml"
    text = (SHIPPED / "surrogate_small.toml").read_text().replace("restarts = 1", "restarts = 2")
    file.write_text(text)
    other = planned_keys(load_config(file))
    changed = {stage for stage in base if base[stage] != other[stage]}
    assert changed == {"train_gp", "predict", "evaluate", "provenance", "report"}
