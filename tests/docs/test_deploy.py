"""The files of deploy/: their form, and that names, ports and settings fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from speculative.cli.docs import help_of
from speculative.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text()))
SKY: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "skypilot.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VLLM_FLAGS = {"--model", "--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-scale-out"}


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
    assert set(of("Service")) == set(of("Deployment"))
    for name, service in of("Service").items():
        assert service["spec"]["selector"] == {"app": name}
        (container,) = of("Deployment")[name]["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])


def test_the_service_is_told_the_addresses_of_the_models() -> None:
    (settings,) = (one["data"] for one in of("ConfigMap").values())
    assert all(is_setting(name) for name in settings)
    for role in ("big", "small"):
        (port,) = of("Service")[role]["spec"]["ports"]
        assert settings[f"{PREFIX}{role.upper()}"] == f"http://{role}:{port['port']}/v1"


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
    assert all({flag.partition("=")[0] for flag in one.get("args", ())} <= VLLM_FLAGS for one in containers())


def test_the_time_to_stop_is_longer_than_the_drain() -> None:
    seconds = of("Deployment")["speculative"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert seconds > Settings.model_fields["drain"].default
    assert int(COMPOSE["services"]["speculative"]["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain"].default


def test_compose_names_services_and_settings_that_exist() -> None:
    service = COMPOSE["services"]["speculative"]
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    assert all(is_setting(name) for name in service["environment"])


def test_skypilot_has_known_keys_and_flags_of_the_service() -> None:
    assert set(SKY) <= {"name", "workdir", "envs", "resources", "setup", "run", "num_nodes", "file_mounts", "service"}
    assert set(SKY["resources"]) <= {"accelerators", "disk_size", "ports", "cloud", "region", "image_id", "memory", "cpus"}
    flags = set(re.findall(r"(--[\w-]+)", SKY["run"]))
    known = set(re.findall(r"--[\w-]+", help_of("serve")))
    assert flags <= known
    assert set(re.findall(r"\$(\w+)", SKY["run"])) <= set(SKY["envs"])
