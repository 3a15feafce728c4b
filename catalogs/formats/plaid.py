"""PLAID data set folders: CGNS samples by split, scalars, and problem definitions."""

import csv
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catalogs.formats.cgns import read_cgns
from catalogs.formats.sample import MeshSample, existing_file, listed, safe_name, split_unit
from kernels.errors import InputError

_SAMPLE = re.compile(r"^sample_(\d+)$")
_TRAIN, _TEST = 0, 1


@dataclass
class PlaidSet:
    """What a folder holds: sample folders by split name, and what its descriptions say."""

    root: Path
    samples: dict[str, list[Path]] = field(default_factory=dict)
    infos: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_plaid(folder: Path) -> bool:
    """Whether the folder looks like a PLAID data set: infos.yaml, data/<split>/sample_* or
    [dataset/]samples/sample_*.
    """
    if not folder.is_dir():
        return False
    marks = (
        "infos.yaml",
        "dataset/infos.yaml",
        "problem_definitions",
        "problem_definition",
        "dataset/samples",
    )
    return any((folder / mark).exists() for mark in marks) or any(
        any(folder.glob(pattern)) for pattern in ("data/*/sample_*", "samples/sample_*", "sample_*/meshes")
    )


def open_plaid(folder: Path) -> PlaidSet:
    """List the samples of a data set folder and read its descriptions.

    Layouts: data/<split>/sample_*, [dataset/]samples/sample_*, or a folder of sample_* itself. Raises
    InputError where there is no sample, a description cannot be parsed, or the data are stored in another
    backend than cgns. A count in infos.yaml that differs from what is there is said in the notes.
    """
    result = PlaidSet(folder)
    for place in (folder, folder / "dataset"):
        if (place / "infos.yaml").is_file():
            result.infos = _yaml(place / "infos.yaml")
    backend = result.infos.get("storage_backend", "cgns")
    if backend != "cgns":
        raise InputError(
            f"{folder} stores its samples as {backend!r}, expected 'cgns': download or save the data set "
            f"with that backend"
        )
    for split in sorted((folder / "data").glob("*")) if (folder / "data").is_dir() else []:
        if split.is_dir() and (found := _sample_folders(split)):
            result.samples[split.name] = found
    if found := _sample_folders(folder):
        result.samples[folder.name] = found
    for place in (folder / "samples", folder / "dataset" / "samples"):
        if found := _sample_folders(place):
            result.samples[""] = found
    if not result.samples:
        raise InputError(
            f"{folder} holds no samples (data/<split>/sample_* or dataset/samples/sample_*), expected at "
            f"least one: "
            "complete the download"
        )
    result.problems = _problems(folder)
    result.notes += _count_notes(result)
    return result


def _sample_folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    found = [(int(match[1]), p) for p in place.iterdir() if p.is_dir() and (match := _SAMPLE.match(p.name))]
    return [path for _, path in sorted(found)]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(existing_file(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())[:200]}): mend it"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, expected names and values: mend it")
    return content


def _problems(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> definition; the older split.json and split.csv become definitions named after their splits'
    file.
    """
    problems = {path.stem: _yaml(path) for path in sorted(folder.glob("problem_definitions/*.yaml"))}
    for place in [*sorted(folder.glob("problem_definitions/*/")), folder / "problem_definition"]:
        if not place.is_dir():
            continue
        problem: dict[str, Any] = {}
        if (place / "problem_infos.yaml").is_file():
            problem = _yaml(place / "problem_infos.yaml")
        splits = _old_splits(place)
        if splits:
            problem["splits"] = splits
        if problem:
            problems[place.name] = problem
    return problems


def _old_splits(place: Path) -> dict[str, list[int]]:
    try:
        if (place / "split.json").is_file():
            return {
                str(k): [int(i) for i in v] for k, v in json.loads((place / "split.json").read_text()).items()
            }
        if (place / "split.csv").is_file():
            with (place / "split.csv").open(newline="") as stream:
                rows = [row for row in csv.reader(stream) if row]
            return {row[0]: [int(item) for item in row[1:] if item.strip()] for row in rows}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{place}: the split file cannot be read ({error}): mend it") from error
    return {}


def _count_notes(plaid: PlaidSet) -> list[str]:
    declared = plaid.infos.get("num_samples")
    found = {split or "samples": len(paths) for split, paths in plaid.samples.items()}
    if isinstance(declared, int):
        declared = {"samples": declared}
        found = {"samples": sum(found.values())}
    if not isinstance(declared, dict):
        return []
    return [
        f"{plaid.root.name}: infos.yaml declares {count} samples in {split!r}, found "
        f"{found.get(str(split), 0)}"
        for split, count in declared.items()
        if found.get(str(split), 0) != count
    ]


def mesh_file(sample: Path, step: int | None) -> Path:
    """The CGNS file of a sample folder; `step` counts from 0 where there are several (one a time step)."""
    files = sorted((sample / "meshes").glob("*.cgns"))
    if not files:
        raise InputError(f"{sample} has no meshes/*.cgns, expected one mesh: complete the download")
    if len(files) > 1 and step is None:
        raise InputError(
            f"{sample} has {len(files)} meshes ({listed(f.name for f in files)}), one a time step, "
            f"expected one: "
            "set step to the number of the one to read (from 0)"
        )
    if step is not None and not 0 <= step < len(files):
        raise InputError(
            f"{sample} has {len(files)} meshes, step = {step} was asked for: expected 0 to {len(files) - 1}"
        )
    return files[step or 0]


def read_plaid(
    plaid: PlaidSet,
    base: str | None = None,
    step: int | None = None,
    problem: str | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
) -> tuple[list[MeshSample], dict[str, str]]:
    """Samples of the set, each with its split where known, and the role of each scalar that a definition
    names.

    The split is `train_split`/`test_split` where given, else the folder name or definition that begins with
    train or test. Samples outside both parts are left out, with a note. Raises InputError where several
    parts could be meant.
    """
    chosen = _definition(plaid, problem)
    membership = _membership(plaid, chosen, train_split, test_split)
    samples, left_out = [], 0
    for split, folders in plaid.samples.items():
        for folder in folders:
            if membership is not None and folder not in membership:
                left_out += 1
                continue
            name = f"{split}/{folder.name}" if split else folder.name
            sample = read_cgns(mesh_file(folder, step), name, base)
            if (folder / "scalars.csv").is_file():
                _scalars(sample, folder / "scalars.csv")
            sample.split = membership[folder] if membership is not None else None
            samples.append(sample)
    if not samples:
        raise InputError(f"{plaid.root} has no sample in the chosen splits: check train_split and test_split")
    if left_out:
        plaid.notes.append(f"{plaid.root.name}: left out {left_out} samples of neither split")
    return samples, _roles(chosen)


def _definition(plaid: PlaidSet, problem: str | None) -> dict[str, Any]:
    if problem is not None:
        if problem not in plaid.problems:
            known = listed(plaid.problems) or "none"
            raise InputError(
                f"{plaid.root} has no problem definition {problem!r}, expected one of {known}: set problem"
            )
        return plaid.problems[problem]
    return next(iter(plaid.problems.values())) if len(plaid.problems) == 1 else {}


def _membership(
    plaid: PlaidSet, definition: dict[str, Any], train: str | None, test: str | None
) -> dict[Path, int] | None:
    """Sample folder -> part; None where nothing says which part a sample belongs to."""
    parts = _parts(plaid, definition)
    names = {_TRAIN: train, _TEST: test}
    result: dict[Path, int] = {}
    for part, prefix in ((_TRAIN, "train"), (_TEST, "test")):
        name = names[part]
        candidates = [n for n in parts if n.lower().startswith(prefix)]
        if name is None and len(candidates) > 1:
            name = prefix if prefix in candidates else None
            if name is None:
                raise InputError(
                    f"{plaid.root} has the {prefix} splits {listed(candidates)}, expected one: set "
                    f"{prefix}_split"
                )
        name = name or next(iter(candidates), None)
        if name is not None and name not in parts:
            raise InputError(
                f"{plaid.root} has no split {name!r}, expected one of {listed(parts)}: set {prefix}_split"
            )
        for folder in parts.get(name or "", []):
            if result.get(folder, part) != part:
                raise InputError(
                    f"{folder} is in the train and the test split, expected one of the two: mend the split"
                )
            result[folder] = part
    return result or None


def _parts(plaid: PlaidSet, definition: dict[str, Any]) -> dict[str, list[Path]]:
    """Every named part that the folder or the definition knows: name -> sample folders."""
    parts = {split: folders for split, folders in plaid.samples.items() if split}
    flat = [folder for folders in plaid.samples.values() for folder in folders]
    if len(plaid.samples) == 1:
        by_number = {int(folder.name.removeprefix("sample_")): folder for folder in flat}
        for name, numbers in definition.get("splits", {}).items():
            parts[name] = _picked(plaid, by_number, name, numbers)
    for key, default in (("train_split", "train"), ("test_split", "test")):
        entry = definition.get(key)
        if not isinstance(entry, dict):
            continue
        for split, numbers in entry.items():
            folders = plaid.samples.get(str(split), [])
            if numbers == "all" or not isinstance(numbers, list):
                continue
            by_number = {int(folder.name.removeprefix("sample_")): folder for folder in folders}
            parts[default] = _picked(plaid, by_number, default, numbers)
    return parts


def _picked(plaid: PlaidSet, by_number: dict[int, Path], name: str, numbers: list[int]) -> list[Path]:
    missing = [number for number in numbers if number not in by_number]
    if missing:
        plaid.notes.append(
            f"{plaid.root.name}: split {name!r} names {len(missing)} samples that are not there "
            f"({listed(missing)})"
        )
    return [by_number[number] for number in numbers if number in by_number]


def _roles(definition: dict[str, Any]) -> dict[str, str]:
    """Scalar name -> role by the input and output features of a definition."""
    roles: dict[str, str] = {}
    keys = {
        "parameter": ("input_features", "input_scalars", "inputs"),
        "scalar": ("output_features", "output_scalars", "outputs"),
    }
    for role, names in keys.items():
        for key in names:
            entries = definition.get(key) or []
            for entry in entries if isinstance(entries, list) else []:
                text = entry.get("name", "") if isinstance(entry, dict) else str(entry)
                if "/" not in text or text.startswith("Global/"):
                    roles[safe_name(split_unit(text.removeprefix("Global/"))[0])] = role
    return roles


def _scalars(sample: MeshSample, path: Path) -> None:
    """Add the columns of a sample's scalars.csv: one header line, one line of numbers."""
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream, skipinitialspace=True) if row]
        header, values = rows[0], rows[1]
        numbers = [float(value) for value in values]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path} is no line of names and one of numbers ({error}): write it again"
        ) from error
    if len(header) != len(numbers) or not all(math.isfinite(number) for number in numbers):
        raise InputError(
            f"{path} has {len(header)} names and {len(numbers)} finite numbers, expected as many: mend it"
        )
    for label, number in zip(header, numbers, strict=True):
        name, unit = split_unit(label.lstrip("# "))
        sample.scalars[safe_name(name)] = number
        if unit is not None:
            sample.units[safe_name(name)] = unit
