"""Stage `split`: which samples train, choose, calibrate and test; no sample is in two parts."""

import hashlib
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import AfterValidator, Field, model_validator

from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema, variable
from stages.parts import PART_NAMES
from stages.sample_content import content_digests, pairs_shown
from stages.variables import CALIBRATION, FAILED, LEFT_OUT, TEST, TRAIN, VALIDATION

_DRAWN = {VALIDATION: "validation", CALIBRATION: "calibration", TEST: "test"}
_SAFEST = (TEST, CALIBRATION, VALIDATION, TRAIN)


def _amount(value: float) -> float:
    if value < 0 or (isinstance(value, float) and value >= 1.0):
        raise ValueError(
            f"{value} is neither a share nor a number of samples: give a share from 0.0 to less than 1.0, or "
            "a whole number such as 200"
        )
    return value


Amount = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)], AfterValidator(_amount)
]
"""Share of the samples (0.1) or number of them (100)."""


class SplitConfig(StageConfig):
    """Size of the parts that are drawn; the rest trains.

    validation, calibration, test: a share (0.1) or a number of samples (100). given: what the data set itself
    says of its samples is kept, and what it calls train is divided further, or ignored. duplicates: samples
    with equal inputs in two parts are an error, or copies stay together in one part, or all copies but
    one are left out. test_only: every sample tests, for a data set that nothing is trained on.
    """

    validation: Amount = 0.1
    calibration: Amount = 0.1
    test: Amount = 0.2
    seed: int = 0
    given: Literal["keep", "ignore"] = "keep"
    duplicates: Literal["error", "together", "drop"] = "error"
    test_only: bool = False

    @model_validator(mode="after")
    def _leaves_some(self) -> "SplitConfig":
        shares = [getattr(self, name) for name in _DRAWN.values() if isinstance(getattr(self, name), float)]
        if sum(shares) >= 1.0:
            raise ValueError(
                f"the shares of validation, calibration and test add up to {sum(shares):g}, expected less "
                "than 1: the rest trains"
            )
        return self


def run(config: StageConfig, *, data: xr.Dataset) -> xr.Dataset:
    """The part of every sample, and the digest of its inputs.

    A sample gets a number u in [0, 1) from the hash of seed and sample name (`duplicates = "together"`: seed
    and content), and the parts take intervals of u in the order validation, calibration, test, train. So
    with shares a sample stays in its part whatever is added to the set or removed from it, and the parts
    have their shares up to chance; a number of samples takes the smallest u that are left, which is exact
    (copies that stay together may exceed it), but samples added later may take places of old ones.

    A data set with a `split` of its own (train and test files) keeps it: only its train samples are divided,
    and only into parts that it does not bring. Samples whose status is failed are left out. Content is
    inputs, parameters and mesh with the 24 bits of single precision, not the outputs; it is read in blocks.
    Raises InputError where names are given twice, copies lie in two parts (naming the pairs), or a part that
    should have samples has none. Not found: copies that were interpolated or filtered.
    """
    if not isinstance(config, SplitConfig):
        raise InputError(f"stage 'split' got {type(config).__name__}, expected SplitConfig: pass that config")
    names = np.asarray(data["sample_name"].values).astype(str)
    _check_names(names)
    given = _given(config, data)
    content = content_digests(data)
    if config.duplicates != "error":
        _settle_copies(given, content, drop=config.duplicates == "drop")
    keys = content if config.duplicates == "together" else names
    if config.test_only:
        parts = np.where(given == LEFT_OUT, LEFT_OUT, TEST).astype(np.int8)
    else:
        parts = _drawn(config, given, _places(config.seed, keys))
        _check_sizes(config, given, parts)
    _check_disjoint(names, parts, content)
    flags = {"flag_values": list(PART_NAMES), "flag_meanings": " ".join(PART_NAMES.values())}
    counts = {name: int(np.sum(parts == part)) for part, name in PART_NAMES.items()}
    return xr.Dataset(
        {
            "sample_name": variable("sample_name", names.astype(object)),
            "split": variable("split", parts, **flags),
            "content": variable("content", content),
        },
        attrs={"samples": counts},
    )


def _check_names(names: np.ndarray) -> None:
    unique, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        twice = [repr(str(name)) for name in unique[counts > 1]]
        raise InputError(
            f"{len(twice)} sample names are given more than once, such as {pairs_shown(twice)}: give every "
            "sample a name of its own"
        )


def _given(config: SplitConfig, data: xr.Dataset) -> np.ndarray:
    """Part of every sample as the data set says; train where it says nothing."""
    given = np.full(data.sizes["sample"], TRAIN, dtype=np.int8)
    if config.given == "keep" and "split" in data:
        given[:] = data["split"].values
        wrong = sorted(set(given.tolist()) - set(PART_NAMES))
        if wrong:
            raise InputError(
                f"'split' of the data set has the values {wrong}, expected {dict(PART_NAMES)}: repair it, or "
                'set given = "ignore"'
            )
    if "status" in data:
        given[data["status"].values == FAILED] = LEFT_OUT
    return given


def _settle_copies(given: np.ndarray, content: np.ndarray, drop: bool) -> None:
    """Bring copies into the part that is farthest from training, or leave all but one of that part out."""
    order = {part: i for i, part in enumerate(_SAFEST)}
    groups: dict[str, list[int]] = {}
    for row in np.flatnonzero(given != LEFT_OUT):
        groups.setdefault(content[row], []).append(int(row))
    for rows in groups.values():
        kept = min(rows, key=lambda row: (order[int(given[row])], row))
        part = given[kept]
        given[rows] = LEFT_OUT if drop else part
        given[kept] = part


def _places(seed: int, keys: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for every key, uniform and the same for the same seed and key."""
    found = [hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys]
    whole = np.array([int.from_bytes(digest, "big") >> 11 for digest in found], dtype=np.float64)
    return whole * 2.0**-53


def _drawn(config: SplitConfig, given: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Parts of all samples; `cut` is where the interval of the next part starts."""
    parts, cut = given.copy(), 0.0
    for part, name in _DRAWN.items():
        amount = getattr(config, name)
        if not amount or (given == part).any():
            continue
        free = (parts == TRAIN) & (places >= cut)
        if isinstance(amount, float):
            end = cut + amount
        else:
            ordered = np.sort(places[free])
            if ordered.size < amount:
                raise InputError(_too_few(config, given, f"{name} has {ordered.size} left"))
            end = np.nextafter(ordered[amount - 1], 2.0)
        parts[free & (places < end)] = part
        cut = end
    return parts


def _check_sizes(config: SplitConfig, given: np.ndarray, parts: np.ndarray) -> None:
    wanted = [part for part, name in _DRAWN.items() if getattr(config, name)]
    for part in (TRAIN, *wanted):
        if not (parts == part).any():
            raise InputError(_too_few(config, given, f"{PART_NAMES[part]} has none"))


def _too_few(config: SplitConfig, given: np.ndarray, what: str) -> str:
    asked = ", ".join(
        f"{name} {getattr(config, name)}" for part, name in _DRAWN.items() if not (given == part).any()
    )
    return (
        f"too few samples for the parts: {int(np.sum(given == TRAIN))} samples are to be divided, asked for "
        f"are {asked or 'none'} and the rest to train, but {what}: ask for less (a small set is divided best "
        "by whole numbers), or add samples"
    )


def _check_disjoint(names: np.ndarray, parts: np.ndarray, content: np.ndarray) -> None:
    """Raise InputError listing pairs of samples of equal content that lie in two parts."""
    first: dict[str, dict[int, str]] = {}
    pairs = []
    for name, part, digest in zip(names, parts.tolist(), content, strict=True):
        if part == LEFT_OUT:
            continue
        others = first.setdefault(digest, {})
        pairs += [
            f"{other} ({PART_NAMES[there]}) = {name} ({PART_NAMES[part]})"
            for there, other in others.items()
            if there != part
        ]
        others.setdefault(part, name)
    if pairs:
        raise InputError(
            f"the parts overlap, {len(pairs)} pairs of samples have equal inputs: {pairs_shown(pairs)}; "
            'expected disjoint parts: set duplicates = "together" (copies in one part) or "drop" (one copy), '
            "or repair the set"
        )


STAGE = Stage(
    name="split",
    version=1,
    config=SplitConfig,
    inputs={"data": schema("sample_name", optional=("split", "status"))},
    output=schema("sample_name", "split", "content"),
    run=run,
)
