"""Find a missing Python or system library before anything is installed, and print the line that mends it."""

import ctypes
import sys

LIBRARIES = {"libGL.so.1": "libgl1", "libXrender.so.1": "libxrender1", "libEGL.so.1": "libegl1"}


def missing_packages() -> list[str]:
    """Debian packages of the shared libraries that VTK and netgen load and this machine lacks."""
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return missing


def main() -> int:
    """Print what is missing with the remedy; the exit status is the number of problems."""
    if sys.version_info < (3, 11):  # noqa: UP036
        version = ".".join(map(str, sys.version_info[:3]))
        sys.stderr.write(f"Python {version} given, 3.11 or later expected: run make PYTHON=python3.11 ...\n")
        return 1
    missing = missing_packages()
    if missing:
        sys.stderr.write(f"system libraries are missing: apt-get install -y {' '.join(missing)}\n")
    return len(missing)


if __name__ == "__main__":
    sys.exit(main())
