"""Topological defects of a director field on a periodic grid."""

import numpy as np
from scipy import ndimage


def windings(z2: np.ndarray) -> np.ndarray:
    """Turns of arg z_2 around each plaquette, int64 (..., n, n): 1 is a defect of charge 1/2, -1 of -1/2.

    The director angle is arg(z_2) / 2. Entry i, j belongs to the square of the corners (i, j), (i+1, j),
    (i+1, j+1), (i, j+1), run through counter-clockwise; between corners the shorter turn is taken. They add
    up to zero on a periodic grid. de Gennes, Prost 1993, The Physics of Liquid Crystals, section 4.1.
    """
    along_x = np.angle(np.roll(z2, -1, axis=-2) * z2.conj())
    along_y = np.angle(np.roll(z2, -1, axis=-1) * z2.conj())
    around = along_x + np.roll(along_y, -1, axis=-2) - np.roll(along_x, -1, axis=-1) - along_y
    return np.asarray(np.rint(around / (2.0 * np.pi)).astype(np.int64))


def count_defects(z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of defects of charge +1/2 and -1/2 of each field, int64, (..., n, n) -> (...) twice.

    Charged plaquettes that touch, by a side or a corner, are one group, and what counts is the charge of the
    group: a pair of opposite charges in neighbouring plaquettes is one sharp bend or round-off, not two
    defects, and a core between plaquettes is one. No threshold on the order parameter is needed.
    """
    fields = z2.reshape(-1, *z2.shape[-2:])
    counts = np.array([_groups(one) for one in windings(fields)]).reshape(*z2.shape[:-2], 2)
    return counts[..., 0], counts[..., 1]


def _groups(charge: np.ndarray) -> tuple[int, int]:
    if not charge.any():
        return 0, 0
    labels, count = ndimage.label(charge, structure=np.ones((3, 3)))
    parent = np.arange(count + 1)

    def root(i: int) -> int:
        while parent[i] != i:
            i = int(parent[i])
        return i

    for first, last in ((labels[0], labels[-1]), (labels[:, 0], labels[:, -1])):
        for shift in (-1, 0, 1):  # groups that touch across the seam of the periodic square
            for a, b in zip(first, np.roll(last, shift), strict=True):
                if a and b:
                    parent[root(int(a))] = root(int(b))
    total = np.zeros(count + 1, dtype=np.int64)
    np.add.at(total, [root(int(i)) for i in labels[charge != 0]], charge[charge != 0])
    return int(total[total > 0].sum()), int(-total[total < 0].sum())
