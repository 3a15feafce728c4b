"""What keeps a run from working here, found before it starts, each with the remedy in one line."""

import difflib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from kernels.errors import InputError
from pipelines import _doctor_gpu as gpu
from pipelines import _doctor_machine as machine
from pipelines import _doctor_packages as packages
from pipelines import _doctor_services as services
from pipelines._doctor_finding import Finding
from pipelines.settings import Settings
from pipelines.settings import settings as settings_of

__all__ = ["Finding", "diagnose", "examine", "print_findings"]

DEADLINE = 9.0
"""Seconds after which a check that has not answered is given up; all run side by side."""

_PREFIX = "PUSHFORWARD_"
_OTHER_VARIABLES = (
    "STORE_URL", "SCHEDULER", "REFERENCE_DATA", "FLOW_PROCESS", "CHECKOUT",
    # of the compose files
    "PREFECT_PASSWORD", "CATALOG_PASSWORD", "STORE_KEY_ID", "STORE_KEY", "PREFECT_AUTH", "PREFECT_UI_URL",
    "BIND", "WORKER_MEMORY", "GPUS", "IMAGE", "GPU_IMAGE", "TARGET", "CERTIFICATES",
)  # fmt: skip

Check = Callable[[], Finding | Sequence[Finding]]


def diagnose(**given: object) -> list[Finding]:
    """Findings for the given values of settings; a wrong one is a finding, and the rest is looked at all
    the same.
    """
    try:
        return examine(settings_of(**given))
    except InputError as error:
        wrong = Finding(
            "settings", "failure", str(error), "correct the named option or variable, then run doctor again"
        )
    return [wrong, *(entry for entry in examine(Settings.model_construct()) if entry.name != "settings")]


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a run needs, in under 10 s; never raises.

    Every check runs by itself: one that fails in a way nobody thought of, or does not come back, is a
    finding, and the others are not touched.
    """
    return _run_all(_checks(settings), DEADLINE)


def print_findings(findings: Sequence[Finding], form: Literal["table", "json", "csv"]) -> None:
    """Print the findings on stdout, in the order they were made."""
    import dataclasses

    import pandas as pd

    from pipelines.tables import print_frame

    columns = [field.name for field in dataclasses.fields(Finding)]
    rows = [dataclasses.astuple(finding) for finding in findings]
    print_frame(pd.DataFrame(rows, columns=columns), form)


def _setting(settings: Settings, name: str) -> Any:
    """Value of a setting, from PUSHFORWARD_<NAME> where Settings does not carry it."""
    value = getattr(settings, name, None)
    return value if value is not None else os.environ.get(f"{_PREFIX}{name.upper()}") or None


def _checks(settings: Settings) -> dict[str, Check]:
    project = Path(_setting(settings, "project") or "pushforward_project")
    workers = int(_setting(settings, "workers") or 0)
    database = _text(_setting(settings, "database_url"))
    store = _text(_setting(settings, "store_url"))
    scheduler = _text(_setting(settings, "scheduler"))
    return {
        "settings": variables,
        "python": packages.python,
        "packages": packages.bounds,
        "pinned packages": packages.pins,
        "package names": packages.collisions,
        "system libraries": machine.libraries,
        "GPU": gpu.gpu,
        "threads": lambda: machine.threads(0 if scheduler else workers),
        "memory": lambda: machine.memory(0 if scheduler else workers),
        "open files": machine.open_files,
        "project folder": lambda: machine.writable("project folder", project),
        "project disk": lambda: machine.space("project disk", project),
        "temporary disk": lambda: machine.space("temporary disk", machine.temporary()),
        "numba cache": machine.numba_cache,
        "database": lambda: services.database(database, project),
        "store": lambda: services.store(store, project),
        "Prefect": services.prefect,
        "Dask": lambda: services.dask(scheduler),
    }


def _text(value: Any) -> str | None:
    reveal = getattr(value, "get_secret_value", None)
    text = str(reveal() if reveal else value) if value is not None else ""
    return text or None


def variables() -> Finding:
    """Whether every PUSHFORWARD_* variable is one that is read: a misspelt one would be passed over."""
    known = sorted({name.upper() for name in (*Settings.model_fields, *_OTHER_VARIABLES)})
    given = sorted(name for name in os.environ if name.startswith(_PREFIX))
    for name in given:
        ending = name.removeprefix(_PREFIX)
        if ending not in known:
            near = difflib.get_close_matches(ending, known, n=1)
            hint = f"did you mean {_PREFIX}{near[0]}?" if near else f"known endings are: {', '.join(known)}"
            return Finding("settings", "warning", f"{name} is set and nothing reads it", hint)
    return Finding("settings", "ok", ", ".join(given) or "defaults: no PUSHFORWARD_* variable is set")


def _run_all(checks: dict[str, Check], seconds: float) -> list[Finding]:
    results: dict[str, list[Finding]] = {}
    threads = {
        name: threading.Thread(target=_isolated, args=(name, check, results), daemon=True)
        for name, check in checks.items()
    }
    deadline = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {seconds:g} s"
    remedy = "something it reads hangs: a dead network drive, a name server, or a host that drops packets"
    return [
        finding
        for name in checks
        for finding in results.get(name, [Finding(name, "failure", silent, remedy)])
    ]


def _isolated(name: str, check: Check, results: dict[str, list[Finding]]) -> None:
    try:
        done = check()
        results[name] = [done] if isinstance(done, Finding) else list(done)
    except BaseException as error:  # noqa: BLE001 - the doctor reports whatever breaks a check
        found = f"the check itself failed: {type(error).__name__}: {error}".split("\n")[0]
        results[name] = [Finding(name, "failure", found, "correct the setting it names, or report this line")]
