"""Whether Python and the installed packages are the ones that the product was tested with."""

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipelines._doctor_finding import Finding

OURS = ("kernels", "stages", "catalogs", "pipelines")
DISTRIBUTION = "pushforward"
INSTALL = "pip install --constraint constraints.txt --editable . in the checkout, or install the image again"


def python() -> Finding:
    """Whether this Python is one the distribution accepts."""
    version = platform.python_version()
    try:
        wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        wanted = ">=3.11"
    found = f"Python {version} at {sys.executable}"
    if Version(version) not in SpecifierSet(wanted):
        return Finding("python", "failure", f"{found}, expected {wanted}", "make PYTHON=python3.11 test")
    return Finding("python", "ok", found)


def bounds(distribution: str = DISTRIBUTION) -> Finding:
    """Whether everything that the distribution asks for, directly or not, is there within its bounds.

    What only its own extras ask for is looked at where it is installed.
    """
    if _version(distribution) is None:
        return Finding(
            "packages", "failure", f"the distribution {distribution} is not installed here", INSTALL
        )
    waiting, seen = [(distribution, "")], {(distribution, "")}
    problems: set[str] = set()
    while waiting:
        who, extra = waiting.pop()
        for requirement in map(Requirement, importlib.metadata.requires(who) or []):
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            version = _version(requirement.name)
            if not needed and (version is None or who != distribution):
                continue
            if version is None:
                problems.add(f"{requirement.name} is missing, {who} needs it")
            elif not requirement.specifier.contains(version, prereleases=True):
                problems.add(f"{requirement.name} {version}, {who} needs {requirement.specifier}")
            elif needed:
                further = {(requirement.name, choice) for choice in ("", *requirement.extras)} - seen
                seen |= further
                waiting += sorted(further)
    if problems:
        return Finding("packages", "failure", "; ".join(sorted(problems)), INSTALL)
    return Finding("packages", "ok", f"{len({name for name, _ in seen}) - 1} packages within their bounds")


def pins(constraints: Path | None = None) -> Finding:
    """Whether the installed packages are exactly those of constraints.txt, where that file is at hand."""
    file = constraints or Path(__file__).resolve().parents[1] / "constraints.txt"
    if not file.is_file():
        return Finding("pinned packages", "ok", "no constraints.txt at hand: only the bounds were compared")
    different, same = [], 0
    for name, pinned in _pinned(file).items():
        version = _version(name)
        if version is None:
            continue
        if Version(version).public == Version(pinned).public:
            same += 1
        else:
            different.append(f"{name} {version} instead of {pinned}")
    if different:
        shown = "; ".join(different[:8]) + (f"; and {len(different) - 8} more" if len(different) > 8 else "")
        return Finding("pinned packages", "warning", f"untested versions: {shown}", INSTALL)
    return Finding("pinned packages", "ok", f"{same} packages as pinned in {file.name}")


def collisions() -> Finding:
    """Whether another distribution, or a folder that comes first on the path, provides our package names."""
    providers = importlib.metadata.packages_distributions()
    home = Path(__file__).resolve().parents[1]
    for name in OURS:
        others = {entry for entry in providers.get(name, []) if canonicalize_name(entry) != DISTRIBUTION}
        if others:
            listed = ", ".join(sorted(others))
            return Finding(
                "package names",
                "failure",
                f"the package {name!r} is provided by {listed} as well",
                f"pip uninstall {listed.replace(',', '')}, or use an environment of its own",
            )
        spec = importlib.util.find_spec(name)
        places = [Path(entry).resolve() for entry in (spec.submodule_search_locations or [])] if spec else []
        if places and places[0] != home / name:
            return Finding(
                "package names",
                "failure",
                f"{name!r} is taken from {places[0]}, expected {home / name}",
                "start from another folder, or rename that one: it hides the product's package",
            )
    return Finding("package names", "ok", f"{', '.join(OURS)} belong to {DISTRIBUTION} alone")


def _pinned(file: Path) -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (line.split(";")[0].split("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, version in pairs}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
