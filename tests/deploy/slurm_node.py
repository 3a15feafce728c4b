"""A Slurm of one node on this machine, for the time of a test: munged, slurmctld and slurmd in a folder."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy_files import free_ports

PROGRAMS = ("sbatch", "squeue", "sinfo", "scancel", "munged", "slurmctld", "slurmd")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
InactiveLimit=0
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def cluster_settings(folder: Path, **given: object) -> str:
    """A cluster.toml in the folder, of two small jobs but for what is given; its path."""
    values = {"jobs": 2, "cores": 1, "memory": "1GB", "certificates": str(folder / "certificates"), **given}
    file = folder / "cluster.toml"
    lines = (f"{name} = {value!r}".replace("'", '"') for name, value in values.items())
    file.write_text("\n".join(lines))
    return str(file)


def missing() -> str:
    """Why no Slurm can be started here, '' where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install -y slurm-wlm munge"
    return "" if os.getuid() == 0 else "starting a Slurm of one's own needs root"


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Variables with which sbatch finds a Slurm that is up in the folder; it is taken down at the end."""
    # a driver and two workers run at once on however few cores
    cpus, memory = (
        max(os.cpu_count() or 1, 4),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
    )
    controller, node = free_ports(2)
    host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
    for name in ("state", "spool"):
        (folder / name).mkdir()
    values = {"host": host, "user": user, "folder": folder, "controller": controller, "node": node}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(cpus=cpus, memory=memory, **values))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}
    with contextlib.ExitStack() as stack:
        for command in _daemons(folder):
            stack.enter_context(_running(command, environment, folder))
        _wait_until_idle(environment, folder)
        yield environment
        subprocess.run(
            ["scancel", "--full", f"--user={user}"], env={**os.environ, **environment}, check=False
        )


def _daemons(folder: Path) -> list[list[str]]:
    munge = [
        f"--{option}={folder}/munge.{ending}"
        for option, ending in (
            ("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"),
            ("seed-file", "seed"),
        )
    ]  # fmt: skip
    configuration = f"{folder}/slurm.conf"
    return [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", configuration],
        ["slurmd", "-D", "-f", configuration],
    ]


@contextlib.contextmanager
def _running(command: Sequence[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    program = shutil.which(command[0], path=SEARCH) or command[0]
    with (folder / f"{command[0]}.out").open("wb") as log:
        started = subprocess.Popen(
            [program, *command[1:]], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        if command[0] == "munged":
            _wait_for(folder / "munge.socket")
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(10)


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline, (
            f"{file} does not appear: {(file.parent / 'munged.out').read_text()}"
        )
        time.sleep(0.1)


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        ask = ["sinfo", "--noheader", "--format=%T"]
        done = subprocess.run(
            ask, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.stdout.strip() == "idle":
            return
        logs = "\n".join(file.read_text()[-1500:] for file in folder.glob("*.log"))
        assert time.monotonic() < deadline, f"Slurm is not up: {done.stdout}{done.stderr}\n{logs}"
        time.sleep(0.5)
