"""Dask workers as Slurm jobs: start a cluster of fixed size, run a command on it, and take it down again.

    python deploy/slurm/cluster.py deploy/slurm/cluster.toml -- pushforward run surrogate

Without a command it prints the scheduler's address and stays until it is interrupted. The size is fixed
(`scale`): the adaptive mode of dask-jobqueue loses work, and a killed run goes on from what it has finished.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from certificates import variables  # noqa: E402


@dataclass(frozen=True)
class ClusterSettings:
    """What a Slurm site needs to know.

    jobs: Slurm jobs. cores, memory: of each job. processes: Dask workers in each job, by default one a core.
    walltime: of each job, as Slurm writes it. queue, account: partition and account, where the site has them.
    interface: network interface between nodes, as ib0. local_directory: fast disk of a node.
    log_directory: where the jobs' output goes. certificates: folder made by deploy/certificates.py, on a file
    system that every node sees. directives: further #SBATCH lines. prologue: shell lines before the worker
    starts. gpus: GPUs of each job; each worker then offers the Dask resource GPU=1.
    wait: seconds until the first worker must be there.
    """

    jobs: int
    cores: int
    memory: str
    certificates: str
    processes: int | None = None
    walltime: str = "01:00:00"
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    local_directory: str | None = None
    log_directory: str = "slurm-logs"
    directives: list[str] = field(default_factory=list)
    prologue: list[str] = field(default_factory=list)
    gpus: int = 0
    wait: int = 600


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the wall time is over, or somebody cancelled the job."""


class ClusterError(Exception):
    """A wrong setting, or a site that gives no worker: the message says what to do."""


def load(file: Path) -> ClusterSettings:
    """Settings from a TOML file; environment variables in its texts are filled in.

    Raises ClusterError naming the file and the field.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ClusterError(f"{file}: {error}; see deploy/slurm/cluster.toml for an example") from error
    known = [entry.name for entry in fields(ClusterSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ClusterError(f"{file}: unknown field {unknown[0]!r}; known are: {', '.join(known)}")
    try:
        return ClusterSettings(**{name: _filled(value) for name, value in values.items()})
    except TypeError as error:
        raise ClusterError(f"{file}: {str(error).partition(') ')[2] or error}") from error


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(entry) for entry in value]
    if not isinstance(value, str):
        return value
    filled = os.path.expandvars(os.path.expanduser(value))
    if "$" in filled:
        raise ClusterError(f"{value!r} names an environment variable that is not set: export it")
    return filled


def start(settings: ClusterSettings) -> Any:
    """A SLURMCluster of the settings, with TLS; its jobs are in the queue, perhaps not yet running.

    Raises ClusterError where sbatch or the certificates are missing.
    """
    if shutil.which("sbatch") is None:
        raise ClusterError("there is no sbatch here: run this on a login node of the Slurm site")
    folder = Path(settings.certificates)
    missing = [name for name in ("ca.pem", "dask.pem", "dask-key.pem") if not (folder / name).is_file()]
    if missing:
        raise ClusterError(
            f"{folder} lacks {', '.join(missing)}: run python deploy/certificates.py {folder} first, on a "
            "file system that every node sees"
        )
    os.environ.update(variables(folder))
    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        **_job(settings), protocol="tls://", scheduler_options={"dashboard_address": "127.0.0.1:0"}
    )
    cluster.scale(jobs=settings.jobs)
    return cluster


def job_script(settings: ClusterSettings) -> str:
    """The script that sbatch gets for each job of workers."""
    from dask_jobqueue.slurm import SLURMJob

    return SLURMJob("tls://SCHEDULER:8786", name="worker", protocol="tls://", **_job(settings)).job_script()


def _job(settings: ClusterSettings) -> dict[str, Any]:
    from distributed import Security

    folder = Path(settings.certificates)
    pairs = {
        f"tls_{role}_{kind}": str(folder / f"dask{ending}.pem")
        for role in ("scheduler", "worker", "client")
        for kind, ending in (("cert", ""), ("key", "-key"))
    }
    return {
        "cores": settings.cores,
        "processes": settings.processes or settings.cores,
        "memory": settings.memory,
        "walltime": settings.walltime,
        "queue": settings.queue,
        "account": settings.account,
        "interface": settings.interface,
        "local_directory": settings.local_directory,
        "log_directory": settings.log_directory,
        "python": sys.executable,
        "security": Security(require_encryption=True, tls_ca_file=str(folder / "ca.pem"), **pairs),
        "job_extra_directives": _directives(settings),
        "job_script_prologue": settings.prologue,
        "worker_extra_args": ["--resources", "GPU=1"] if settings.gpus else [],
    }


def _directives(settings: ClusterSettings) -> list[str]:
    # the workers' environment, secrets too, comes through Slurm and is written to no job script
    gpus = [f"--gres=gpu:{settings.gpus}"] if settings.gpus else []
    return ["--export=ALL", *gpus, *settings.directives]


def wait_for_workers(cluster: Any, seconds: float) -> int:
    """Number of workers, once there is one.

    Raises ClusterError after the seconds: the jobs wait in the queue, or died; their logs tell.
    """
    deadline = time.monotonic() + seconds
    while not cluster.scheduler_info["workers"]:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"no worker within {seconds:g} s: look at squeue, and at the logs in the folder log_directory"
            )
        time.sleep(0.5)
    return len(cluster.scheduler_info["workers"])


def run(cluster: Any, command: Sequence[str]) -> int:
    """Run the command with PUSHFORWARD_SCHEDULER set; its exit status. An interruption is passed on to it."""
    environment = os.environ | {"PUSHFORWARD_SCHEDULER": cluster.scheduler_address}
    child = subprocess.Popen(list(command), env=environment)
    try:
        return child.wait()
    except KeyboardInterrupt as reason:
        if isinstance(reason, Terminated):  # Ctrl-C reaches it by itself
            child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(60)
        raise
    finally:
        child.kill()


def _terminate(_number: int, _frame: Any) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Status of the command, 1 for a failure the user can mend, 130 for an interruption."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("settings", type=Path)
    parser.add_argument("command", nargs="*", help="after --; without one the cluster stays until Ctrl-C")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        settings = load(given.settings)
        with start(settings) as cluster:
            sys.stdout.write(f"{cluster.scheduler_address}\n")
            sys.stdout.flush()
            count = wait_for_workers(cluster, settings.wait)
            sys.stderr.write(f"{count} workers of {settings.jobs * (settings.processes or settings.cores)}\n")
            if given.command:
                return run(cluster, given.command)
            threading.Event().wait()
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
