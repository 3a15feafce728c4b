"""Hostile config files: valid ones with places changed, and damaged text; and what may come of them."""

import datetime
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernels.errors import InputError
from pipelines.config import load_config
from pipelines.schedules import load_deployments, load_nightly
from pipelines.studies.definition import load_study
from pipelines.studies.driver import run_study

CANARY = "hostile_config_ran"
"""Name of a file that no case may make."""


class Raw(str):
    """Text that stands in the file as it is."""


_DESIGN = {
    "method": "latin_hypercube", "samples": 8, "seed": 3, "where": "mesh_size * notch_segments < 0.1",
    "repeats": {"count": 2, "field": "load_steps"},
    "parameters": {
        "mesh_size": {"low": 0.003, "high": 0.01, "log": True},
        "notch_segments": {"low": 8, "high": 16, "integer": True}, "tolerance": [1e-8, 1e-7],
    },
}  # fmt: skip
_RUN = {"workers": 2, "timeout": 6.5, "max_failures": 3, "batch_seconds": 2.0, "gpus": 0, "keep": "metrics"}
SKELETONS: dict[str, list[dict[str, Any]]] = {
    "surrogate": [
        {
            "source": "simulate", "design": {"train": 6, "test": 2, "seed": 1},
            "simulate": {"mesh_size": 0.008, "notch_segments": 8, "constants": {"load": 2e8}},
            "reduce": {"shape_modes": 3, "modes": {"default": 3, "stress_11": 2}},
            "train_gp": {"restarts": 1, "max_iterations": 30},
            "predict": {"draws": 16, "von_mises_from": ["stress_11", "stress_22", "stress_12", "stress_33"]},
        },
        {"source": "files", "files": ["runs"], "read": {"table": "table.csv"}, "ingest": {}},
    ],
    "nightly": [
        {"tag": "in-use", "name": "wing", "margin": 0.1, "pipeline": {"design": {"train": 6, "test": 2}}}
    ],
    "deployments": [
        {
            "deployment": [
                {"name": "nightly", "pipeline": "nightly", "config": "nightly", "cron": "0 2 * * *",
                 "timezone": "UTC", "retries": 2},
                {"name": "by-hand", "pipeline": "surrogate", "config": "surrogate", "interval": 60.0},
            ]
        }
    ],
    "study": [
        {"name": "sizes", "stage": "design", "config": {"seed": 1}, "run": _RUN,
         "design": {"method": "grid", "parameters": {
             "train": [4, 8], "seed": {"low": 0, "high": 9, "count": 3, "integer": True}}}},
        {"name": "bars", "stage": "design", "config": "surrogate_small", "inputs": {}, "run": _RUN,
         "design": {"method": "list", "points": [{"train": 4, "seed": 1}, {"train": 5, "seed": 2}]}},
        {"name": "mesh", "stage": "simulate", "config": "surrogate_small", "inputs": {"design": "bars"},
         "design": _DESIGN, "run": _RUN},
        {"name": "modes", "pipeline": "surrogate", "config": "surrogate_small",
         "design": {"method": "sobol", "samples": 4, "parameters": {
             "reduce": {"modes": {"default": {"low": 1, "high": 4, "integer": True}}}}}},
        {"name": "table", "stage": "design", "design": {"method": "table", "file": "points.csv"}},
    ],
}  # fmt: skip
TEXTS = [
    "", " ", "../../../etc/passwd", "/etc/passwd", "/dev/null", "~root", "C:\\Windows", "a/../../b", ".",
    "..", "\0", "a\0b", "\x1b[2J", "\r\n", "\u202eevil", "é", "\U0001d518", "x" * 300, "y" * 5000, "%s%n",
    "{0}",
    "{config.__class__.__mro__}", "${HOME}", f"$(touch {CANARY})", f"`touch {CANARY}`", "{{7*7}}", "None",
    "nan",
    f"__import__('os').system('touch {CANARY}')", f"!!python/object/apply:os.system ['touch {CANARY}']",
    "'; DROP TABLE artifacts; --", "http://127.0.0.1:9/x", "file:///etc/passwd", "s3://bucket/x", "1e999",
    "metrics.rmse < 1", "a < 1 or " * 50, "(" * 200, "mesh_size / 0 < 1", "model_fields", "__class__",
    "__proto__",
    "inputs.design", "design.seed", "reduce.modes.default", "simulate", "evaluate", "surrogate", "* * * * *",
    "0 2 * * * *", "@reboot", "99 99 99 99 99", "*/0 * * * *", "../UTC", "Europe/Paris", "low", "grid",
    "points.csv",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 7, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 0.0, -0.0, 0.5,
    -0.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), 1.7976931348623157e308,
]  # fmt: skip
RAW = [
    Raw("1979-05-27T07:32:00Z"), Raw("1979-05-27"), Raw("07:32:00"), Raw("0x" + "f" * 500), Raw("9" * 5000),
    Raw("1" + "0" * 4999), Raw("1e99999"), Raw("[" * 50 + "]" * 50), Raw("[" * 3000 + "]" * 3000), Raw("{}"),
    Raw("[]"), Raw("[[], {}]"), Raw("true"), Raw('"""\\\n"""'), Raw("0b" + "1" * 200),
]  # fmt: skip


def hostile_value(chance: random.Random) -> Any:
    """One value that no config expects."""
    pool = chance.choice([TEXTS, NUMBERS, NUMBERS, RAW])
    value = chance.choice(pool)
    if chance.random() < 0.1:
        value = [value] * chance.choice([1, 2, 100])
    elif chance.random() < 0.1:
        value = {chance.choice(TEXTS): value, "low": 1, "high": value}
    return value


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with one place changed, added, renamed or dropped."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return hostile_value(chance)
    if isinstance(value, list):
        place, copy = chance.randrange(len(value)), list(value)
        copy[place] = mutated(copy[place], chance)
        return copy + [copy[place]] * (chance.random() < 0.1)
    name, mapping = chance.choice(list(value)), dict(value)
    choice = chance.random()
    if choice < 0.06:
        del mapping[name]
    elif choice < 0.12:
        mapping[chance.choice(TEXTS)] = mapping.pop(name)
    elif choice < 0.18:
        mapping[chance.choice(TEXTS)] = hostile_value(chance)
    else:
        mapping[name] = mutated(mapping[name], chance)
    return mapping


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | datetime.date):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return "{" + ", ".join(f"{_quoted(name)} = {toml(entry)}" for name, entry in value.items()) + "}"


def _quoted(text: str) -> str:
    plain = "".join(
        c if c >= " " and c not in '"\\\x7f' else f"\\u{ord(c):04x}" for c in text.replace("\x7f", "")
    )
    return f'"{plain}"'


def document(kind: str, chance: random.Random) -> bytes:
    """A hostile file of a kind."""
    values = chance.choice(SKELETONS[kind])
    for _ in range(chance.choice([1, 1, 2, 3])):
        changed = mutated(values, chance)
        values = changed if isinstance(changed, dict) else values
    lines = [f"{_quoted(name)} = {toml(value)}" for name, value in values.items()]
    if chance.random() < 0.03:
        name = chance.choice(list(values) or ["x"])
        deep = ".".join([name, *["a"] * chance.choice([3, 60, 400, 4000])])
        lines = [line for line in lines if not line.startswith(f'"{name}"')] + [f"{deep} = 1"]
    text = "\n".join(lines).encode()
    if chance.random() < 0.15:
        text = damaged(text, chance)
    return text


def damaged(text: bytes, chance: random.Random) -> bytes:
    """The text cut, doubled, or with any bytes in it."""
    choice = chance.random()
    place = chance.randrange(len(text) + 1)
    if choice < 0.3:
        return text[:place]
    if choice < 0.4:
        return text + b"\n" + text[place:]
    noise = chance.choice(
        [bytes([chance.randrange(256)]), b"\0", b"\xff\xfe", b"[[", b"]", b"=", b'"""', b"\x1b["]
    )
    return text[:place] + noise + text[place + chance.randrange(2) :]


def _dry_study(file: Path) -> None:
    study = load_study(file)
    # what `study run --dry-run` does
    from pipelines.settings import settings

    run_study(study, settings(project=file.parent / "project", workers=0, quiet=True), dry_run=True)


LOADERS: dict[str, Callable[[Path], Any]] = {
    "surrogate": load_config, "nightly": load_nightly, "deployments": load_deployments, "study": _dry_study,
}  # fmt: skip
"""What the command line does first with a file of each kind."""


def outcome(kind: str, content: bytes, folder: Path) -> str:
    """'loaded' or 'message'; raises whatever is no InputError, and for a message that is no plain line."""
    file = folder / f"{kind}.toml"
    file.write_bytes(content)
    try:
        LOADERS[kind](file)
    except InputError as error:
        said = str(error)
        assert said, "a message without words"
        assert len(said) < 8000, said
        return "message"
    return "loaded"
