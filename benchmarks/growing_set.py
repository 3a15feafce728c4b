"""A ragged set that grows every night: what a night costs, and what reading costs as segments become many.

python benchmarks/growing_set.py [samples] [new a night] [nights] [folder]     10000 100 30 by default
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr

from catalogs.catalog import Catalog, Record
from catalogs.compact import compact
from catalogs.keys import artifact_key
from stages.ragged import take

READS = 50


def ragged(first: int, samples: int) -> xr.Dataset:
    """Samples of 80 to 120 nodes with two coordinates and three fields."""
    chance = np.random.default_rng(first)
    counts = chance.integers(80, 121, samples)
    total = int(counts.sum())
    names = np.array([f"case-{first + i:06d}" for i in range(samples)], dtype=object)
    fields = {
        name: ("node", chance.random(total), {"units": "Pa", "role": "field"}) for name in ("p", "s", "t")
    }
    return xr.Dataset(
        {
            "sample_name": ("sample", names),
            "node_count": ("sample", counts, {"sample_dimension": "node"}),
            "load": ("sample", chance.random(samples), {"units": "Pa", "role": "parameter"}),
            "x": (("node", "axis"), chance.random((total, 2)), {"units": "m"}),
            **fields,
        }
    )


def stored(folder: Path) -> tuple[int, int, int]:
    """Files and bytes of the store, and bytes of the database."""
    files = [path for path in (folder / "store").rglob("*") if path.is_file()]
    database = sum(path.stat().st_size for path in folder.glob("catalog.db*"))
    return len(files), sum(path.stat().st_size for path in files), database


def reading(catalog: Catalog, key: str) -> tuple[float, float]:
    """Median milliseconds to open the set, and to read one random sample of the open set."""
    opens, reads = [], []
    for _ in range(5):
        start = time.perf_counter()
        dataset = catalog.open(key)
        opens.append(time.perf_counter() - start)
    for number in np.random.default_rng(0).integers(0, dataset.sizes["sample"], READS):
        start = time.perf_counter()
        take(dataset, [int(number)]).load()
        reads.append(time.perf_counter() - start)
    return 1e3 * statistics.median(opens), 1e3 * statistics.median(reads)


def main(samples: int, new: int, nights: int, folder: Path) -> None:
    """Print one line a night, then one for every way to read."""
    catalog = Catalog(folder)
    key = artifact_key("grown", 1, {"n": samples}, {})
    start = time.perf_counter()
    catalog.publish(key, ragged(0, samples), Record("grown", 1, {"n": samples}, {}, datetime.now(UTC), 0.0))
    catalog.name(key, "set")
    print(f"first: {samples} samples in {time.perf_counter() - start:.2f} s, {stored(folder)}")
    rows, keys = [], [key]
    print("night  seconds  new files  new MB  new MB in the database")
    for night in range(1, nights + 1):
        more, before = ragged(samples + new * night, new), stored(folder)
        start = time.perf_counter()
        keys.append(catalog.extend("set", more))
        seconds = time.perf_counter() - start
        files, size, database = (b - a for a, b in zip(before, stored(folder), strict=True))
        rows.append(seconds)
        print(f"{night:5d}  {seconds:7.2f}  {files:9d}  {size / 1e6:6.2f}  {database / 1e6:.2f}")
    print(
        f"median of the first and last 10 nights: {np.median(rows[:10]):.2f} s, {np.median(rows[-10:]):.2f} s"
    )
    print("segments  open ms  random sample ms")
    for count in sorted({1, min(10, nights), nights}):
        opened, read = reading(catalog, keys[count - 1])
        print(f"{count:8d}  {opened:7.0f}  {read:16.1f}")
    start = time.perf_counter()
    compact(catalog, "set")
    seconds, files = time.perf_counter() - start, stored(folder)[0]
    opened, read = reading(catalog, keys[-1])
    print(f"compacted in {seconds:.2f} s: open {opened:.0f} ms, random sample {read:.1f} ms, {files} files")
    opened, read = reading(catalog, keys[nights // 2])
    print(f"version {nights // 2}, moved along: open {opened:.0f} ms, random sample {read:.1f} ms")
    catalog.close()


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:4]]
    samples, new, nights = [*numbers, *(10_000, 100, 30)[len(numbers) :]]
    if len(sys.argv) > 4:
        main(samples, new, nights, Path(sys.argv[4]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(samples, new, nights, Path(place))
