"""Medians of varied queries to a filled catalog."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from catalogs.catalog import Catalog

Case = Callable[[np.random.Generator], Any]


def cases(catalog: Catalog) -> dict[str, Case]:
    """Name -> one query with chance in it; every query is a new one."""
    tags = ["train", "test", "nightly", *(f"paper-{i}" for i in range(19))]
    stages = ["evaluate", "study_point", "predict", "simulate"]

    def look(**words: Any) -> int:
        found = catalog.search(**words)
        return len(found) + len(found[:50])

    def mixed(g: np.random.Generator) -> int:
        low = 10 ** g.uniform(3, 6)
        high = low * 10 ** g.uniform(0.05, 1.0)
        below = 10 ** g.uniform(-4, -0.5)
        return look(
            stage=str(g.choice(stages[:2])), reynolds=(low, high), tags={str(g.choice(tags))},
            where=f"metrics.rmse < {below:.6g}",
        )  # fmt: skip

    def broad(g: np.random.Generator) -> int:
        return look(
            stage="evaluate", reynolds=(1e4, 1e5 * g.uniform(1, 1.1)), tags={"train"},
            where="metrics.rmse < 0.02 and config.modes >= 12",
        )  # fmt: skip

    def best(g: np.random.Generator) -> int:
        stage = str(g.choice(stages[:2]))
        return len(catalog.search(stage=stage, tags={str(g.choice(tags))}, order="metrics.rmse")[:10])

    def facets(**words: Any) -> int:
        return len(catalog.search(**words).facets().table)

    return {
        "range + tag + metric + stage, any width": mixed,
        "the same, 10^5 rows in every scan": broad,
        "one tag of 22": lambda g: look(tags=str(g.choice(tags))),
        "one stage": lambda g: look(stage=str(g.choice(stages))),
        "all": lambda g: look(),
        "ten best of a stage with a tag": best,
        "facets of all": lambda g: facets(),
        "facets of a stage": lambda g: facets(stage=str(g.choice(stages))),
        "facets of a tag": lambda g: facets(tags=str(g.choice(tags))),
        "facets of a range with a metric": lambda g: facets(
            where=f"metrics.rmse < {10 ** g.uniform(-4, 0):.6g}", reynolds=(1e4, 10 ** g.uniform(4.1, 6))
        ),
        "lineage, depth 10": lambda g: len(catalog.lineage(_deep(catalog, g), up=10)),
    }


def _deep(catalog: Catalog, generator: np.random.Generator) -> str:
    """Key of an artifact with eleven above it."""
    found = catalog._twelfth[int(generator.integers(len(catalog._twelfth)))]  # type: ignore[attr-defined]
    return str(found)


def measure(catalog: Catalog, runs: int) -> None:
    """Print median and 90 % quantile in ms, the median of this process's own processor time (on SQLite all of
    the work, whatever else the machine does), and the mean of what the queries gave.
    """
    import sqlalchemy as sa

    from catalogs.tables import artifacts

    with catalog.engine.connect() as connection:
        twelfth = sa.select(artifacts.c.key).where(artifacts.c.id % 12 == 0).limit(2000)
        catalog._twelfth = list(connection.execute(twelfth).scalars())  # type: ignore[attr-defined]
    for name, case in cases(catalog).items():
        generator = np.random.default_rng(11)
        times, own, given = [], [], []
        for _ in range(runs):
            start, used = time.perf_counter(), time.process_time()
            given.append(case(generator))
            times.append(1e3 * (time.perf_counter() - start))
            own.append(1e3 * (time.process_time() - used))
        middle, high = statistics.median(times), float(np.quantile(times, 0.9))
        print(
            f"| {name} | {middle:.1f} | {high:.1f} | {statistics.median(own):.1f} | {np.mean(given):.0f} |",
            flush=True,
        )
