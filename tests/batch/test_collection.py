"""Collections through the real command and the real engine: photographs in, stylized pictures out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gluon_nst import BatchRequest, Job, collect_jobs, iterate_batch, read_provenance
from gluon_nst.cli import _run
from gluon_nst.jobs import job_id
from gluon_nst.recipe_files import load_recipe, tailor
from tests.batch.field import failed_names, journal_of, statuses, wait_until

DATA = Path(__file__).parent.parent.parent / "data"
STYLE = str(DATA / "styles" / "woodblock_waves.jpg")
STYLES = ("woodblock_waves", "stained_glass", "autumn_avenue")
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


def command(*arguments, size=48, steps=2):
    words = [sys.executable, "-m", "gluon_nst", "batch", *map(str, arguments)]
    return [*words, "--size", str(size), "--steps", str(steps)]


def batch(*arguments, **sizes):
    return subprocess.run(
        command(*arguments, **sizes), capture_output=True, text=True, timeout=300, check=False
    )


def write_crops(root, count):
    """Write crops of the sample photographs: real pictures of several shapes, one in twenty of them cut off."""
    photos = [Image.open(path).convert("RGB") for path in sorted((DATA / "photos").glob("*.jpg"))]
    shapes = ((120, 90), (90, 120), (110, 110))
    generator = np.random.default_rng(0)
    root.mkdir()
    for number in range(count):
        photo, (width, height) = photos[number % len(photos)], shapes[number % len(shapes)]
        left, top = (
            int(generator.integers(0, limit)) for limit in (photo.width - width, photo.height - height)
        )
        path = root / f"photo{number:03}.jpg"
        photo.crop((left, top, left + width, top + height)).save(path, quality=92)
        if number % 20 == 7:
            path.write_bytes(path.read_bytes()[:1500])


def test_sixty_photographs_and_three_styles_with_corrupt_ones_among_them(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_crops(photos, 60)
    styles = [word for name in STYLES for word in ("--style", DATA / "styles" / f"{name}.jpg")]
    arguments = (photos, *styles, "-o", out, "--workers", 2)
    done = batch(*arguments, size=32, steps=2)
    assert done.returncode == 1, done.stderr
    corrupt = {f"photo{number:03}.jpg" for number in (7, 27, 47)}
    assert statuses(out) == {"done": 57 * 3, "failed": 3 * 3}
    assert len(journal_of(out)) == 180, "one record for each job"
    assert failed_names(out) == dict.fromkeys(corrupt, "failed")
    assert done.stderr.count("FAILED") == 9 and "Traceback" not in done.stderr
    pictures = sorted(out.glob("*.jpg"))
    assert len(pictures) == 57 * 3
    for path in pictures:
        name, _, style = path.stem.partition("__")
        record = read_provenance(path)
        assert (record["content"]["name"], record["styles"][0]["name"]) == (f"{name}.jpg", f"{style}.jpg")
        with Image.open(path) as image:
            assert max(image.size) == 32 and np.asarray(image).std() > 5

    before = {path: path.stat().st_mtime_ns for path in pictures}
    again = batch(*arguments, size=32, steps=2)
    assert again.returncode == 1 and "nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in pictures} == before
    assert len(journal_of(out)) == 180


def test_a_folder_over_dask_and_the_summary_as_json(folder, tmp_path):
    out = tmp_path / "out"
    done = batch(folder, "--style", STYLE, "-o", out, "--json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert summary["counts"]["succeeded"] == 2 and summary["counts"]["failed"] == 1
    assert summary["exit_code"] == 1 and summary["left"] == 0
    assert done.stderr.count("FAILED") == 1 and "Traceback" not in done.stderr
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.jpg"))
    assert files == ["cat__woodblock_waves.jpg", "deep/tall__woodblock_waves.jpg"]
    assert read_provenance(out / files[0])["content"]["name"] == "cat.JPG"
    assert not list(out.rglob("*.part"))


def test_dask_gives_the_pictures_that_this_process_gives(folder, tmp_path):
    (folder / "broken.jpg").unlink()
    assert batch(folder, "--style", STYLE, "-o", tmp_path / "dask").returncode == 0
    request = BatchRequest((str(folder),), (STYLE,), str(tmp_path / "here"), RECIPE)
    results = list(iterate_batch(candidate.job for candidate in collect_jobs(request)))
    assert len(results) == 2
    for result in results:
        other = tmp_path / "dask" / Path(result.output).relative_to(tmp_path / "here")
        with Image.open(result.output) as mine, Image.open(other) as theirs:
            assert np.array_equal(np.asarray(mine), np.asarray(theirs))


def test_the_job_id_changes_with_everything_that_matters():
    job = Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE)
    others = [
        Job("b.jpg", ("s.jpg",), "o.jpg", RECIPE),
        Job("a.jpg", ("t.jpg",), "o.jpg", RECIPE),
        Job("a.jpg", ("s.jpg",), "p.jpg", RECIPE),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE.replace(style_weight=3)),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE, weights="zoo"),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE, precision="float32"),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE, fingerprints=("1-2", "")),
        Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE, parameters="0" * 64),
    ]
    assert len({job_id(each) for each in [job, *others]}) == 1 + len(others)
    assert job_id(job) == job_id(Job("a.jpg", ("s.jpg",), "o.jpg", RECIPE.replace(name="other")))


def test_workers_share_the_cores():
    from gluon_nst.batch.local_cluster import local_client
    from gluon_nst.launch.discovery import find_slots

    with local_client(find_slots(2, "cpu")) as client:
        threads = client.run(lambda: os.environ["OMP_NUM_THREADS"])
    assert set(threads.values()) == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nowhere", "--style", STYLE], 3), ([str(DATA), "--style", "nowhere.jpg"], 3),
     ([str(DATA), "--style", STYLE, "--weights", "no.params"], 3), ([str(DATA), "--style", STYLE, "--recipe", "x"], 2),
     ([str(DATA)], 2), ([str(DATA), "--style", STYLE, "--shard", "3/2"], 2),
     ([str(DATA), "--style", STYLE, "--max-failures", "many"], 2), (["--manifest", "no.csv"], 2)],
)  # fmt: skip
def test_what_cannot_start_says_so_at_once(arguments, code, capsys, tmp_path):
    out = tmp_path / "out"
    assert _run(["batch", *arguments, "-o", str(out)]) == code
    err = capsys.readouterr().err
    assert err.strip() and "Traceback" not in err
    assert not list(out.rglob("*.jpg"))


def test_the_parts_of_a_collection_make_up_the_whole(folder, tmp_path):
    (folder / "broken.jpg").unlink()
    out = tmp_path / "out"
    arguments = (folder, "--style", STYLE, "--style", DATA / "styles" / "stained_glass.jpg", "-o", out)
    made = [batch(*arguments, "--shard", f"{part}/3", "--workers", 0) for part in (1, 2, 3)]
    assert [done.returncode for done in made] == [0, 0, 0], [done.stderr for done in made]
    assert len(list(out.rglob("*.jpg"))) == 4
    runs = sorted((out / ".gluon-nst").glob("shard-*"))
    assert len(runs) == 3
    jobs = [
        json.loads(line)["job_id"]
        for run in runs
        for line in (run / "journal.jsonl").read_text().splitlines()
    ]
    assert len(jobs) == len(set(jobs)) == 4


def test_failed_csv_is_a_manifest_that_can_be_run(folder, tmp_path):
    out = tmp_path / "out"
    assert batch(folder, "--style", STYLE, "-o", out, "--workers", 0).returncode == 1
    Image.open(DATA / "photos" / "cat.jpg").resize((80, 64)).save(folder / "broken.jpg")
    manifest = out / ".gluon-nst" / "failed.csv"
    again = batch("--manifest", manifest, "-o", out, "--run-dir", tmp_path / "again", "--workers", 0)
    assert again.returncode == 0, again.stderr
    assert (out / "broken__woodblock_waves.jpg").exists()


def test_an_interrupted_picture_goes_on_from_its_checkpoint(tmp_path):
    arguments = (DATA / "photos" / "cat.jpg", "--style", STYLE, "--workers", 1, "--format", ".png")
    sizes = {"size": 64, "steps": 250}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert batch(*arguments, "-o", whole, **sizes).returncode == 0
    (finished,) = journal_of(whole)

    client = subprocess.Popen(
        command(*arguments, "-o", broken, "--grace", 0, **sizes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    status = broken / ".gluon-nst" / "status.json"
    wait_until(lambda: status.exists() and json.loads(status.read_text())["in_flight"] == 1)
    time.sleep(min(2.0, finished["seconds"] / 4))  # to be somewhere in the middle
    client.send_signal(signal.SIGTERM)
    told = client.communicate(timeout=120)[0].decode()
    assert client.returncode == 75, told
    assert len(list((broken / ".gluon-nst" / "checkpoints").iterdir())) == 1
    assert not list(broken.glob("*.png"))

    assert batch(*arguments, "-o", broken, **sizes).returncode == 0
    (resumed,) = journal_of(broken)
    assert resumed["losses"] == finished["losses"] and resumed["steps"] == finished["steps"]
    name = "cat__woodblock_waves.png"
    with Image.open(whole / name) as one, Image.open(broken / name) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other)), "bit for bit the same picture"
    assert not list((broken / ".gluon-nst" / "checkpoints").iterdir())
