"""`gluon_nst.run_batch` and `iterate_batch`: for people's own scripts."""

import json
from pathlib import Path

import pytest
from PIL import Image

import gluon_nst
from gluon_nst.errors import UsageError

DATA = Path(__file__).parent.parent.parent / "data"
STYLE = str(DATA / "styles" / "woodblock_waves.jpg")


@pytest.fixture
def jobs(tmp_path):
    """Two good jobs and one whose content is no picture, as a person would write them."""
    recipe = gluon_nst.load_recipe("default", size=48, steps=2, coarse_steps=2)
    photo = Image.open(DATA / "photos" / "cat.jpg").resize((90, 60))
    for name in ("a", "b"):
        photo.rotate(3 if name == "a" else 0).save(tmp_path / f"{name}.jpg")
    (tmp_path / "bad.jpg").write_text("no picture")
    return [
        gluon_nst.Job(str(tmp_path / f"{name}.jpg"), (STYLE,), str(tmp_path / "out" / f"{name}.png"), recipe)
        for name in ("a", "b", "bad")
    ]


def test_a_batch_in_this_process_does_all_and_says_so(jobs, tmp_path):
    summary = gluon_nst.run_batch(jobs)
    assert summary.ending == "finished" and not summary.ok
    assert {key: value for key, value in summary.counts.items() if value} == {"succeeded": 2, "failed": 1}
    assert summary.run_directory == tmp_path / "out" / ".gluon-nst"
    assert gluon_nst.read_provenance(jobs[0].output)["content"]["name"] == "a.jpg"


def test_the_same_call_again_does_nothing(jobs):
    gluon_nst.run_batch(jobs[:2])
    assert list(gluon_nst.iterate_batch(jobs[:2])) == []
    assert gluon_nst.run_batch(jobs[:2]).ok


def test_results_come_one_by_one_already_recorded(jobs, tmp_path):
    journal = tmp_path / "out" / ".gluon-nst" / "journal.jsonl"
    seen = []
    for result in gluon_nst.iterate_batch(jobs):
        seen.append(result.job_id)
        assert result.job_id in [json.loads(line)["job_id"] for line in journal.read_text().splitlines()]
    assert len(seen) == len(set(seen)) == 3


def test_a_loop_that_is_left_early_leaves_the_rest_for_the_next_call(jobs):
    for _ in gluon_nst.iterate_batch(jobs[:2]):
        break
    assert gluon_nst.run_batch(jobs[:2]).ok


def test_a_stop_that_is_asked_for_ends_in_order(jobs):
    summary = gluon_nst.run_batch(jobs, stop=lambda: True)
    assert summary.ending == "stopped" and "again" in summary.message
    assert sum(summary.counts.values()) < 3
    assert gluon_nst.run_batch(jobs).ending == "finished"


def test_a_client_of_the_callers_is_used_and_stays_open(jobs):
    from gluon_nst.batch.local_cluster import local_client
    from gluon_nst.launch.discovery import find_slots

    with local_client(find_slots(1, "cpu")) as client:
        results = list(gluon_nst.iterate_batch(jobs, client=client))
        assert client.status == "running"
        assert client.submit(sum, (1, 2)).result() == 3
    assert sorted(result.status for result in results) == ["failed", "succeeded", "succeeded"]


def test_jobs_that_clash_are_refused(jobs):
    with pytest.raises(UsageError, match="twice"):
        gluon_nst.run_batch([jobs[0], jobs[0]])


def test_no_jobs_at_all_are_an_error():
    with pytest.raises(UsageError, match="no jobs"):
        gluon_nst.run_batch([])


def test_collected_jobs_can_be_run(tmp_path):
    recipe = gluon_nst.load_recipe("default", size=48, steps=2, coarse_steps=2)
    request = gluon_nst.BatchRequest((str(DATA / "photos" / "cat.jpg"),), (STYLE,), str(tmp_path), recipe)
    assert gluon_nst.run_batch(candidate.job for candidate in gluon_nst.collect_jobs(request)).ok
    assert (tmp_path / "cat__woodblock_waves.jpg").exists()
