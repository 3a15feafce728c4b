"""From a definition to stored points: all configs validated and keyed before anything runs."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine

from catalogs import studies
from catalogs.keys import canonical, file_digest
from catalogs.studies import Point, Study
from kernels.errors import InputError
from pipelines.studies.definition import Definition, parse_study
from pipelines.studies.designs import columns
from pipelines.studies.target import Target
from pipelines.toml_files import is_file

_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """All points of a study, with the definition that they follow and the digest of all that decides them."""

    definition: Definition
    target: Target
    digest: str

    def points(self) -> list[Point]:
        """The points; their configs are validated here.

        Raises InputError naming the parameter, or the points whose config is wrong and why.
        """
        numbers, values = columns(self.definition.design)
        self.target.check(list(values))
        found, wrong = [], []
        for point in _rows(numbers.tolist(), values):
            try:
                found.append(Point(point[0], self.target.key(point[1]), point[1]))
            except InputError as error:
                wrong.append(f"point {point[0]} ({_shown(point[1])}): {error}")
        if wrong:
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise InputError(
                f"{len(wrong)} of {len(wrong) + len(found)} points have a wrong config: "
                f"{'; '.join(wrong[:_SHOWN])}{more}. Nothing was run"
            )
        return found


def plan(definition: Definition, target: Target, stored: Study | None) -> Plan:
    """Plan of a definition; a longer Latin hypercube than the stored one gets a further block."""
    if stored is not None and definition.design.method == "latin_hypercube":
        definition = _with_blocks(definition, stored)
    return Plan(definition, target, _digest(definition, target))


def store(engine: Engine, planned: Plan, stored: Study | None) -> Study:
    """Store the points that are not there yet; the study.

    Raises InputError where the study is there and the design is not a longer or shorter one of the same kind.
    """
    definition = planned.definition
    if stored is not None and stored.digest == planned.digest:
        return stored
    new = planned.points()
    count = 0
    if stored is not None:
        count = _common(engine, stored, new, definition.name)
        if count == len(new) and stored.digest:
            return stored
    dump = definition.model_dump(mode="json")
    target = planned.target
    study = stored or studies.create(engine, definition.name, target.name, target.version, dump)
    studies.define(engine, study.number, study.definition, "")
    studies.add_points(engine, study.number, new[count:], definition.run.keep == "metrics")
    studies.define(engine, study.number, dump, planned.digest)
    return studies.get(engine, definition.name)


def _common(engine: Engine, stored: Study, new: list[Point], name: str) -> int:
    """How many points the stored study and the new design begin with; one of them has no others."""
    count = 0
    for (number, key), point in zip(studies.stored_keys(engine, stored.number), new, strict=False):
        if (number, key) != (point.number, point.key):
            raise InputError(
                f"study {name!r} is there with another design or config: its point {number} differs from "
                f"that of the new definition ({_shown(point.parameters)}). A study grows at its end only: "
                "more samples, more rows, more values of the first parameter of a grid. Give the new study a "
                "name of its own; points that are the same are not computed again"
            )
        count += 1
    return count


def _with_blocks(definition: Definition, stored: Study) -> Definition:
    old = stored.definition["design"].get("samples")
    before = tuple(old) if isinstance(old, list) else (old,)
    design = definition.design
    if isinstance(design.samples, tuple) or old is None or not isinstance(design.samples, int):
        return definition
    more = design.samples - sum(before)
    blocks = (*before, more) if more > 0 else before
    return definition.model_copy(update={"design": design.model_copy(update={"samples": blocks})})


def extended(definition: Definition, samples: int) -> Definition:
    """The definition with so many samples more.

    Raises InputError where the design has no samples to add to.
    """
    design = definition.design
    if samples < 1:
        raise InputError(f"--samples {samples}: expected how many to add, at least 1")
    if design.samples is None:
        raise InputError(
            f"study {definition.name!r} has a design of method {design.method!r}, which has no samples: add "
            "values or rows at the end of its file and run that again"
        )
    if design.method == "latin_hypercube":
        more: int | tuple[int, ...] = (*design.blocks, samples)
    else:
        more = sum(design.blocks) + samples
    # validated again: saltelli takes powers of two alone
    values = {
        **definition.model_dump(mode="json"),
        "design": {**design.model_dump(mode="json"), "samples": more},
    }
    return parse_study(values, f"study {definition.name!r}")


def _digest(definition: Definition, target: Target) -> str:
    design: dict[str, Any] = definition.design.model_dump(mode="json")
    if definition.design.file is not None and is_file(definition.design.file):
        design["file"] = file_digest(definition.design.file)
    # the key of a pipeline holds the versions of its stages and the contents of the files that it reads
    version = target.version if target.stage is not None else target.key({})
    what = {
        "target": target.name, "version": version, "base": dict(target.base),
        "inputs": dict(target.inputs), "design": design, "keep": definition.run.keep,
    }  # fmt: skip
    return hashlib.sha256(canonical(what)).hexdigest()


def _rows(numbers: list[int], values: Mapping[str, list[Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for i, number in enumerate(numbers):
        yield number, {name: column[i] for name, column in values.items()}


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())
