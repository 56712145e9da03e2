"""The Dockerfiles fit the repository, setup.cfg and the manifests. No image is built."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.manifests import DOCKER, ROOT, container, copied, instructions, option, package, pods

DOCKERFILES = {"gpu": "Dockerfile.gpu", "cpu": "Dockerfile.cpu"}
dockerfiles = pytest.mark.parametrize("dockerfile", DOCKERFILES.values())


@dockerfiles
def test_what_an_image_copies_is_there_and_not_ignored(dockerfile):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for each in copied(dockerfile):
        assert (ROOT / each).exists()
        assert f"!{each}" in ignored


@pytest.mark.parametrize(("mxnet", "dockerfile"), [("cu112", "Dockerfile.gpu"), ("cpu", "Dockerfile.cpu")])
def test_an_image_installs_what_setup_cfg_offers(mxnet, dockerfile):
    runs = " ".join(rest for name, rest in instructions(dockerfile) if name == "RUN")
    (extras,) = re.findall(r"pip install --no-cache-dir '\.\[(.*?)\]'", runs)
    assert set(extras.split(",")) == {mxnet, "s3", "parquet", "tls"}
    assert set(extras.split(",")) <= set(package()["options.extras_require"])


@dockerfiles
def test_an_image_starts_the_command_as_nobody_special(dockerfile):
    said = dict(instructions(dockerfile))
    scripts = package()["options.entry_points"]["console_scripts"]
    assert said["ENTRYPOINT"] == '["gluon-nst"]' and "gluon-nst = " in scripts
    assert said["USER"] == "1000:1000"
    assert pods("volume")["worker"]["spec"]["securityContext"]["runAsUser"] == 1000


@dockerfiles
def test_the_linter_finds_nothing(dockerfile):
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install '.[manifests]'")
    done = subprocess.run([linter, DOCKER / dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_enough_to_build_the_package(tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    for each in copied("Dockerfile.cpu"):
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
        copy(ROOT / each, source / each)
    build = "from setuptools.build_meta import prepare_metadata_for_build_wheel as make; make('.')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=source, check=True, capture_output=True)
    (metadata,) = source.glob("*.dist-info/entry_points.txt")
    assert "gluon-nst = gluon_nst.cli:main" in metadata.read_text()


def test_images_are_named_as_the_manifests_name_them():
    for tag, dockerfile in DOCKERFILES.items():
        text = (DOCKER / dockerfile).read_text()
        (line,) = re.findall(r"#   (docker build .*)", text)
        assert (
            option(shlex.split(line), "-t")
            == container("cpu" if tag == "cpu" else "volume", "worker")["image"]
        )
