"""Hostile text given to the search of a catalog: only an InputError or a result may come back.

Run from the repository: python benchmarks/fuzz_catalog.py [cases]. Default 100,000 filters, addresses, tags,
names, stages, orders and parameters, on SQLite; prints how many gave a result or a message, and fails
where anything else is raised, a command is started, or a file comes or goes.
"""

import random
import string
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from catalogs.catalog import Catalog
from catalogs.rows import Record
from kernels.errors import InputError

WORDS = [
    *[
        "metrics.rmse",
        "config.modes",
        "config.kind",
        "parameters.load",
        "key",
        "stage",
        "created",
        "version",
        "seconds",
    ],
    *[
        "bytes",
        "host",
        "user",
        "code",
        "note",
        "tags",
        "in",
        "not",
        "and",
        "or",
        "(",
        ")",
        "[",
        "]",
        "<",
        "<=",
        "==",
        "!=",
        ">=",
        ">",
        ",",
        "1",
        "-1",
        ".5",
        "1e5",
        "1e999",
        "0x1",
    ],
    *[
        "'x'",
        '"t"',
        "'a\\'b'",
        "true",
        "False",
        "metrics",
        "config.",
        "../../etc/passwd",
        "%s",
        "{0}",
        "${HOME}",
        ";",
        "--",
        "/*",
        "*/",
    ],
    *["lambda:", "eval(", "None", "NULL", "@latest", "@3", "set", "set@1", "train", "é", "𝔘", "\ud800"],
    "'; DROP TABLE artifacts; --",
    "__import__('os').system('x')",
    "\0",
    "\n",
    "",
]
ACTIONS = (
    "where",
    "where",
    "where",
    "resolve",
    "tags",
    "name",
    "stage",
    "order",
    "parameter",
    "tag",
    "name it",
)


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
    if action == "resolve":
        return catalog.resolve(text)
    if action == "tag":
        return catalog.tag("a" * 32, text)
    if action == "name it":
        return catalog.name("b" * 32, text)
    if action == "parameter":
        return len(catalog.search(parameters={text: (0, 1)}))
    return len(catalog.search(**{action: text})[:2])  # type: ignore[arg-type]


def main(cases: int) -> None:
    """All cases, then the tables must be as before."""
    opened: list[str] = []
    sys.addaudithook(
        lambda event, args: opened.append(event) if event in ("os.system", "subprocess.Popen") else None
    )
    with tempfile.TemporaryDirectory() as temporary:
        catalog = Catalog(Path(temporary) / "project")
        for letter in "ab":
            record = Record(
                "make", 1, {"modes": 3, "kind": "x"}, {}, datetime.now(UTC), 0.1, metrics={"rmse": 0.5}
            )
            data = xr.Dataset({"load": ("sample", [1.0, 2.0], {"role": "parameter"})})
            catalog.publish(letter * 32, data, record)
        before, chance, counts = sorted(Path(temporary).rglob("*")), random.Random(5), Counter()
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
        assert sorted(Path(temporary).rglob("*")) == before
        assert catalog.search(order="created").keys() == ["a" * 32, "b" * 32]
        catalog.close()
    print(f"{cases} cases in {seconds:.0f} s")
    for action in dict.fromkeys(ACTIONS):
        print(f"| {action} | {counts[action, 'result']} results | {counts[action, 'message']} messages |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
