"""Every command of the README and of the page on batches works as it stands there (only the work is made small)."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BATCH = (ROOT / "docs" / "batch.md").read_text()


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    found = [block for text in (README, BATCH) for block in blocks("bash", text)]
    lines = [line.split("#")[0].strip() for block in found for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the files that the README speaks of."""
    folder = tmp_path_factory.mktemp("desk")
    data = ROOT / "data"
    shutil.copy(data / "photos" / "temple.jpg", folder / "photo.jpg")
    shutil.copy(data / "styles" / "night_lanterns.jpg", folder / "painting.jpg")
    shutil.copy(data / "styles" / "woodblock_waves.jpg", folder / "other.jpg")
    (folder / "photos").mkdir()
    shutil.copy(data / "photos" / "cat.jpg", folder / "photos")
    (folder / "styles").mkdir()
    shutil.copy(folder / "other.jpg", folder / "styles")
    (folder / "jobs.csv").write_text(*blocks("csv", BATCH))
    write_keras_file(folder / "vgg19.h5")
    return folder


def write_keras_file(path):
    """Write VGG19 as Keras lays it out, of small random numbers."""
    h5py = pytest.importorskip("h5py")
    import numpy as np

    from gluon_nst.vgg_layers import CONVOLUTIONS, channels

    generator, before = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for conv in CONVOLUTIONS["vgg19"]:
            block, index = conv[4], conv[6]
            name, count = f"block{block}_conv{index}", channels(conv)
            kernel = generator.standard_normal((3, 3, before, count), dtype=np.float32) / (9 * before) ** 0.5
            file.create_dataset(f"{name}/{name}/kernel:0", data=kernel)
            file.create_dataset(f"{name}/{name}/bias:0", data=np.zeros(count, np.float32))
            before = count


def made_small(command):
    words = command.split()
    if words[:2] in (["gluon-nst", "stylize"], ["gluon-nst", "batch"]):
        return f"{command} --size 64 --steps 1"
    if words[:2] == ["gluon-nst", "bench"]:
        return f"{command} --size 32 --steps 1 --repeats 1"
    return command


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("gluon-nst")])
def test_the_command_works(command, desk):
    tool = f"{shlex.quote(sys.executable)} -m gluon_nst"
    line = re.sub(r"^gluon-nst", tool, made_small(command))
    before = {path: path.stat().st_mtime_ns for path in desk.rglob("*")}
    done = subprocess.run(
        line, shell=True, cwd=desk, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or {path: path.stat().st_mtime_ns for path in desk.rglob("*")} != before
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("make")])
def test_the_make_targets_exist(command):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        [*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0 and done.stdout


def test_nothing_else_is_shown_as_a_command():
    assert all(command.startswith(("gluon-nst ", "make ")) for command in commands())


def test_the_python_example_works(desk, monkeypatch):
    monkeypatch.chdir(desk)
    (block,) = blocks("python")
    exec(block.replace("size=384", "size=32, steps=1"), {})
    assert (desk / "out.png").exists()


def test_the_python_example_of_the_batch_page_works(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    (block,) = blocks("python", BATCH)
    exec(block, {})
    assert capsys.readouterr().out.splitlines()[-1] == "True"
    assert (desk / "own" / "second.jpg").exists()


def test_pictures_and_links_are_there():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [
        target for target in targets if not target.startswith("http") and not (ROOT / target).exists()
    ] == []


def test_the_recipes_table_is_whole():
    from gluon_nst.recipe_files import recipe_names

    assert set(re.findall(r"^\| `([a-z0-9-]+)`", README, flags=re.MULTILINE)) == set(recipe_names())
