"""Inputs of a study that a stage makes first; the shipped study that needs nothing before it."""

import pytest
from study_cases import catalog_of

from catalogs import studies
from kernels.errors import InputError
from pipelines.studies.definition import load_study, parse_study
from pipelines.studies.driver import run_study
from pipelines.studies.results import definition_of, result_table


def short(**inputs):
    design = {"method": "grid", "parameters": {"mesh_size": [0.012, 0.01]}}
    config = {"notch_segments": 6, "load_steps": 2}
    return parse_study(
        {"name": "s", "stage": "simulate", "config": config, "inputs": inputs, "design": design}
    )


def test_an_input_is_made_first_once_and_its_results_are_found(local):
    one = short(design={"stage": "design", "config": {"train": 1, "test": 0}})
    assert run_study(one, local, dry_run=True).counts["pending"] == 2
    assert not local.project.exists()
    assert run_study(one, local).counts["done"] == 2
    assert run_study(one, local).computed == 0
    catalog = catalog_of(local)
    assert sorted(catalog.list()["stage"]) == ["design", "simulate", "simulate"]
    table = result_table(catalog, "s")
    name = table.attrs["metrics"][0]
    value = float(table[name][1])
    found = catalog.search(
        stage="simulate", where=f"metrics.{name} == {value!r} and config.mesh_size == 0.01"
    )
    assert [one.key for one in found] == [table["key"][1]]
    stored = definition_of(studies.get(catalog.engine, "s"))
    assert stored.inputs == {"design": catalog.list(stage="design")["key"][0]}
    catalog.close()


def test_wrong_inputs_are_named(local):
    cases = [
        ({"design": "bars"}, "input 'design' is 'bars', and there is no catalog yet: .*stage = \"design\""),
        ({"design": {"stage": "desing"}}, "input 'design': there is no stage 'desing'; there are: "),
        ({"design": {"stage": "design", "config": {"train": -1}}}, "input 'design': field 'train' is -1"),
        ({"design": {"stage": "morph"}}, r"input 'design': stage 'morph' takes the inputs .*, got \[\]"),
    ]
    for inputs, message in cases:
        with pytest.raises(InputError, match=message):
            run_study(short(**inputs), local, dry_run=True)


@pytest.mark.parametrize("name", ["mesh_convergence", "modes"])
def test_shipped_studies_need_nothing_before_them(local, name):
    outcome = run_study(load_study(name), local, dry_run=True)
    assert outcome.counts["pending"] > 5
    assert sum(outcome.counts.values()) == outcome.counts["pending"]
