"""Whether a CUDA device can be used, without loading torch where there is none."""

import ctypes
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

from pipelines._doctor_finding import Finding

_ASK = """
import json
answer = {}
try:
    from numba import cuda
    answer["numba-cuda"] = [bool(cuda.is_available()), ""]
except Exception as error:
    answer["numba-cuda"] = [False, f"{type(error).__name__}: {error}"[:200]]
try:
    import torch
    answer["torch"] = [bool(torch.cuda.is_available()), str(torch.version.cuda or "")]
except ImportError:
    pass
except Exception as error:
    answer["torch"] = [False, f"{type(error).__name__}: {error}"[:200]]
print(json.dumps(answer))
"""
REMEDY = "pip install --constraint constraints.txt 'pushforward[gpu]', or the gpu target of deploy/Dockerfile"
DRIVER = "install an NVIDIA driver of branch 525 or later: pip cannot bring it"


def gpu() -> Finding:
    """Whether the NVIDIA driver, numba-cuda and torch agree on a device; none at all is well."""
    nodes = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    driver, devices = driver_version()
    if driver is None:
        if nodes:
            found = f"{', '.join(nodes)} but no driver library libcuda.so.1"
            remedy = "start the container with its GPU (docker: --gpus all), or install the driver"
            return Finding("GPU", "warning", found, remedy)
        return Finding("GPU", "ok", "none: everything runs on the processor")
    return judge(driver, devices, wanted_cuda(), _answers())


def judge(driver: int, devices: int, wanted: int, answers: dict[str, list]) -> Finding:
    """What to say of a driver for CUDA `driver` (12040 is 12.4) with so many devices, packages built for
    CUDA `wanted` and the answers (usable, remark) of numba-cuda and torch.
    """
    found = f"{devices} devices, driver for CUDA {driver // 1000}.{driver % 1000 // 10}"
    if driver // 1000 < wanted // 1000:
        found += f", the installed packages need CUDA {wanted // 1000}"
        return Finding("GPU", "warning", f"{found}: driver too old", DRIVER)
    if devices == 0:
        remedy = "check CUDA_VISIBLE_DEVICES and nvidia-smi; without a device the processor does it all"
        return Finding("GPU", "warning", found, remedy)
    if not answers:
        return Finding("GPU", "warning", f"{found}, but numba-cuda and torch did not answer", REMEDY)
    said = [
        f"{name} {'uses it' if usable else 'does not see it'}" + (f" ({remark})" if remark else "")
        for name, (usable, remark) in answers.items()
    ]
    found = ", ".join([found, *said])
    if all(usable for usable, _ in answers.values()):
        return Finding("GPU", "ok", found)
    return Finding("GPU", "warning", found, REMEDY)


def driver_version() -> tuple[int | None, int]:
    """CUDA version that the driver serves, 12040 for 12.4, and its number of devices; None without one."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, 0
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if library.cuInit(0) == 0:
        library.cuDeviceGetCount(ctypes.byref(count))
    return version.value, count.value


def wanted_cuda() -> int:
    """Newest CUDA that installed packages are built for, 12000 for 12; 0 where none is."""
    newest = 0
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name.startswith("nvidia-cuda-runtime"):
            newest = max(newest, int(distribution.version.split(".")[0]) * 1000)
    return newest


def _answers() -> dict[str, list]:
    # in a process of its own: a broken driver may end the process that asks
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=8, check=False
        )
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return {}
