"""Jobs from what a person asks for."""

from __future__ import annotations

import json
import os
import pickle
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gluon_nst import storage
from gluon_nst.batch.collect import BatchRequest, Candidate, Tally, collect_jobs
from gluon_nst.batch.look_ahead import Look, Looker
from gluon_nst.batch.shards import in_shard
from gluon_nst.batch.sources import Source
from gluon_nst.errors import ImageReadError, ManifestError, UsageError
from gluon_nst.images.write import write_image
from gluon_nst.jobs import job_id
from gluon_nst.listing import fingerprint
from gluon_nst.recipe_files import load_recipe
from tests.images.builders import noise

RECIPE = load_recipe()


def save(path: Path, height: int = 20, width: int = 30, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, noise(height, width), **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree of two pictures, one that cannot be read, and two styles."""
    save(tmp_path / "photos" / "a.jpg")
    save(tmp_path / "photos" / "deep" / "b.png", 40, 25)
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    save(tmp_path / "art" / "s.jpg")
    save(tmp_path / "art" / "t.jpg")
    return tmp_path


def request(folder: Path, **changes: Any) -> BatchRequest:
    values: dict[str, Any] = {
        "inputs": (str(folder / "photos"),), "styles": (str(folder / "art" / "s.jpg"),),
        "output": str(folder / "out"), "recipe": RECIPE,
    }  # fmt: skip
    return BatchRequest(**(values | changes))


def collect(folder: Path, **changes: Any) -> list[Candidate]:
    return list(collect_jobs(request(folder, **changes)))


def outputs(folder: Path, **changes: Any) -> list[str]:
    return [os.path.relpath(each.job.output, folder / "out") for each in collect(folder, **changes)]


def by_rows(folder: Path, *rows: dict[str, object], **changes: Any) -> list[Candidate]:
    path = folder / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return collect(folder, **({"inputs": (), "manifest": str(path)} | changes))


def test_every_picture_is_a_job_with_its_shape_and_fingerprints(folder: Path) -> None:
    found = collect(folder, precision="float32", device="cpu", weights="zoo", parameters="abc")
    assert [each.shape for each in found] == [(20, 30), None, (40, 25)]
    paths = [str(folder / "photos" / name) for name in ("a.jpg", "broken.jpg", "deep/b.png")]
    assert [each.origin for each in found] == [each.job.content for each in found] == paths
    job = found[2].job
    style = str(folder / "art" / "s.jpg")
    assert job.output == str(folder / "out" / "deep" / "b__s.jpg")
    assert (job.styles, job.fingerprints) == ((style,), (fingerprint(paths[2]), fingerprint(style)))
    assert (job.precision, job.device, job.weights, job.parameters) == ("float32", "cpu", "zoo", "abc")


def test_the_job_changes_when_its_content_or_style_does(folder: Path) -> None:
    before = {job_id(each.job) for each in collect(folder)}
    assert before == {job_id(each.job) for each in collect(folder)}
    os.utime(folder / "photos" / "a.jpg", ns=(0, 1))
    assert len(before & {job_id(each.job) for each in collect(folder)}) == 2
    os.utime(folder / "art" / "s.jpg", ns=(0, 1))
    assert not before & {job_id(each.job) for each in collect(folder)}


def test_every_style_gives_its_own_picture(folder: Path) -> None:
    both = (str(folder / "art" / "t.jpg"), str(folder / "art" / "s.jpg"))
    assert outputs(folder, styles=both)[:2] == ["a__t.jpg", "a__s.jpg"]
    assert outputs(folder, styles=(str(folder / "art"),))[:2] == ["a__s.jpg", "a__t.jpg"]
    assert outputs(folder, styles=(str(folder / "art" / "[t]*"),))[:1] == ["a__t.jpg"]


def test_weights_mix_all_styles_in_one_picture(folder: Path) -> None:
    found = collect(folder, styles=(str(folder / "art"),), blend=(2.0, 1.0))
    assert [len(each.job.styles) for each in found] == [2, 2, 2]
    assert (found[0].job.blend, Path(found[0].job.output).name) == ((2.0, 1.0), "a__s+t.jpg")
    assert len(found[0].job.fingerprints) == 3
    with pytest.raises(UsageError, match="1 weights for 2 styles"):
        collect(folder, styles=(str(folder / "art"),), blend=(2.0,))


def test_the_name_template_and_the_kind_of_file_are_the_persons_choice(folder: Path) -> None:
    assert outputs(folder, name="{style}/{folder}/{stem}", suffix=".png")[2] == "s/deep/b.png"
    with pytest.raises(UsageError, match="Did you mean 'stem'"):
        collect(folder, name="{stm}")


def test_relative_paths_become_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = collect(folder)
    monkeypatch.chdir(folder)
    assert collect(folder, inputs=("photos",), styles=("art/s.jpg",), output="out") == expected
    assert collect(folder, inputs=("./photos/",), styles=("art/../art/s.jpg",), output="out")[
        0
    ].job.content == (expected[0].job.content)


def test_pictures_of_this_program_are_skipped_where_they_were_not_named(folder: Path) -> None:
    done = save(folder / "photos" / "c.jpg", provenance={"job_id": "x"})
    tally = Tally()
    assert len(list(collect_jobs(request(folder), tally))) == 3
    assert tally.stylized == 1
    assert len(collect(folder, inputs=(str(folder / "photos" / "*"),))) == 3
    assert len(collect(folder, inputs=(str(done),))) == 1
    assert len(by_rows(folder, {"content": str(done)})) == 1


def test_what_lies_in_the_output_folder_is_no_input(folder: Path) -> None:
    save(folder / "photos" / "out" / "z.jpg")
    assert len(collect(folder, output=str(folder / "photos" / "out"))) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ()}, "either inputs or a manifest"),
        ({"manifest": "jobs.csv"}, "either inputs or a manifest"),
        ({"styles": ()}, "at least one style"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(folder: Path, changes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        collect_jobs(request(folder, **changes))


@pytest.mark.parametrize("changes", [{"inputs": ("nowhere",)}, {"styles": ("nowhere",)}])
def test_what_is_missing_is_said_before_the_first_job(folder: Path, changes: Any) -> None:
    with pytest.raises(ImageReadError, match="nowhere"):
        collect_jobs(request(folder, **changes))


def test_a_manifest_gives_its_rows(folder: Path) -> None:
    rows = [
        {"content": "photos/deep/b.png", "style": "art/t.jpg"},
        {
            "content": "photos/a.jpg",
            "styles": {"art/s.jpg": 1, "art/t.jpg": 3},
            "output": "x/y.png",
            "size": 99,
        },
        {"content": "photos/none.jpg", "style": "art/none.jpg"},
    ]
    first, second, third = by_rows(folder, *rows, styles=())
    assert (first.shape, second.shape, third.shape) == ((40, 25), (20, 30), None)
    assert first.job.output == str(folder / "out/photos/deep/b__t.jpg")
    assert first.job.recipe is RECIPE
    assert second.job.output == str(folder / "out/x/y.png")
    assert (second.job.blend, second.job.recipe.size) == ((1.0, 3.0), 99)
    paths = [folder / name for name in ("photos/a.jpg", "art/s.jpg", "art/t.jpg")]
    assert second.job.fingerprints == tuple(map(fingerprint, paths))
    assert third.job.fingerprints == ("", "")
    assert second.origin == f"line 2 of {folder}/jobs.jsonl"


def test_rows_without_a_style_take_those_of_the_batch(folder: Path) -> None:
    rows = [{"content": "photos/a.jpg"}, {"content": "photos/a.jpg", "style": "art/t.jpg"}]
    found = by_rows(folder, *rows, styles=(str(folder / "art"),))
    assert [Path(each.job.output).name for each in found] == ["a__s.jpg", "a__t.jpg", "a__t.jpg"]
    mixed = by_rows(folder, *rows, styles=(str(folder / "art"),), blend=(1.0, 2.0))
    assert [each.job.blend for each in mixed] == [(1.0, 2.0), ()]
    with pytest.raises(ManifestError, match="no style"):
        by_rows(folder, *rows, styles=())


def test_the_parameters_of_another_network_are_not_claimed(folder: Path) -> None:
    rows = [{"content": "photos/a.jpg", "network": network} for network in ("vgg16", "vgg19")]
    known = {
        each.job.recipe.network: each.job.parameters for each in by_rows(folder, *rows, parameters="abc")
    }
    other = {"vgg16": "vgg19", "vgg19": "vgg16"}[RECIPE.network]
    assert known == {RECIPE.network: "abc", other: ""}


def test_a_chunk_of_jobs_pickles_one_recipe(folder: Path) -> None:
    jobs = [each.job for each in by_rows(folder, *({"content": f"{n}.jpg", "size": 64} for n in range(50)))]
    assert len({id(job.recipe) for job in jobs}) == 1
    assert len(pickle.dumps(jobs)) < 10 * len(pickle.dumps(jobs[0]))


def test_candidates_come_in_the_order_of_the_inputs(tmp_path: Path) -> None:
    style = save(tmp_path / "s.jpg")
    for number in range(700):
        target = tmp_path / "in" / f"{number:04}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(style)
    asked = BatchRequest((str(tmp_path / "in"),), (str(style),), str(tmp_path / "out"), RECIPE)
    found = [Path(each.job.content).stem for each in collect_jobs(asked)]
    assert found == [f"{number:04}" for number in range(700)]


def test_headers_are_read_ahead_of_need_but_not_without_bound(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    with path.open("w") as file:
        file.write("content,style\n")
        file.writelines(f"/none/{number}.jpg,/s.jpg\n" for number in range(5000))
        file.write("bad\n")
    asked = BatchRequest((), (), str(tmp_path / "out"), RECIPE, manifest=str(path))
    candidates = collect_jobs(asked)
    assert [each.origin.split()[1] for each in islice(candidates, 4000)] == [str(n) for n in range(2, 4002)]
    with pytest.raises(ManifestError, match="line 5002"):
        list(candidates)


def test_threads_end_with_the_jobs_or_when_nobody_asks_for_more(folder: Path) -> None:
    def reading() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name.startswith("headers")]

    candidates = collect_jobs(request(folder))
    next(candidates)
    assert reading()
    candidates.close()
    assert not reading()
    collect(folder)
    assert not reading()


def test_inputs_styles_and_output_may_be_urls(folder: Path) -> None:
    url = "memory://gluon_nst_test_collect"
    for name in ("in/a.jpg", "in/deep/b.jpg", "s.jpg"):
        write_image(f"{url}/{name}", noise(20, 30))
    found = collect(folder, inputs=(f"{url}/in",), styles=(f"{url}/s.jpg",), output=f"{url}/out")
    assert [each.job.output for each in found] == [f"{url}/out/a__s.jpg", f"{url}/out/deep/b__s.jpg"]
    assert [each.shape for each in found] == [(20, 30), (20, 30)]
    assert all(all(each.job.fingerprints) for each in found)
    storage.resolve(url)[0].rm("/gluon_nst_test_collect", recursive=True)


# ---- shards


def manifest_of(folder: Path, names: list[str]) -> str:
    path = folder / "rows.jsonl"
    rows = [{"content": str(folder / "photos" / "a.jpg"), "output": name} for name in names]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_shards_share_out_all_jobs_and_none_twice(folder: Path, count: int) -> None:
    names = [f"{number}/é {number}.png" for number in range(40)]
    options: dict[str, Any] = {"inputs": (), "manifest": manifest_of(folder, names)}
    whole = sorted(job_id(each.job) for each in collect(folder, **options))
    parts = [collect(folder, **options, shard=(part, count)) for part in range(1, count + 1)]
    assert all(parts)
    assert sorted(job_id(each.job) for part in parts for each in part) == whole


def test_a_jobs_shard_does_not_depend_on_the_other_jobs(folder: Path) -> None:
    names = [f"{number}.png" for number in range(40)]
    whole, some = (
        outputs(folder, inputs=(), manifest=manifest_of(folder, chosen), shard=(2, 3))
        for chosen in (names, names[::3])
    )
    assert set(some) == set(whole) & set(names[::3])
    assert some


def test_outputs_that_would_clash_are_in_one_shard() -> None:
    for shard in [(part, 5) for part in range(1, 6)]:
        assert in_shard("/out/a.png", shard) == in_shard("/out/./b/../a.png", shard)


def test_only_the_images_of_the_shard_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        save(folder / "photos" / f"{number}.jpg")
    looked: list[str] = []

    def look(looker: Looker, source: Source) -> Look:
        looked.append(source.path)
        return Look(None, "")

    monkeypatch.setattr(Looker, "look", look)
    found = collect(folder, shard=(1, 3))
    assert sorted(looked) == sorted(each.job.content for each in found)
    assert 0 < len(looked) < 12
