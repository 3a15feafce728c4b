"""Deployment files: what they give, and every mistake named before a server starts."""

import pytest

from kernels.errors import InputError
from pipelines.config import SHIPPED
from pipelines.schedules import load_deployments, load_nightly

GOOD = """
[[deployment]]
name = "night"
pipeline = "nightly"
config = "mine.toml"
cron = "0 2 * * 1-5"
timezone = "Europe/Paris"
retries = 1
"""


def write(folder, text, config="[pipeline.design]\ntrain = 8\n"):
    (folder / "mine.toml").write_text(config)
    file = folder / "deployments.toml"
    file.write_text(text)
    return file


def test_the_shipped_file_is_good():
    stated = load_deployments(SHIPPED / "deployments.toml")
    assert [(one.name, one.pipeline) for one, _ in stated] == [
        ("nightly", "nightly"),
        ("by-hand", "surrogate"),
    ]
    assert stated[0][1]["pipeline"]["design"]["train"] == 120


def test_configs_lie_beside_the_file(tmp_path):
    files = '[pipeline]\nsource = "files"\nfiles = ["results"]\n'
    ((one, config),) = load_deployments(write(tmp_path, GOOD, files))
    assert (one.cron, one.timezone, one.interval) == ("0 2 * * 1-5", "Europe/Paris", None)
    assert config["pipeline"]["files"] == [str(tmp_path / "results")]
    assert load_nightly(tmp_path / "mine.toml").surrogate.source == "files"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"field 'deployment' is \{\}: Field required"),
        ("deployment = []", "at least 1 item"),
        (GOOD.replace("0 2 * * 1-5", "at noon"), r"'at noon': .*expected five cron fields, such as '0 2"),
        (GOOD.replace("0 2 * * 1-5", "0 99 * * *"), "expected five cron fields"),
        (GOOD.replace("Europe/Paris", "Mars/Base"), "expected an IANA time zone such as 'Europe/Paris'"),
        (GOOD.replace("cron =", "corn ="), r"unknown field 'deployment.0.corn'"),
        (GOOD + "interval = 60\n", "cron and interval are both given; expected one of them"),
        (GOOD.replace('cron = "0 2 * * 1-5"', "interval = 1"), "greater than or equal to 10"),
        (GOOD + GOOD, r"the names \['night'\] are given twice"),
        (
            GOOD.replace('"nightly"', '"os.system"'),
            "Input should be 'surrogate', 'operator', 'closure' or 'nightly'",
        ),
        (GOOD.replace('"night"', '"../x"'), "String should match pattern"),
        (GOOD.replace("mine.toml", "lost.toml"), r"deployment 'night': there is no config file lost\.toml"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_deployments(write(tmp_path, text))


def test_a_mistake_in_a_config_is_named(tmp_path):
    with pytest.raises(InputError, match=r"mine\.toml: unknown field 'pipeline\.desing'"):
        load_deployments(write(tmp_path, GOOD, "[pipeline.desing]\ntrain = 8\n"))
    with pytest.raises(InputError, match=r"mine\.toml: source is \"files\" but files is empty"):
        load_deployments(write(tmp_path, GOOD, '[pipeline]\nsource = "files"\n'))
