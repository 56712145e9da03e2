"""What cluster/kubernetes renders to, and what cluster/docker says, to be asked about."""

from __future__ import annotations

import configparser
import functools
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "cluster" / "kubernetes"
DOCKER = ROOT / "cluster" / "docker"
VARIANTS = ("volume", "s3", "cpu")
COMPONENT = "app.kubernetes.io/component"


@functools.cache
def rendered(variant: str) -> tuple[dict[str, Any], ...]:
    """Return the objects of a variant, as kubectl would send them."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / variant)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(variant: str, *kinds: str) -> list[dict[str, Any]]:
    """Return the objects of some kinds."""
    return [each for each in rendered(variant) if each["kind"] in kinds]


def pods(variant: str) -> dict[str, dict[str, Any]]:
    """Return component -> pod template of all that run."""
    templates = [each["spec"]["template"] for each in of_kind(variant, "Deployment", "Job")]
    return {each["metadata"]["labels"][COMPONENT]: each for each in templates}


def container(variant: str, component: str) -> dict[str, Any]:
    """Return the one container of a component's pod."""
    (found,) = pods(variant)[component]["spec"]["containers"]
    return found


def option(arguments: list[str], name: str) -> str:
    """Return the value of an option in a command line."""
    return arguments[arguments.index(name) + 1]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector matches labels."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", ())
    )


# ---- Dockerfiles


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with what follows each."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / dockerfile).read_text(), flags=re.MULTILINE).replace(
        "\\\n", " "
    )
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def copied(dockerfile: str) -> Iterator[str]:
    """Yield what is copied from the repository."""
    for name, rest in instructions(dockerfile):
        if name == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


def image_environment(dockerfile: str) -> dict[str, str]:
    """Return the variables that an image sets."""
    words = [word for name, rest in instructions(dockerfile) if name == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def package() -> configparser.ConfigParser:
    """Return setup.cfg."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser
