"""The pages of cluster/: what they show works as it stands there, and what they point at is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gluon_nst.cli import cli
from tests.batch.field import ROOT, free_port, write_photo, write_style
from tests.launch.launching import Command

PAGES = sorted((ROOT / "cluster").rglob("*.md"))
README = (ROOT / "cluster" / "README.md").read_text()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(text: str) -> list[str]:
    """Return the lines of a page's blocks that call gluon-nst, without comments and what the shell does with them."""
    lines = "\n".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"\s[#&].*", "", line) for line in lines]
    return [line for line in lines if re.match(r"gluon-nst [a-z]", line)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    targets = [each.partition("#")[0] for each in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    assert [
        each for each in targets if not each.startswith("http") and not (page.parent / each).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_command_line_takes_what_is_shown(page):
    for line in commands(page.read_text()):
        _, name, *words = shlex.split(line.replace("...", "x"))
        cli.commands[name].make_context(name, words)


def test_every_script_of_the_table_is_there():
    scripts = re.findall(r"cluster/[\w/]+\.\w+|cluster/kubernetes/\w+", README)
    assert {"cluster/ssh/over_ssh.py", "cluster/slurm/gluon_nst.sbatch", "cluster/slurm/elastic.py"} <= set(
        scripts
    )
    assert [each for each in scripts if not (ROOT / each).exists()] == []


def test_the_lines_for_one_machine_work_as_they_stand_there(tmp_path, monkeypatch):
    write_photo(tmp_path / "photos/photo.png", "good", 1)
    write_style(tmp_path / "painting.jpg")
    (tmp_path / "stylized").mkdir()
    monkeypatch.chdir(tmp_path)
    port = str(free_port())
    lines = [shlex.split(line.replace(":8786", f":{port}"))[1:] for line in commands(README)[:4]]
    serve, work, batch, examine = lines
    assert [each[0] for each in lines] == ["scheduler", "workers", "batch", "doctor"]
    with (
        Command(tmp_path / "scheduler.log", *serve, "--port", port),
        Command(tmp_path / "workers.log", *work) as working,
    ):
        working.wait_for("is ready")
        for words in (examine, batch):
            with Command(tmp_path / f"{words[0]}.log", *words) as running:
                assert running.end() == 0, running.told()
    assert (tmp_path / "stylized/photo__painting.jpg").exists()
