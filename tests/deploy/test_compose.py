"""The compose files: valid, without secrets, closed to the outside, and with programs that exist."""

import itertools
import json
import re
from importlib.resources import files

import jsonschema
import pytest
import yaml
from deploy_files import DEPLOY, SECRETS, VARIABLE, compose, filled, program

ALONE = ("compose.yaml", "compose.tls.yaml", "compose.gpu.yaml")
STACKS = (ALONE[:1], ALONE[:2], (ALONE[0], ALONE[2]))
OUR_IMAGE = "pushforward:0.1.0-"
DOCUMENTED = (DEPLOY.parent / "docs" / "deploy.md").read_text()


@pytest.mark.parametrize("name", ALONE)
def test_schema(name):
    schemas = pytest.importorskip("check_jsonschema").__name__ + ".builtin_schemas.vendor"
    schema = json.loads(files(schemas).joinpath("compose-spec.json").read_text())
    content = yaml.safe_load((DEPLOY / name).read_text())
    jsonschema.Draft202012Validator(schema).validate(content)
    content["services"]["dask-worker"]["comand"] = []
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft202012Validator(schema).validate(content)


@pytest.mark.parametrize("name", ALONE)
def test_every_variable_is_documented_and_every_secret_required(name):
    found = list(VARIABLE.finditer((DEPLOY / name).read_text()))
    assert {match["name"] for match in found if f"`{match['name']}`" not in DOCUMENTED} == set()
    for match in found:
        if match["name"] in SECRETS:
            assert (match["operator"], len(" ".join(match["text"].split())) > 20) == (":?", True), match[0]


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_missing_secret_stops_with_a_message_that_names_it(missing):
    with pytest.raises(KeyError, match=rf"{missing}: set it to"):
        compose(*ALONE[:2], environment={**SECRETS, missing: ""})


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_is_written_down(stack):
    for service in compose(*stack, environment=None).values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH_STRING|SECRET|ACCESS_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
            elif "@" in value:
                assert re.match(r"[a-z+]+://\w+:\$\{\w+:\?[^}]+\}@", value), name


@pytest.mark.parametrize("stack", STACKS)
def test_services(stack):
    services = compose(*stack)
    assert set(services) >= {"prefect-server", "dask-scheduler", "dask-worker", "serve", "store"}
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert re.search(r":v?\d+\.\d+[\w.-]*$", service["image"]), f"{name}: image without a version"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for dependency, how in service.get("depends_on", {}).items():
            assert (dependency in services, how["condition"]) == (True, "service_healthy")
        if service["image"].startswith(OUR_IMAGE):
            assert service["cap_drop"] == ["ALL"]
            assert service["read_only"] is True
            program(service["command"][0])
            program(service["healthcheck"]["test"][1])


def test_ports_are_those_of_this_machine_unless_told():
    told = compose(*ALONE[:2], environment={**SECRETS, "PUSHFORWARD_BIND": "10.0.0.7"})
    published = list(itertools.chain(*(service.get("ports", []) for service in told.values())))
    assert len(published) == 4
    assert all(port.startswith("10.0.0.7:") for port in published)


def test_a_scheduler_without_tls_is_not_published():
    assert "ports" not in compose("compose.yaml")["dask-scheduler"]
    networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]
    for name in ("dask-scheduler", "dask-worker", "serve"):
        assert all(networks[network].get("internal") for network in compose("compose.yaml")[name]["networks"])


def test_urls_are_in_one_piece():
    services = compose("compose.yaml")
    urls = [
        value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if name.endswith("_URL")
    ]
    assert len(urls) == 9
    assert all(re.fullmatch(r"[a-z0-9+]+://\S+", url) for url in urls)


def test_the_bucket_of_the_store_is_the_one_that_is_used():
    services = compose("compose.yaml")
    bucket = next(
        entry.partition("=")[2] for entry in services["store"]["command"] if entry.startswith("-bucket=")
    )
    assert services["serve"]["environment"]["PUSHFORWARD_STORE_URL"].startswith(f"s3://{bucket}/")


def test_the_doctor_knows_every_variable(monkeypatch):
    from pipelines.doctor import variables

    for match in VARIABLE.finditer("".join((DEPLOY / name).read_text() for name in ALONE)):
        monkeypatch.setenv(match["name"], "geheim")
    finding = variables()
    assert (finding.state, "geheim" in finding.found) == ("ok", False)


def test_filled():
    assert filled(["${A:-x}", "${B:-y}"], {"A": "1"}) == ["1", "y"]
    with pytest.raises(KeyError, match="C: say it"):
        filled("${C:?say it}", {})
