"""Training from storage in bounded memory: a zarr data set of any size, and the peak memory of the process.

python benchmarks/stream_training.py [--gigabytes 8] [--steps 200] [--memory-mb 512] [--folder /tmp]

The data set is synthetic, 64 x 64 points, float32, in chunks of 64 samples; it is made by a process of its
own, so that the peak printed is that of training, and removed afterwards.
"""

import argparse
import contextlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from stages.base import variable
from stages.train_operator import STAGE, TrainOperatorConfig

POINTS, CHUNK, BATCH = 64, 64, 16


def make(folder: Path, samples: int) -> None:
    """Random fields and smoothed ones, written chunk by chunk."""
    import zarr

    group = zarr.open_group(folder, mode="w")
    shape, chunks = (samples, POINTS, POINTS), (CHUNK, POINTS, POINTS)
    arrays = {
        name: group.create_array(
            name, shape=shape, chunks=chunks, dtype="float32", compressors=None,
            dimension_names=("sample", "y", "x"),
        )
        for name in ("a", "u")
    }  # fmt: skip
    random = np.random.default_rng(0)
    for start in range(0, samples, CHUNK):
        stop = min(start + CHUNK, samples)
        a = random.standard_normal((stop - start, POINTS, POINTS), dtype=np.float32)
        arrays["a"][start:stop] = a
        arrays["u"][start:stop] = 5.0 + a + np.roll(a, 1, 1) + np.roll(a, 1, 2)


def opened(folder: Path) -> xr.Dataset:
    """The data set, lazily."""
    data = xr.open_zarr(folder, consolidated=False)
    axis = np.arange(POINTS) / POINTS
    data = data.assign_coords(x=("x", axis, {"units": "m"}), y=("y", axis, {"units": "m"}))
    for name, role in (("a", "input"), ("u", "field")):
        data[name].attrs = {"role": role, "units": "1"}
    names = np.array([f"s{i}" for i in range(data.sizes["sample"])])
    return data.assign(sample_name=variable("sample_name", names))


def train(folder: Path, steps: int, memory: float) -> None:
    """Train for so many steps, then stop as Ctrl-C does; print what it took."""
    data = opened(folder)
    count = data.sizes["sample"]
    part = np.where(np.arange(count) < count - CHUNK, 0, 2).astype(np.int8)
    split = xr.Dataset({"split": variable("split", part), "sample_name": data["sample_name"].variable})
    scales = xr.Dataset(
        {
            f"{kind}_{what}": variable(f"{kind}_{what}", values)
            for kind, (mean, scale) in {
                "input": ([0.0], [1.0]),
                "output": ([5.0], [3.0]),
                "parameter": ([], []),
            }.items()
            for what, values in (("mean", np.array(mean)), ("scale", np.array(scale)))
        }
    )
    settings = {"channels": 4, "layers": 2}
    config = TrainOperatorConfig(
        model="mgno", settings=settings, epochs=1, batch=BATCH, threads=1, accelerator="cpu", memory_mb=memory
    )
    start, done = time.perf_counter(), 0

    def enough(now: int, total: int, text: str = "") -> None:
        nonlocal done
        done = now
        if now >= steps:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        STAGE.reporting_to(enough)(config, data=data, split=split, scales=scales)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{data.nbytes / 1e9:.1f} GB, {count} samples: {done} steps of {BATCH} in {seconds:.0f} s "
        f"({done * BATCH / seconds:.0f} samples/s), peak {peak:.2f} GiB, must be below 4 GiB"
    )
    sys.exit(int(peak >= 4.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--memory-mb", type=float, default=512.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--part", choices=("make", "train"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    samples = int(given.gigabytes * 1e9 / (2 * 4 * POINTS**2))
    if given.part == "make":
        make(given.folder, samples)
        return
    if given.part == "train":
        train(given.folder, given.steps, given.memory_mb)
    place = Path(tempfile.mkdtemp(prefix="stream_training_", dir=given.folder))
    if shutil.disk_usage(place).free < 1.2e9 * given.gigabytes:
        place.rmdir()
        sys.exit(f"{given.folder} has no room for {given.gigabytes} GB: lower --gigabytes, or set --folder")
    try:
        same = [sys.executable, __file__, "--folder", str(place / "data.zarr"), "--steps", str(given.steps)]
        same += ["--gigabytes", str(given.gigabytes), "--memory-mb", str(given.memory_mb)]
        subprocess.run([*same, "--part", "make"], check=True)
        status = subprocess.run([*same, "--part", "train"], check=False).returncode
    finally:
        shutil.rmtree(place)
    sys.exit(status)


if __name__ == "__main__":
    main()
