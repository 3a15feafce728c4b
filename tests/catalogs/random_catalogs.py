"""Small catalogs with random artifacts, and a filter in plain Python that says what a search must find."""

import operator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import xarray as xr

from catalogs.catalog import Catalog, Record
from catalogs.where import All, Any, Compare, HasName, HasTag, Not, OneOf, Within

SIGNS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


@dataclass
class Known:
    """What brute force needs to know of an artifact."""

    key: str
    stage: str
    metrics: dict
    config: dict
    ranges: dict
    tags: set
    names: set


def fill(catalog: Catalog, count: int, seed: int) -> list[Known]:
    """Publish `count` random artifacts, in the order of their creation."""
    generator, made = np.random.default_rng(seed), []
    for number in range(count):
        key = f"{generator.integers(0, 2**63):016x}" * 2
        stage = str(generator.choice(["make", "train", "evaluate"]))
        metrics = {
            name: float(generator.integers(0, 4)) / 2 for name in ("rmse", "q.2") if generator.random() < 0.7
        }
        config: dict = {"modes": int(generator.integers(0, 4)), "inner": {"kind": "ab0"[number % 3]}}
        if generator.random() < 0.3:
            config["mixed"] = [0, "", "a", 1.0][int(generator.integers(0, 4))]
        ranges = {}
        if generator.random() < 0.6:
            ends = sorted(generator.integers(0, 5, 2).astype(float))
            ranges["load"] = (ends[0], ends[1])
        data = {name: ("sample", np.array(ends), {"role": "parameter"}) for name, ends in ranges.items()} or {
            "u": ((), 1.0)
        }
        record = Record(stage, 1 + number % 2, config, {}, datetime.now(UTC), number * 0.5, metrics=metrics)
        catalog.publish(key, xr.Dataset(data), record)
        tags = {tag for tag in ("t1", "t2") if generator.random() < 0.4}
        catalog.tag(key, *tags)
        names = {"set"} if generator.random() < 0.2 else set()
        for name in names:
            catalog.name(key, name)
        made.append(Known(key, stage, metrics, config, ranges, tags, names))
    return made


def fits(one: Known, condition) -> bool:
    """Whether an artifact matches, by the words of `catalogs.where`."""
    if isinstance(condition, Not):
        return not fits(one, condition.part)
    if isinstance(condition, All):
        return all(fits(one, part) for part in condition.parts)
    if isinstance(condition, Any):
        return any(fits(one, part) for part in condition.parts)
    if isinstance(condition, HasTag):
        return condition.tag in one.tags
    if isinstance(condition, HasName):
        return condition.name in one.names
    if isinstance(condition, Within):
        ends = one.ranges.get(condition.name)
        return ends is not None and condition.low <= ends[0] and ends[1] <= condition.high
    if isinstance(condition, OneOf):
        return any(fits(one, Compare(condition.name, "==", value)) for value in condition.values)
    space, _, name = condition.name.partition(".")
    sign = SIGNS[condition.operator]
    if space == "parameters":
        return name in one.ranges and all(sign(v, condition.value) for v in every_value(one.ranges[name]))
    value = {"metrics": one.metrics, "config": flat(one.config), "stage": {"": one.stage}}[space].get(name)
    if value is None or value == "":
        return False
    if isinstance(value, str) != isinstance(condition.value, str):
        return condition.operator == "!="
    return bool(sign(value, condition.value))


def every_value(ends):
    """Values that stand for all between the ends, as a comparison with a half number sees them."""
    return np.arange(ends[0], ends[1] + 0.25, 0.25)


def flat(config):
    """Config by dotted names."""
    return {
        f"{name}.{inner}" if inner else name: leaf
        for name, value in config.items()
        for inner, leaf in (value.items() if isinstance(value, dict) else [("", value)])
    }
