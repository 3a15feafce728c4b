"""A study whose workers belong to a Dask scheduler that is there already."""

import os
from pathlib import Path

import numpy as np
import pytest
from fake_stages import SOURCE, WORK, SourceConfig
from study_cases import catalog_of

from pipelines.runner import Runner
from pipelines.settings import settings
from pipelines.studies.definition import parse_study
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table


@pytest.mark.xdist_group("workers")
def test_points_cut_along_samples_ask_the_scheduler_for_nothing_more(tmp_path, monkeypatch):
    # a point that hands its parts to the one worker that computes it would wait for itself
    from distributed import LocalCluster

    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), os.getcwd()]))
    keys = []
    for name in ("near", "far"):
        with Runner(settings(project=tmp_path / name, workers=0, quiet=True)) as runner:
            keys.append(runner.step(SOURCE, SourceConfig(), {}))
    assert keys[0] == keys[1]
    design = {"method": "grid", "parameters": {"power": [1.0, 2.0, 3.0]}}
    run = {"timeout": 60.0}
    study = parse_study({"name": "s", "inputs": {"meshes": keys[0]}, "design": design, "run": run})
    near = settings(project=tmp_path / "near", workers=0, quiet=True)
    run_study(study, near, stage=WORK)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        far = near.model_copy(update={"project": tmp_path / "far", "scheduler": cluster.scheduler_address})
        outcome = run_study(study, far, stage=WORK)
    assert outcome.counts["done"] == 3, outcome.failed
    catalogs = [catalog_of(one) for one in (near, far)]
    results = [result_table(catalog, "s")["result"].tolist() for catalog in catalogs]
    assert results[0] == results[1]
    for key in results[0]:
        one, other = (catalog.open(key)["y"].values for catalog in catalogs)
        np.testing.assert_array_equal(one, other)
    for catalog in catalogs:
        catalog.close()
