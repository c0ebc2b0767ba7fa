"""The compose file keeps the promises that we make about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SECRETS = {"SECRET_KEY", "REDIS_PASSWORD", "FLOWER_PASSWORD"}

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


@each_service
def test_health_is_checked(service: dict[str, Any]) -> None:
    """Every service says how to tell whether it is healthy."""
    assert service["healthcheck"]["test"]


@each_service
def test_nobody_gains_privileges(service: dict[str, Any]) -> None:
    """Every service runs on a read-only root, without capabilities to begin with."""
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


@each_service
def test_what_is_waited_for_is_healthy(service: dict[str, Any]) -> None:
    """Every service starts when those it needs are healthy, not only started."""
    needed = service.get("depends_on", {})

    assert all(need["condition"] == "service_healthy" for need in needed.values())


@each_service
def test_source_is_mounted_read_only(service: dict[str, Any]) -> None:
    """Nothing in a container can write into the project."""
    mounts = [mount for mount in service["volumes"] if mount.startswith(".")]

    assert all(mount.endswith(":ro") for mount in mounts)


def test_only_web_and_flower_are_published() -> None:
    """Web and Flower are reachable from this machine, and nothing from elsewhere."""
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}

    assert set(published) == {"web", "flower"}
    assert all(port.startswith("127.0.0.1:") for (port,) in published.values())


def test_image_does_not_run_as_root() -> None:
    """The image's last word on the user is not root."""
    users = re.findall(r"^USER (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert users[-1:] == ["app"]


def test_example_names_every_variable() -> None:
    """The example of .env has every variable that the compose file asks for."""
    asked_for = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    example = (ROOT / ".env.example").read_text()

    assert asked_for == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_no_secret_has_a_default() -> None:
    """A secret that is not set stops compose, and says where it comes from."""
    required = set(re.findall(r"\$\{(\w+):\?[^}]*\.env\.example", TEXT))
    example = (ROOT / ".env.example").read_text()

    assert required == SECRETS
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == SECRETS


def test_worker_has_time_to_finish() -> None:
    """The worker gets longer than compose's ten seconds to finish its tasks."""
    assert SERVICES["worker"]["stop_grace_period"] == "60s"
