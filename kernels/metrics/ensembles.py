"""Mean and deviation of the members of an ensemble."""

import numpy as np


def mean_and_deviation(members: np.ndarray, floor: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the members, and sqrt(var + floor^2) with the variance over all members (divisor M).

    members (M, outputs, ...), floor (outputs,) >= 0 in the units of the outputs: what all members miss alike.
    Lakshminarayanan, Pritzel, Blundell 2017, Simple and scalable predictive uncertainty estimation using deep
    ensembles, NeurIPS 30, section 2.4, with one variance a channel instead of one a point for each member.
    """
    variance = members.var(axis=0)
    if floor is not None:
        variance = variance + (np.asarray(floor) ** 2).reshape(-1, *[1] * (variance.ndim - 1))
    return members.mean(axis=0), np.sqrt(variance)
