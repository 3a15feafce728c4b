"""The Kubernetes manifests: valid, without secrets, restricted, and consistent with each other."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from deploy_files import DEPLOY, compose, program

FOLDER = DEPLOY / "kubernetes"
VERSION = "1.33"
DOCUMENTED = (DEPLOY.parent / "docs" / "deploy.md").read_text()


def _documents() -> list[dict]:
    every = (yaml.safe_load_all(file.read_text()) for file in sorted(FOLDER.glob("*.yaml")))
    return [entry for entry in itertools.chain(*every) if entry["kind"] != "Kustomization"]


DOCUMENTS = _documents()
NAMES = [f"{entry['kind']}-{entry['metadata']['name']}" for entry in DOCUMENTS]
WORKLOADS = {
    entry["metadata"]["name"]: entry for entry in DOCUMENTS if entry["kind"] in ("Deployment", "StatefulSet")
}


def _pod(name: str) -> dict:
    return WORKLOADS[name]["spec"]["template"]["spec"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_schema(document):
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(document, VERSION, strict=True)
    with pytest.raises(validator.ValidationError, match="notAField"):
        validator.validate({**document, "notAField": 1}, VERSION, strict=True)


def test_kustomization_lists_every_file():
    content = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    others = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "dask-workers-gpu.yaml"}
    assert set(content["resources"]) == others


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_are_restricted_and_limited(name):
    pod = _pod(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        assert re.search(r":v?\d+\.\d+[\w.-]*$", container["image"])
        mounted = {entry["name"] for entry in container["volumeMounts"]}
        claims = {
            entry["metadata"]["name"] for entry in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
        }
        assert mounted == {entry["name"] for entry in pod["volumes"]} | claims


@pytest.mark.parametrize("name", WORKLOADS)
def test_secrets_are_referenced_and_documented(name):
    for container in _pod(name)["containers"]:
        for variable in container.get("env", []):
            if re.search("PASSWORD|AUTH_STRING|SECRET", variable["name"]):
                reference = variable["valueFrom"]["secretKeyRef"]
                assert f"secret generic {reference['name']}" in DOCUMENTED
                assert f"{reference['key']}=" in DOCUMENTED
            elif "@" in variable.get("value", ""):
                assert re.match(r"[a-z+]+://\w+:\$\(\w+\)@", variable["value"])
        for source in container.get("envFrom", []):
            kind, reference = next(iter(source.items()))
            if kind == "secretRef":
                assert f"secret generic {reference['name']}" in DOCUMENTED
            else:
                assert f"ConfigMap-{reference['name']}" in NAMES
    for volume in _pod(name).get("volumes", []):
        if "secret" in volume:
            assert f"secret generic {volume['secret']['secretName']}" in DOCUMENTED
    assert not [entry for entry in DOCUMENTS if entry["kind"] == "Secret"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_variable_that_is_filled_in_comes_before(name):
    maps = {entry["metadata"]["name"]: entry["data"] for entry in DOCUMENTS if entry["kind"] == "ConfigMap"}
    for container in _pod(name)["containers"]:
        known = set()
        for source in container.get("envFrom", []):
            known |= set(maps.get(source.get("configMapRef", {}).get("name"), {}))
        for variable in container.get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= known
            known.add(variable["name"])


def test_who_may_reach_whom():
    policies = [entry["spec"] for entry in DOCUMENTS if entry["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} in policies
    allowed = {}
    for policy in policies:
        for rule in policy.get("ingress", []):
            sources = rule["from"][0]["podSelector"]["matchExpressions"][0]["values"]
            for target in policy["podSelector"]["matchExpressions"][0]["values"]:
                allowed[target] = (set(sources), {port["port"] for port in rule.get("ports", [])})
    assert set(allowed) | {"serve"} == set(WORKLOADS)
    assert set().union(*(sources for sources, _ in allowed.values())) <= set(WORKLOADS)
    assert allowed["prefect-database"] == ({"prefect-server"}, {5432})
    workers = {"dask-worker", "dask-worker-gpu"}
    assert allowed["catalog-database"] == ({"serve"} | workers, {5432})
    assert allowed["dask-scheduler"] == ({"serve"} | workers, {8786})


def test_services_select_pods_that_listen_there():
    for service in (entry for entry in DOCUMENTS if entry["kind"] == "Service"):
        pod = WORKLOADS[service["spec"]["selector"]["app"]]["spec"]["template"]
        assert pod["metadata"]["labels"] == service["spec"]["selector"]
        open_ports = {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["port"] for port in service["spec"]["ports"]} <= open_ports
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"


@pytest.mark.parametrize(
    ("name", "files"),
    [("prefect-server", ("compose.yaml",)), ("serve", ("compose.yaml",))]
    + [(name, ("compose.yaml", "compose.tls.yaml")) for name in ("dask-scheduler", "dask-worker")],
)
def test_processes_are_those_of_the_compose_files_whose_start_is_tested(name, files):
    sizes = ("--nworkers", "--memory-limit")
    ours, theirs = _pod(name)["containers"][0], compose(*files)[name]
    assert _without(ours["args"], sizes) == _without(theirs["command"], sizes)
    assert ours["startupProbe"]["exec"]["command"] == theirs["healthcheck"]["test"][1:]
    program(ours["args"][0])


def _without(command: list[str], options: tuple[str, ...]) -> list[str]:
    return [
        word
        for before, word in zip(["", *command], command, strict=False)
        if word not in options and before not in options
    ]


def test_tls_variables_are_those_of_the_certificates():
    from certificates import variables

    expected = {**variables(Path("/certificates"))}
    maps = {entry["metadata"]["name"]: entry["data"] for entry in DOCUMENTS if entry["kind"] == "ConfigMap"}
    assert maps["pushforward-dask"] == expected
    assert (
        expected.items() <= compose("compose.yaml", "compose.tls.yaml")["dask-worker"]["environment"].items()
    )
