"""Rows of a data set that belong to a part of its split."""

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.variables import CALIBRATION, LEFT_OUT, TEST, TRAIN, VALIDATION

PART_NAMES = {
    TRAIN: "train",
    TEST: "test",
    VALIDATION: "validation",
    CALIBRATION: "calibration",
    LEFT_OUT: "left_out",
}


def rows_of(data: xr.Dataset, split: xr.Dataset, *parts: int) -> np.ndarray:
    """Positions (int64, rising) of the samples of `data` that the split gives to one of `parts`.

    Raises InputError where the split is of another data set, or none of the samples belongs to them.
    """
    mine, theirs = (np.asarray(each["sample_name"].values).astype(str) for each in (data, split))
    if mine.shape != theirs.shape or (mine != theirs).any():
        differ = np.flatnonzero(mine != theirs) if mine.shape == theirs.shape else np.empty(0, np.int64)
        first = ""
        if len(differ):
            first = f"; sample {differ[0]} is {str(mine[differ[0]])!r} here, {str(theirs[differ[0]])!r} there"
        raise InputError(
            f"the split is of {theirs.size} samples, the data set has {mine.size}{first}; expected the same "
            "samples in the same order: split this data set"
        )
    rows = np.flatnonzero(np.isin(split["split"].values, parts))
    if rows.size == 0:
        wanted = " or ".join(PART_NAMES[part] for part in parts)
        raise InputError(f"no sample belongs to the {wanted} part: give it a share in the split")
    return rows
