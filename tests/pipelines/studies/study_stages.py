"""Small stages for studies: they fail, hang and print as their config says, and count their runs."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema

ANY = schema()


class Inner(StageConfig):
    shift: float = 0.0
    constants: dict[str, float] = {}


class PointConfig(StageConfig):
    a: float = 0.0
    b: float = 1.0
    n: int = 0
    kind: str = "plain"
    inner: Inner = Inner()
    sleep: float = 0.0
    size: int = 0
    noise: int = 0


def count(line):
    path = os.environ.get("STUDY_COUNTER")
    if path:
        with Path(path).open("a") as stream:
            stream.write(line + "\n")


def point(config):
    count(f"{config.a!r} {config.n}")
    time.sleep(config.sleep)
    if config.kind == "refuse":
        raise InputError(f"no result at a = {config.a}: take another")
    if config.kind == "bug":
        print("before the bug")  # noqa: T201
        raise ZeroDivisionError("n is 0")
    if config.kind == "hang":
        print("about to hang")  # noqa: T201
        ctypes.PyDLL(None).sleep(600)  # C code that holds the interpreter
    if config.kind == "die":
        os.kill(os.getpid(), 9)
    if config.kind == "print":
        print("hello from the point")  # noqa: T201
    y = config.a * config.a + config.b + config.inner.shift
    data = {"y": ((), y, {"units": "m"})}
    if config.size:
        data["big"] = (("x",), np.full(config.size, y))
    if config.noise:
        data["noise"] = (("x",), np.random.default_rng(config.n).random(config.noise))
    return xr.Dataset(data, attrs={"quality": config.n / 2, "text": "t"})


def summed(config, first):
    return xr.Dataset({"y": ((), float(first["y"]) + config.a, {"units": "m"})})


POINT = Stage("point", 1, PointConfig, {}, ANY, point, literature=("A 2020",))
LATER = Stage("point", 2, PointConfig, {}, ANY, point)
SUMMED = Stage("summed", 1, PointConfig, {"first": ANY}, ANY, summed)
