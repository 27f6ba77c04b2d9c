"""The files of deploy/: their form, and that names, ports and settings fit together."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from speculative.cli.docs import help_of
from speculative.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text()))
SKY: dict[str, dict[str, Any]] = {file.name: yaml.safe_load(file.read_text()) for file in sorted((ROOT / "deploy").glob("skypilot*.yaml"))}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VLLM_FLAGS = {"--model", "--host", "--port", "--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-scale-out"}
ROUTER_FLAGS = {"--host", "--port", "--policy", "--worker-urls", "--worker-startup-timeout-secs", "--service-discovery"}
ROUTER_FLAGS |= {"--selector", "--service-discovery-namespace", "--service-discovery-port"}


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


def containers() -> list[dict[str, Any]]:
    return [container for one in of("Deployment").values() for container in one["spec"]["template"]["spec"]["containers"]]


def is_setting(name: str) -> bool:
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() in Settings.model_fields


@pytest.mark.parametrize("place", range(len(OBJECTS)))
def test_each_object_fits_the_schema_of_kubernetes(place: int) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(OBJECTS[place], "1.31", strict=True)


def test_every_deployment_selects_its_own_pods_and_can_be_probed() -> None:
    for name, one in of("Deployment").items():
        assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"] == {"app": name}
    for container in containers():
        ports = {port["name"] for port in container["ports"]}
        probes = [container[probe] for probe in ("startupProbe", "readinessProbe")]
        assert all(probe["httpGet"]["port"] in ports for probe in probes)


def test_every_service_reaches_a_deployment_at_a_port_that_it_has() -> None:
    assert set(of("Service")) == set(of("Deployment")) - {"big"}  # its router asks the cluster for its servers
    for name, service in of("Service").items():
        assert service["spec"]["selector"] == {"app": name}
        (container,) = of("Deployment")[name]["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])


def test_the_service_is_told_the_addresses_of_the_models() -> None:
    (settings,) = (one["data"] for one in of("ConfigMap").values())
    assert all(is_setting(name) for name in settings)
    for role, name in (("big", "router"), ("small", "small")):
        (port,) = of("Service")[name]["spec"]["ports"]
        assert settings[f"{PREFIX}{role.upper()}"] == f"http://{name}:{port['port']}/v1"


def test_the_router_finds_the_replicas_of_the_big_model() -> None:
    pod = of("Deployment")["router"]["spec"]["template"]["spec"]
    flags = dict(word.partition("=")[::2] for word in pod["containers"][0]["args"])
    big = of("Deployment")["big"]["spec"]
    label, _, value = flags["--selector"].partition("=")
    assert big["template"]["metadata"]["labels"][label] == value
    assert big["replicas"] > 1
    assert int(flags["--service-discovery-port"]) == big["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    assert int(flags["--port"]) == pod["containers"][0]["ports"][0]["containerPort"]
    account, binding = pod["serviceAccountName"], of("RoleBinding")["router"]
    assert account in of("ServiceAccount")
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account, flags["--service-discovery-namespace"])
    (rule,) = of("Role")[binding["roleRef"]["name"]]["rules"]
    assert (rule["resources"], {"list", "watch"} <= set(rule["verbs"])) == (["pods"], True)


@pytest.mark.skipif(not os.environ.get("VLLM_ROUTER"), reason="VLLM_ROUTER names no router")
def test_the_router_has_its_flags() -> None:
    told = subprocess.run([os.environ["VLLM_ROUTER"], "--help"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"--[\w-]+", told)) >= ROUTER_FLAGS
    assert "consistent_hash" in told


def test_claims_secrets_and_settings_exist() -> None:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for one in of("Deployment").values()
        for volume in one["spec"]["template"]["spec"].get("volumes", ())
        if "persistentVolumeClaim" in volume
    }
    assert claims == set(of("PersistentVolumeClaim"))
    named = {env["valueFrom"]["secretKeyRef"]["key"] for container in containers() for env in container.get("env", ())}
    head = (ROOT / "deploy" / "kubernetes.yaml").read_text().split("apiVersion")[0]
    assert named == set(re.findall(r"--from-literal=([\w-]+)=", head))
    for one in containers():
        known = ROUTER_FLAGS if one["name"] == "router" else VLLM_FLAGS
        assert {flag.partition("=")[0] for flag in one.get("args", ())} <= known


def test_the_time_to_stop_is_longer_than_the_drain() -> None:
    seconds = of("Deployment")["speculative"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert seconds > Settings.model_fields["drain"].default
    assert int(COMPOSE["services"]["speculative"]["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain"].default


def test_compose_names_services_and_settings_that_exist() -> None:
    service = COMPOSE["services"]["speculative"]
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    assert all(is_setting(name) for name in service["environment"])


@pytest.mark.parametrize("name", SKY)
def test_skypilot_has_known_keys_and_flags(name: str) -> None:
    task = SKY[name]
    assert set(task) <= {"name", "workdir", "envs", "resources", "setup", "run", "num_nodes", "file_mounts", "service"}
    assert set(task["resources"]) <= {"accelerators", "disk_size", "ports", "cloud", "region", "image_id", "memory", "cpus"}
    known = {"speculative serve": set(re.findall(r"--[\w-]+", help_of("serve"))), "vllm serve": VLLM_FLAGS, "vllm-router": ROUTER_FLAGS}
    commands = task["run"].replace("\\\n", " ").splitlines()
    for program, flags in known.items():
        for line in commands:
            if f"bin/{program} " in line:
                assert set(re.findall(r"(--[\w-]+)", line)) <= flags
    assert set(re.findall(r"\$([A-Z]+)", task["run"])) <= set(task["envs"])


@pytest.mark.parametrize("name", SKY)
@pytest.mark.parametrize("part", ["setup", "run"])
def test_the_shell_reads_the_commands_of_skypilot(name: str, part: str) -> None:
    read = subprocess.run(["bash", "-n"], input=SKY[name][part], text=True, capture_output=True)
    assert not read.stderr
    assert read.returncode == 0


@pytest.mark.parametrize("name", SKY)
def test_skypilot_itself_reads_the_file(name: str) -> None:
    sky = pytest.importorskip("sky")
    task = sky.Task.from_yaml(str(ROOT / "deploy" / name))
    assert task.name
    assert task.run


def test_replicas_and_their_router_have_ports_that_fit_together() -> None:
    run = SKY["skypilot-replicas.yaml"]["run"]
    (servers,) = re.findall(r"for gpu in ([\d ]+);", run)
    (base,) = re.findall(r"--port (\d+)\$gpu", run)
    (workers,) = re.findall(r"--worker-urls (.*) &", run)
    assert workers.split() == [f"http://127.0.0.1:{base}{gpu}" for gpu in servers.split()]
    (port,) = re.findall(r"vllm-router .*?--port (\d+)", run)
    assert f"--big http://127.0.0.1:{port}/v1" in run
    assert f"http://127.0.0.1:{port}/v1/models" in run


def test_big_scores_at_flat_cost_wherever_it_is_started() -> None:
    (container,) = of("Deployment")["big"]["spec"]["template"]["spec"]["containers"]
    assert "--enable-scale-out" in container["args"]
    assert "--enable-scale-out" in COMPOSE["services"]["big"]["command"]
