"""The built wheel holds what a machine without this checkout needs."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gluon_nst.recipe_files import recipe_names

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # a copy: building leaves files behind
    shutil.copytree(ROOT / "gluon_nst", source / "gluon_nst", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
    ]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_recipes_parameters_and_licenses(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for record in (
            name for name in names if name.startswith("gluon_nst/weights/") and name.endswith(".json")
        ):
            known = json.loads(archive.read(record))
            data = archive.read(f"gluon_nst/weights/{known['file']}")
            assert hashlib.sha256(data).hexdigest() == known["sha256"]
    assert {f"gluon_nst/recipes/{name}.toml" for name in recipe_names()} <= names
    assert sum(name.endswith(".params") for name in names) == 2
    assert "gluon_nst/py.typed" in names and "gluon_nst/weights/README.md" in names
    assert any(name.endswith(("licenses/LICENSE", ".dist-info/LICENSE")) for name in names)
    assert not any(name.startswith(("tests/", "data/", "cluster/")) for name in names)


def test_the_wheel_stays_below_100_mb(wheel):
    assert wheel.stat().st_size < 100e6


def test_the_wheel_says_which_pythons_and_which_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(
            archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA")
        )
    assert "Requires-Python: <3.13,>=3.10" in metadata
    for extra, build in (("cpu", "mxnet==1.9.1"), ("cu112", "mxnet-cu112==1.9.1")):
        assert f'Requires-Dist: {build}; extra == "{extra}"' in metadata


def test_the_installed_wheel_stylizes_away_from_the_checkout(wheel, tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    data = ROOT / "data"
    command = [sys.executable, "-m", "gluon_nst", "stylize", str(data / "photos" / "cat.jpg"),
               str(data / "styles" / "woodblock_waves.jpg"), "-o", str(tmp_path / "out.png"),
               "--size", "32", "--steps", "1", "--recipe", "keras-lbfgs-vgg16", "--json"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment
    )
    assert json.loads(done.stdout)["provenance"]["parameters"]["source"] == "bundled:vgg16-torchvision"
    where = [sys.executable, "-c", "import gluon_nst; print(gluon_nst.__file__)"]
    assert (
        str(target)
        in subprocess.run(
            where, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
        ).stdout
    )
