"""The Dockerfile: pinned, small, without root, and for the same Python and libraries as the rest."""

import re
import tomllib

from deploy_files import DEPLOY

TEXT = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]


def test_targets_and_their_order():
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE)
    known = {"${PYTHON_IMAGE}"}
    for source, name in stages:
        assert source in known
        known.add(name)
    assert [name for _, name in stages][-1] == "cpu"
    assert {"cpu", "gpu"} <= known
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.1\d\.\d+-slim-\w+$", TEXT, re.MULTILINE)


def test_every_install_is_pinned_and_every_extra_exists():
    installs = re.findall(r"pip install [^&\n]*", TEXT.replace("\\\n", ""))
    assert len(installs) == 3
    assert all("--constraint constraints" in line for line in installs)
    extras = set(",".join(re.findall(r'"\.\[([\w,]+)\]"', TEXT)).split(","))
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_image_has_the_drivers_of_the_compose_file():
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["deploy"]]
    names = {re.match(r"[\w-]+", entry)[0].lower() for entry in wanted}
    assert {"psycopg", "obstore", "prefect", "dask"} <= names


def test_no_root_and_no_foreign_host():
    run = TEXT[TEXT.index("FROM base AS run") :]
    assert re.search(r"^USER 10001:10001$", run, re.MULTILINE)
    assert "USER" not in run[run.index("USER 10001:10001") + 5 :]
    hosts = set(re.findall(r"https?://([\w.-]+)", TEXT))
    assert hosts == {"download.pytorch.org"}


def test_system_libraries_are_installed():
    from check_system import LIBRARIES

    assert all(f" {package} " in TEXT for package in LIBRARIES.values())


def test_everything_copied_is_let_in_and_exists():
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE):
        copied |= set(line.split()[:-1])
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((DEPLOY.parent / name).exists() for name in copied)
