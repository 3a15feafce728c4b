"""What the CUDA faces share: compiling to PTX without a GPU, device functions, what this machine has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from kernels.errors import InputError

COMPUTE_CAPABILITY = (9, 0)
"""Compute capability that `to_ptx` compiles for."""


def installed() -> bool:
    """Whether the package numba-cuda, which the CUDA faces need, can be imported."""
    return find_spec("numba_cuda") is not None


def simulated() -> bool:
    """Whether kernels run in the CUDA simulator (NUMBA_ENABLE_CUDASIM=1 before numba is imported)."""
    import numba.core.config

    return bool(getattr(numba.core.config, "ENABLE_CUDASIM", False))


def available() -> bool:
    """Whether a kernel can be launched here: numba-cuda is installed, and a GPU or the simulator is there."""
    if not installed():
        return False
    from numba import cuda

    return bool(cuda.is_available())


def require() -> None:
    """Raise InputError where no kernel can be launched on this machine, with the reason and the remedy."""
    if not installed():
        raise InputError("the CUDA face needs numba-cuda, not installed here: pip install 'pushforward[gpu]'")
    if not available():
        raise InputError("no CUDA device was found; expected an NVIDIA GPU and its driver: use the CPU face")


def device(function: Callable[..., Any]) -> Any:
    """CUDA device function of a scalar Python function, or of the Python source of an `njit` one.

    A kernel may also call an `njit` function directly: it is then compiled for the device, with all it calls.
    """
    from numba import cuda

    return cuda.jit(device=True)(getattr(function, "py_func", function))


def to_ptx(python_kernel: Callable[..., Any], signature: Any, device: bool = False) -> str:
    """PTX text of a kernel (with `device`, of a device function): typed and compiled, no GPU needed.

    `signature` is a numba signature, such as `types.void(types.float64[:, ::1])`. Raises numba's typing error
    where the kernel is wrong; InputError without numba-cuda, and in the simulator, which has no compiler.
    """
    if not installed():
        raise InputError("PTX needs numba-cuda, which is not installed: pip install 'pushforward[gpu]'")
    if simulated():
        raise InputError("the CUDA simulator cannot compile to PTX: unset NUMBA_ENABLE_CUDASIM")
    from numba import cuda

    with _stand_in_device():
        text, _ = cuda.compile(
            getattr(python_kernel, "py_func", python_kernel),
            signature,
            device=device,
            abi="numba",
            cc=COMPUTE_CAPABILITY,
            output="ptx",
        )
    return str(text)


@contextmanager
def _stand_in_device() -> Iterator[None]:
    # numba-cuda asks the current device for its compute capability when a kernel calls a device function,
    # even in `cuda.compile`; where there is no device, answer in its place.
    if available():
        yield
        return
    from numba.cuda import dispatcher

    original = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=COMPUTE_CAPABILITY)
    try:
        yield
    finally:
        dispatcher.get_current_device = original
