"""LAPACK on symmetric matrices, in place and without the interpreter lock: threads run side by side."""

import ctypes
from collections.abc import Callable

import numpy as np
from numba.extending import get_cython_function_address

# C-order lower triangle is the upper triangle of the column-major matrix that LAPACK sees.
_TRIANGLE = ctypes.byref(ctypes.c_char(b"U"))
_TRANSPOSED = ctypes.byref(ctypes.c_char(b"T"))
_NOT_UNIT = ctypes.byref(ctypes.c_char(b"N"))


def _routine(name: str, arguments: int) -> Callable[..., None]:
    # CFUNCTYPE lets go of the interpreter lock during the call; the wrappers in scipy.linalg.lapack hold it
    address = get_cython_function_address("scipy.linalg.cython_lapack", name)
    return ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * arguments))(address)


_POTRF = _routine("dpotrf", 5)
_POTRI = _routine("dpotri", 5)
_POTRS = _routine("dpotrs", 8)
_TRTRS = _routine("dtrtrs", 10)


def cholesky(lower: np.ndarray) -> bool:
    """A = L L^T in place: the lower triangle of `lower` (n, n; float64, C order) becomes L.

    Returns False where A is not positive definite (LAPACK dpotrf, info > 0); the matrix is then spoilt. The
    strict upper triangle is neither read nor written. Does not handle other dtypes or orders.
    """
    size, info = ctypes.c_int(lower.shape[0]), ctypes.c_int(0)
    _POTRF(_TRIANGLE, ctypes.byref(size), lower.ctypes.data, ctypes.byref(size), ctypes.byref(info))
    return info.value == 0


def invert(factor: np.ndarray) -> None:
    """A^-1 in place of its factor L (LAPACK dpotri): lower triangle (n, n), C order, from `cholesky`."""
    size, info = ctypes.c_int(factor.shape[0]), ctypes.c_int(0)
    _POTRI(_TRIANGLE, ctypes.byref(size), factor.ctypes.data, ctypes.byref(size), ctypes.byref(info))


def solve(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x with L L^T x = right for one right-hand side (n,), L from `cholesky` (LAPACK dpotrs)."""
    x = np.array(right, dtype=np.float64)
    size, one, info = ctypes.c_int(factor.shape[0]), ctypes.c_int(1), ctypes.c_int(0)
    n = ctypes.byref(size)
    _POTRS(_TRIANGLE, n, ctypes.byref(one), factor.ctypes.data, n, x.ctypes.data, n, ctypes.byref(info))
    return x


def solve_lower(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x with L x = right for right-hand sides (n,) or (k, n), L from `cholesky` (LAPACK dtrtrs)."""
    x = np.array(right, dtype=np.float64, order="C")
    size, nrhs, info = ctypes.c_int(factor.shape[0]), ctypes.c_int(x.size // x.shape[-1]), ctypes.c_int(0)
    n, matrix = ctypes.byref(size), factor.ctypes.data
    _TRTRS(
        _TRIANGLE, _TRANSPOSED, _NOT_UNIT, n, ctypes.byref(nrhs), matrix, n, x.ctypes.data, n,
        ctypes.byref(info),
    )  # fmt: skip
    return x
