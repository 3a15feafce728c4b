"""The Slurm scripts: their settings anywhere, real jobs where Slurm is installed (-m slurm)."""

import os
import subprocess
import sys
from pathlib import Path

import cluster
import pytest
from certificates import make_certificates
from deploy_files import DEPLOY, program
from slurm_node import cluster_settings

SCRIPTS = DEPLOY / "slurm"

ON_WORKERS = """
import os
from distributed import Client
from kernels.errors import InputError

def where(number):
    import numpy as np
    return os.environ["SLURM_JOB_ID"], float(np.linalg.norm(np.full(4, float(number))))

with Client(os.environ["PUSHFORWARD_SCHEDULER"]) as client:
    client.wait_for_workers(2, timeout=60)
    results = client.gather(client.map(where, range(20)))
jobs = {job for job, _ in results}
assert [value for _, value in results] == [2.0 * number for number in range(20)], results
print("jobs", len(jobs), "sum", sum(value for _, value in results))
"""


def test_the_example_is_complete(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = cluster.load(SCRIPTS / "cluster.toml")
    assert (settings.jobs, settings.processes) == (4, 16)
    assert settings.certificates == str(tmp_path / ".pushforward" / "certificates")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs = ", r"Invalid value"),
        ("jobz = 3", r"unknown field 'jobz'; known are: jobs, cores"),
        ("jobs = 3", r"missing 3 required"),
        (
            "jobs = 1\ncores = 1\nmemory = '1GB'\ncertificates = '$NOT_THERE/x'",
            r"'\$NOT_THERE/x' names an env",
        ),
    ],
)
def test_wrong_settings_name_the_field(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(cluster.ClusterError, match=message):
        cluster.load(tmp_path / "c.toml")


def test_a_site_without_slurm_or_certificates_is_one_message(tmp_path, monkeypatch, capsys):
    file = cluster_settings(tmp_path)
    monkeypatch.setattr(cluster.shutil, "which", lambda _name: None)
    assert cluster.main([file]) == 1
    assert "there is no sbatch here" in capsys.readouterr().err
    monkeypatch.setattr(cluster.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert cluster.main([file]) == 1
    assert (
        "lacks ca.pem, dask.pem, dask-key.pem: run python deploy/certificates.py" in capsys.readouterr().err
    )


def test_the_job_script_asks_for_what_the_settings_say_and_holds_no_secret(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PUSHFORWARD_DATABASE_URL", "postgresql+psycopg://u:geheim@h/d")
    script = cluster.job_script(
        cluster.load(
            Path(
                cluster_settings(
                    tmp_path, queue="long", gpus=2, walltime="00:10:00", prologue=["module load x"]
                )
            )
        )
    )
    for line in ("-p long", "-t 00:10:00", "--mem=954M", "--gres=gpu:2", "--export=ALL"):
        assert f"#SBATCH {line}\n" in script
    assert "module load x\n" in script
    assert "--resources GPU=1" in script
    assert "--tls-ca-file" in script
    assert "geheim" not in script


def test_termination_is_passed_on_to_the_command(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import cluster, signal, types\n"
        "signal.signal(signal.SIGTERM, cluster._terminate)\n"
        "where = types.SimpleNamespace(scheduler_address='tls://x:1')\n"
        "cluster.run(where, ['bash', '-c', sys.argv[3], 'child', sys.argv[2]])\n"
    )
    mark, child = tmp_path / "interrupted", "trap 'touch $1; kill $!; exit 130' INT; echo up; sleep 60 & wait"
    command = [sys.executable, "-c", script, str(SCRIPTS), str(mark), child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout.readline() == b"up\n"
        started.terminate()
        assert b"Terminated" in started.stderr.read()
    assert mark.exists()


def test_shell_scripts_parse_and_hold_no_secret():
    for name in ("run.sbatch", "environment.example"):
        subprocess.run(["bash", "-n", str(SCRIPTS / name)], check=True)
    assert ":password@" not in (SCRIPTS / "environment.example").read_text()
    program("pushforward")


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_workers_are_slurm_jobs_and_are_gone_afterwards(slurm, tmp_path):
    make_certificates(tmp_path / "certificates", ["127.0.0.1"])
    settings = cluster_settings(tmp_path, log_directory=str(tmp_path / "logs"), interface="lo", wait=90)
    command = [sys.executable, str(SCRIPTS / "cluster.py"), settings, "--", sys.executable, "-c", ON_WORKERS]
    environment = {**slurm, "PYTHONPATH": str(DEPLOY.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    logs = "\n".join(file.read_text()[-2000:] for file in (tmp_path / "logs").glob("*"))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{logs}"
    address, result = done.stdout.strip().splitlines()
    assert address.startswith("tls://")
    assert result == "jobs 2 sum 380.0"
    left = subprocess.run(
        ["squeue", "--noheader", "--states=R,PD"], env=slurm, capture_output=True, check=True
    )
    assert left.stdout == b""


@pytest.mark.slurm
@pytest.mark.timeout(120)
def test_without_a_command_it_stays_until_it_is_ended_and_takes_its_jobs_along(slurm, tmp_path):
    make_certificates(tmp_path / "certificates", ["127.0.0.1"])
    settings = cluster_settings(tmp_path, log_directory=str(tmp_path / "logs"), interface="lo", wait=90)
    command = [sys.executable, str(SCRIPTS / "cluster.py"), settings]
    jobs = ["squeue", "--noheader", "--states=R,PD"]
    with subprocess.Popen(command, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout.readline().startswith(b"tls://")
        assert b"workers of 2" in started.stderr.readline()
        assert len(subprocess.check_output(jobs, env=slurm).splitlines()) == 2
        started.terminate()
        assert started.wait(60) == 130
    assert subprocess.check_output(jobs, env=slurm) == b""


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_the_status_of_the_command_is_that_of_the_job(slurm, tmp_path):
    make_certificates(tmp_path / "certificates", ["127.0.0.1"])
    settings = cluster_settings(
        tmp_path, jobs=1, log_directory=str(tmp_path / "logs"), interface="lo", wait=90
    )
    environment = {
        **slurm,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PUSHFORWARD_CHECKOUT": str(DEPLOY.parent),
    }
    for arguments, status in ((["--version"], 0), (["frobnicate"], 2)):
        log = tmp_path / f"driver{status}.log"
        options = ["--wait", "--mem=1G", "--cpus-per-task=1", f"--output={log}"]
        done = subprocess.run(
            ["sbatch", *options, str(SCRIPTS / "run.sbatch"), settings, *arguments],
            env=environment,
            capture_output=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == status, log.read_text()
    assert "1 workers of 1" in (tmp_path / "driver0.log").read_text()
