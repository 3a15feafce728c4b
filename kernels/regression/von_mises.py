"""The von Mises stress, and its mean and deviation over draws of the coefficients of stress modes."""

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

_SLOTS = {3: (0, 1, 3), 4: (0, 1, 3, 2), 6: (0, 1, 2, 3, 4, 5)}  # rows: three normal stresses, then shears
_NODES = 64  # nodes decoded at a time: with 512 draws and 4 components 1 MiB


def von_mises(stress: Sequence[np.ndarray]) -> np.ndarray:
    """Von Mises stress, sqrt(((a-b)^2 + (b-c)^2 + (c-a)^2) / 2 + 3 (s12^2 + s13^2 + s23^2)).

    a, b, c are the normal stresses.

    stress: arrays of one shape and unit in the order 11, 22, 12 or 11, 22, 12, 33 or 11, 22, 33, 12, 13, 23.
    What is not given is zero (von Mises 1913). Does not handle other orders.
    """
    zero = np.zeros_like(stress[0])
    rows = [zero] * 6
    for slot, values in zip(_SLOTS[len(stress)], stress, strict=True):
        rows[slot] = values
    a, b, c, *shear = rows
    return np.sqrt(0.5 * ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2) + 3.0 * sum(s**2 for s in shear))


def drawn_statistics(
    levels: Sequence[np.ndarray],
    modes: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
    drawn: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation (n,) of the von Mises stress at every node, and its largest value in every draw
    (draws,).

    For each of 3, 4 or 6 components, in the order of `von_mises`: levels (n,), modes (n, k), means (k,) and
    draws (draws, k) of the coefficients, stress = level + modes a. Divisor: number of draws; sums run over
    the difference to the stress at the means, so that the difference of squares does not cancel. Memory: 64
    nodes of all draws. Does not handle draws of more than one sample.
    """
    nodes, count = levels[0].size, drawn[0].shape[0]
    centre = von_mises([level + mode @ mean for level, mode, mean in zip(levels, modes, means, strict=True)])
    slots = _SLOTS[len(levels)]
    values = np.zeros((max(slots) + 1, _NODES, count))
    columns = [np.ascontiguousarray(part.T) for part in drawn]
    average, squares, tops = np.empty(nodes), np.empty(nodes), np.zeros(count)
    for start in range(0, nodes, _NODES):
        stop = min(start + _NODES, nodes)
        for slot, level, mode, column in zip(slots, levels, modes, columns, strict=True):
            block = values[slot, : stop - start]
            np.matmul(mode[start:stop], column, out=block)
            block += level[start:stop, None]
        _accumulate(values, centre[start:stop], average[start:stop], squares[start:stop], tops)
    spread = np.sqrt(np.maximum(squares - average**2, 0.0))
    return centre + average, spread, tops


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _accumulate(values, centre, average, squares, tops):
    """Means over draws of the differences to `centre` and of their squares; `tops` raised where exceeded."""
    count = tops.size
    shear = np.empty(count)
    for i in range(centre.size):
        shear[:] = 0.0
        for s in range(3, values.shape[0]):
            row = values[s, i]
            for j in range(count):
                shear[j] += row[j] * row[j]
        a, b, c, middle = values[0, i], values[1, i], values[2, i], centre[i]
        total, square = 0.0, 0.0
        for j in range(count):
            first, second, third = a[j] - b[j], b[j] - c[j], c[j] - a[j]
            normal = 0.5 * (first * first + second * second + third * third)
            stress = math.sqrt(normal + 3.0 * shear[j])
            total += stress - middle
            square += (stress - middle) * (stress - middle)
            tops[j] = max(tops[j], stress)
        average[i], squares[i] = total / count, square / count
