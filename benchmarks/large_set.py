"""A data set of 100 GB, built in seconds: one real chunk, its file linked again and again; then opened,
searched and sampled by a new process.

python benchmarks/large_set.py [chunks] [folder]     3,200 chunks of 32 MB by default; 100000: of 1 MB
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from catalogs import arrays
from catalogs.catalog import Catalog, Record
from catalogs.claims import News
from catalogs.contents import Content
from catalogs.keys import artifact_key
from catalogs.rows import describe
from catalogs.sealing import address, seal
from catalogs.segments import Place

TOTAL = 100 * 10**9
NODES = 1_000_000
LINKS = 30_000  # of one file; ext4 allows 65,000


def build(folder: Path, chunks: int) -> None:
    """Publish `field` (sample, node) of 8-byte numbers, the same in every chunk, and `load` (sample)."""
    nodes = NODES if chunks <= 10_000 else 125_000
    samples = TOTAL // 8 // nodes
    arrays.CHUNK_BYTES = 8 * nodes * math.ceil(samples / chunks)
    load = np.linspace(1.0, 2.0, samples)
    tiny = xr.Dataset({"load": ("sample", load, {"units": "N", "role": "parameter"})})
    row = np.random.default_rng(0).random(nodes)
    catalog = Catalog(folder)
    key = artifact_key("large", 1, {"chunks": chunks}, {})
    with catalog.data.draft(key) as draft:
        place = catalog.data.zarr(draft.prefix, read_only=False)
        plans = arrays.write_dataset(place, tiny)
        sizes = {"sample": samples, "node": nodes}
        variable = xr.Variable(("sample", "node"), np.empty((0, 0)), {"units": "Pa", "role": "field"})
        plan = arrays.layout("field", variable, sizes, {"sample"})
        import zarr

        array = arrays._create_array(zarr.open_group(place, mode="a"), plan)
        step = plan.chunks[0]
        arrays.write_region(array, (slice(0, step),), np.broadcast_to(row, (step, nodes)))
        first = source = catalog.data.path(f"{draft.prefix}/field/c/0/0")
        for number in range(1, plan.files):
            target = first.parent.parent / str(number) / "0"
            target.parent.mkdir()
            if number % LINKS == 0:
                target.write_bytes(first.read_bytes())
                source = target
            else:
                os.link(source, target)
        digest, size = seal(catalog.data, draft.prefix, [*plans, plan])
        record = Record("large", 1, {"chunks": chunks}, {}, datetime.now(UTC), 1.0, {"rmse": 0.01})
        content = Content("0" * 32, ("0" * 32,) * samples)
        place = Place(address(draft.location, digest))
        catalog.publish_place(key, draft, place, News(record, describe(tiny), content, size))
    catalog.close()


def status(name: str) -> float:
    """MB of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(folder: Path) -> None:
    import catalogs.results

    assert catalogs.results
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    base, start = status("VmRSS"), time.perf_counter()
    catalog = Catalog(folder)
    found: Any = catalog.search(stage="large", load=(0.5, 2.5), where="metrics.rmse < 0.02")
    key = found.to_pandas()["key"].iloc[0]
    searched = time.perf_counter()
    dataset = catalog.open(key)
    opened = time.perf_counter()
    random = np.random.default_rng(1)
    samples = random.integers(dataset.sizes["sample"], size=10)
    fields = [dataset["field"].isel(sample=int(sample)).values for sample in samples]
    sampled = time.perf_counter()
    peak = status("VmHWM") - base
    row = np.random.default_rng(0).random(dataset.sizes["node"])
    assert all(np.array_equal(field, row) for field in fields)
    print(
        f"| {dataset.nbytes / 1e9:.0f} GB in {dataset['field'].data.npartitions} chunks | "
        f"{searched - start:.3f} | {opened - searched:.3f} | {sampled - opened:.3f} | "
        f"{sampled - start:.3f} | {peak:.0f} |"
    )
    catalog.close()


def main(chunks: int, folder: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        start = time.perf_counter()
        build(Path(temporary) / "project", chunks)
        print(f"built in {time.perf_counter() - start:.0f} s")
        print("| data set | catalog and search s | open s | 10 random samples s | all s | peak MB |")
        print("|---|---|---|---|---|---|", flush=True)
        for _ in range(3):
            subprocess.run([sys.executable, __file__, "--measure", f"{temporary}/project"], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3200, sys.argv[2] if len(sys.argv) > 2 else None)
