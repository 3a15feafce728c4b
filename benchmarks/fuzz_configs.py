"""Hostile config files, read as the command line reads them: only a config or an InputError may come out.

Run from the repository: python benchmarks/fuzz_configs.py [cases [kind ...]]. Default 100,000 files in
equal parts: configs of the surrogate and the nightly pipeline, deployments, and studies as far as
`study run --dry-run` goes. Prints how many gave a config or a message; fails where anything else is raised,
where a message is too long to read, where a process or a connection is started, or where a file comes or
goes.
"""

import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "pipelines")]

from hostile_configs import LOADERS, document, outcome  # noqa: E402

WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")


def main(cases: int, kinds: list[str]) -> None:
    started: list[str] = []
    sys.addaudithook(lambda event, _: started.append(event) if event in WATCHED else None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.chdir(folder)
        (folder / "points.csv").write_text("train,seed\n4,1\n5,2\n")
        for kind in kinds:  # what is imported starts processes
            outcome(kind, document(kind, random.Random(0)), folder)
        started.clear()
        before, counts, clock = sorted(folder.rglob("*")), Counter[tuple[str, str]](), time.perf_counter()
        for kind in kinds:
            chance = random.Random(f"5 {kind}")
            for _ in range(cases // len(kinds)):
                content = document(kind, chance)
                try:
                    counts[kind, outcome(kind, content, folder)] += 1
                except BaseException:
                    print(f"{kind}: {content[:2000]!r}")
                    raise
        assert not started, started
        assert sorted(folder.rglob("*")) == before
    print(f"{cases} files in {time.perf_counter() - clock:.0f} s; no other error")
    print("| file | configs | messages |\n|---|---|---|")
    for kind in kinds:
        print(f"| {kind} | {counts[kind, 'loaded']} | {counts[kind, 'message']} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2:] or list(LOADERS))
