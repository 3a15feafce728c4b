"""Where a relative error means nothing: fields that vanish in a sample, scalars that cross zero."""

import numpy as np

from kernels.metrics.errors import Truth


def vanishing(truth: Truth, fraction: float) -> tuple[np.ndarray, str]:
    """Samples whose largest absolute value is below `fraction` of the set's largest, and the reason in words.

    Returns the mask (n,) of the samples to leave out of relative errors and "" where there is none. Where the
    whole set is zero every sample is left out.
    """
    largest = float(truth.peak.max())
    out = truth.peak < fraction * largest if largest > 0.0 else np.ones(truth.peak.size, dtype=bool)
    if not out.any():
        return out, ""
    if largest == 0.0:
        return out, f"zero in all {out.size} samples"
    return out, (
        f"{int(out.sum())} of {out.size} samples left out of the relative error: largest absolute value "
        f"below "
        f"{fraction:g} of the set's largest, {largest:.4g}"
    )


def crosses_zero(truth: Truth) -> str:
    """Reason to refuse relative errors of a scalar that takes both signs over the set; "" where it does
    not."""
    low, high = float(truth.low.min()), float(truth.high.max())
    if low < 0.0 < high:
        return f"relative error refused: the quantity crosses zero ({low:.4g} to {high:.4g})"
    return ""
