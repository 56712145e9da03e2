"""The first line through Dask: a folder in, files out, on real worker processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gluon_nst import Job, read_provenance
from gluon_nst.batch.collect import BatchRequest, collect_jobs
from gluon_nst.batch.runner import SerialRunner
from gluon_nst.cli import _run
from gluon_nst.jobs import job_id
from gluon_nst.recipe_files import load_recipe, tailor

DATA = Path(__file__).parent.parent / "data"
STYLE = str(DATA / "styles" / "woodblock_waves.jpg")
RECIPE = tailor(load_recipe(), size=48, steps=2)


@pytest.fixture
def folder(tmp_path):
    """A tree of two photographs, one text file named .jpg, and things that are no pictures."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    photo = Image.open(DATA / "photos" / "cat.jpg").resize((90, 60))
    photo.save(root / "cat.JPG", "JPEG")
    photo.rotate(90, expand=True).save(root / "deep" / "tall.png")
    photo.save(root / ".hidden" / "no.png")
    (root / "broken.jpg").write_text("not a picture")
    (root / "notes.txt").write_text("nothing")
    return root


def jobs_of(folder, out):
    request = BatchRequest((str(folder),), (STYLE,), str(out), RECIPE)
    return [candidate.job for candidate in collect_jobs(request)]


def test_the_job_id_changes_with_everything_that_matters():
    job = Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE)
    others = [
        Job("b.jpg", ("s.jpg",), "o.jpg", RECIPE),
        Job("a.jpg", ("t.jpg",), "o.jpg", RECIPE),
        Job("a.jpg", ("s.jpg",), "p.jpg", RECIPE),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE.replace(style_weight=3)),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE, weights="zoo"),
    ]
    assert len({job_id(each) for each in [job, *others]}) == 6
    assert job_id(job) == job_id(Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE.replace(name="other")))


def test_the_serial_runner_gives_one_result_for_each_job(folder, tmp_path):
    jobs = jobs_of(folder, tmp_path / "out")
    results = {Path(result.content).name: result for result in SerialRunner().run(jobs)}
    assert {name: result.status for name, result in results.items()} == {
        "broken.jpg": "failed", "cat.JPG": "succeeded", "tall.png": "succeeded"
    }  # fmt: skip
    assert results["broken.jpg"].error_type == "ImageReadError"
    assert dict(results["cat.JPG"].losses)["total"] > 0 and results["cat.JPG"].steps == 2
    with Image.open(results["tall.png"].output) as tall:
        assert tall.size == (32, 48)


def batch(*arguments):
    command = [
        sys.executable,
        "-m",
        "gluon_nst",
        "batch",
        *map(str, arguments),
        "--size",
        "48",
        "--steps",
        "2",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_folder_over_dask_and_a_bad_file_fails_alone(folder, tmp_path):
    out = tmp_path / "out"
    done = batch(folder, "--style", STYLE, "-o", out, "--workers", 2, "--json")
    assert done.returncode == 1, done.stderr
    results = json.loads(done.stdout)
    assert sorted((Path(r["content"]).name, r["status"]) for r in results) == [
        ("broken.jpg", "failed"), ("cat.JPG", "succeeded"), ("tall.png", "succeeded")
    ]  # fmt: skip
    assert done.stderr.count("FAILED") == 1 and "Traceback" not in done.stderr
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["cat__woodblock_waves.jpg", "deep/tall__woodblock_waves.jpg"]  # and no temporary ones
    assert read_provenance(out / files[0])["content"]["name"] == "cat.JPG"
    assert all(str(os.getpid()) not in r["worker"] for r in results)


def test_dask_gives_the_bytes_that_the_serial_runner_gives(folder, tmp_path):
    (folder / "broken.jpg").unlink()
    assert batch(folder, "--style", STYLE, "-o", tmp_path / "out", "--workers", 2).returncode == 0
    written = {str(path): path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")}
    shutil.rmtree(tmp_path / "out")
    for result in SerialRunner().run(jobs_of(folder, tmp_path / "out")):
        assert Path(result.output).read_bytes() == written.pop(result.output)
        assert read_provenance(result.output)["job_id"] == result.job_id
    assert written == {}


def test_a_worker_that_dies_fails_its_job_and_not_the_run(folder, tmp_path):
    from gluon_nst.batch.dask_runner import DaskRunner, local_client

    (folder / "broken.jpg").unlink()
    jobs = jobs_of(folder, tmp_path / "out")
    with local_client(1) as client:
        client.run(_arm_a_death, str(folder / "cat.JPG"))
        results = {Path(result.content).name: result for result in DaskRunner(client).run(jobs)}
    assert results["cat.JPG"].status == "failed" and "died" in results["cat.JPG"].error
    assert results["tall.png"].status == "succeeded", results["tall.png"].error


def _arm_a_death(content):
    """Make the worker process die for good when it meets this picture."""
    import gluon_nst.worker as worker

    run = worker._run

    def deadly(job):
        if job.content == content:
            os._exit(9)
        return run(job)

    worker._run = deadly


def test_workers_share_the_cores():
    from gluon_nst.batch.dask_runner import local_client

    with local_client(2) as client:
        threads = client.run(lambda: os.environ["OMP_NUM_THREADS"])
    assert set(threads.values()) == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nowhere", "--style", STYLE], 3), ([str(DATA), "--style", "nowhere.jpg"], 3),
     ([str(DATA), "--style", STYLE, "--weights", "no.params"], 3), ([str(DATA), "--style", STYLE, "--recipe", "x"], 2)],
)  # fmt: skip
def test_what_cannot_start_says_so_at_once(arguments, code, capsys, tmp_path):
    assert _run(["batch", *arguments, "-o", str(tmp_path / "out")]) == code
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert not (tmp_path / "out").exists()
