from __future__ import annotations

import csv
import json
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from gluon_nst.batch.exports import write_results
from gluon_nst.batch.last_records import find_run, read_last_records
from gluon_nst.batch.manifest import read_manifest
from gluon_nst.batch.run_directory import default_run_directory
from gluon_nst.errors import OutputError, UsageError
from gluon_nst.recipe import recipe_mapping
from gluon_nst.recipe_files import load_recipe
from tests.batch.runs import make_run, record

FAILED = {"error_type": "ImageReadError", "error": "x is damaged", "attempts": 2}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_the_last_record_of_a_job_counts_and_the_first_decides_its_place(tmp_path):
    run = make_run(tmp_path, [record(1, "failed", **FAILED), record(2), record(1)])
    write_results(run)
    rows = table(run / "results.csv")
    assert [(row["job_id"], row["status"]) for row in rows] == [(f"{n:016x}", "succeeded") for n in (1, 2)]
    assert table(run / "failed.csv") == []


def test_results_hold_losses_and_numbers_as_the_record_does(tmp_path):
    run = make_run(tmp_path, [record(1, seconds=0.1 + 0.2, losses={"total": 1e-7, "extra": 3.0}, steps=7)])
    write_results(run)
    row = table(run / "results.csv")[0]
    assert float(row["seconds"]) == 0.1 + 0.2 and int(row["steps"]) == 7
    assert (float(row["total_loss"]), float(row["extra_loss"]), row["style_loss"]) == (1e-7, 3.0, "")
    assert json.loads(row["styles"]) == ["/styles/waves.jpg"]


def test_lines_that_are_no_record_are_counted_and_a_cut_last_line_is_not(tmp_path):
    run = make_run(tmp_path, [record(1)])
    bad = ["not json", "[1]", '{"job_id": "x"}', json.dumps(record(2, status="odd"))]
    bad += [json.dumps(record(3) | {"seconds": "long"}), json.dumps(record(4) | {"losses": 5})]
    with (run / "journal.jsonl").open("a") as file:
        file.write("\n".join([*bad, "", json.dumps(record(5)), json.dumps(record(6))[:50]]))
    records = read_last_records(run)
    assert [each.result.job_id for each in records] == [f"{n:016x}" for n in (1, 5)]
    assert len(records) == 2 and records.skipped == len(bad)


def test_a_run_that_has_just_begun_gives_empty_tables_with_a_header(tmp_path):
    run = make_run(tmp_path, [])
    (run / "journal.jsonl").unlink()
    write_results(run)
    assert (run / "results.csv").read_text().startswith("job_id,status,content,styles,output")
    assert (run / "failed.csv").read_text().startswith("content,style,styles,output,status")


@pytest.mark.parametrize("status", ["failed", "poison", "timeout"])
def test_what_failed_is_listed_to_be_run_again(tmp_path, status):
    run = make_run(
        tmp_path, [record(1), record(2, status, **FAILED, aside="/aside/2.png"), record(3, "skipped")]
    )
    write_results(run)
    (row,) = table(run / "failed.csv")
    assert (row["content"], row["style"], row["output"]) == (
        "/photos/00002.jpg",
        "/styles/waves.jpg",
        "/out/00002.jpg",
    )
    assert (row["status"], row["attempts"], row["aside"]) == (status, "2", "/aside/2.png")


def test_several_styles_their_weights_and_a_jobs_own_settings_survive(tmp_path):
    styles = ["/s/a;b,=2.jpg", 's3://bucket/"c".jpg']
    run = make_run(tmp_path, [
        record(1, "failed", styles=styles, blend=[1, 3], changes={"steps": 9, "init_range": [-1, 1]}),
        record(2, "failed", styles=styles),
    ])  # fmt: skip
    write_results(run)
    weighted, even = table(run / "failed.csv")
    pairs = [{"style": style, "weight": weight} for style, weight in zip(styles, (1, 3), strict=True)]
    assert json.loads(weighted["styles"]) == pairs and weighted["style"] == ""
    assert (weighted["steps"], json.loads(weighted["init_range"])) == ("9", [-1, 1])
    assert json.loads(even["styles"]) == styles and even["steps"] == ""


def test_the_table_of_failures_is_a_manifest_of_the_same_jobs(tmp_path):
    base = load_recipe("default")
    changes = {
        "size": 300, "steps": 30, "coarse_steps": 50, "average": 0.97, "clip": False,
        "learning_rate": 1e-08, "optimizer": "lbfgs", "shape": [64, 96],
        "content_layers": {"relu3_1": 0.5, "relu4_2": 1.0},
    }  # fmt: skip
    out = tmp_path / "out"
    names = ["/in/a;b,=2.jpg", "s3://bucket/é \n.png", "/in/'\"{}[].jpg"]
    run = make_run(out, [
        record(1, "failed", content=names[0], output=str(out / "1.jpg"), changes=changes, **FAILED),
        record(2, "poison", content=names[1], output=str(out / "=2.jpg"), styles=names, blend=[1, 0.25, 3],
               changes={"size": 0}),
        record(3, "timeout", content=names[2], output=str(out / "deep" / "3.jpg"), styles=names[1:]),
    ])  # fmt: skip
    write_results(run)
    first, second, third = read_manifest(run / "failed.csv", recipe=base, output=out)
    assert [each.content for each in (first, second, third)] == names
    assert recipe_mapping(first.recipe) == {**recipe_mapping(base), **changes}
    assert (second.styles, second.blend, third.styles, third.blend) == (
        tuple(names),
        (1, 0.25, 3),
        tuple(names[1:]),
        (),
    )
    assert (second.recipe.size, third.recipe) == (0, base)
    assert [each.output for each in (first, second, third)] == [
        str(out / name) for name in ("1.jpg", "=2.jpg", "deep/3.jpg")
    ]


def test_relative_inputs_are_named_so_that_they_can_be_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, [record(1, "failed", content="in/a.jpg", styles=["s.jpg"], output="out/a.jpg")])
    write_results(run)
    (row,) = table(run / "failed.csv")
    assert row["content"] == str(tmp_path / "in" / "a.jpg") and row["style"] == str(tmp_path / "s.jpg")


def test_error_texts_are_no_formulas_and_paths_are_left_alone(tmp_path):
    run = make_run(tmp_path, [record(1, "failed", content="=cmd.jpg", error='=HYPERLINK("x")', worker="@w")])
    write_results(run)
    result, failed = table(run / "results.csv")[0], table(run / "failed.csv")[0]
    assert result["error"] == failed["error"] == '\'=HYPERLINK("x")'
    assert (result["worker"], result["content"]) == ("'@w", "=cmd.jpg")
    assert Path(failed["content"]).name == "=cmd.jpg"


@pytest.mark.parametrize(
    "name", ["a\nb.jpg", 'a"b,c.jpg', "\u2028.jpg", os.fsdecode(b"\xff\xfe.jpg"), "naïve 写真.jpg"]
)
def test_odd_names_come_back_as_they_were(tmp_path, name):
    run = make_run(tmp_path, [record(1, "failed", content=f"/in/{name}")])
    write_results(run)
    for file in ("results.csv", "failed.csv"):
        assert table(run / file)[0]["content"] == f"/in/{name}"


def test_a_name_that_is_no_text_at_all_spoils_only_itself(tmp_path):
    run = make_run(tmp_path, [record(1, content="/in/\ud800.jpg"), record(2)])
    write_results(run)
    assert [row["content"] for row in table(run / "results.csv")] == ["/in/?.jpg", "/photos/00002.jpg"]


def test_parquet_holds_the_same_rows_with_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(b"/in/\xff.jpg")
    run = make_run(tmp_path, [record(1, losses={"total": 2.5}), record(2, "failed", content=odd, **FAILED)])
    assert run / "results.parquet" in write_results(run)
    first, second = parquet.read_table(run / "results.parquet").to_pylist()
    assert (first["styles"], first["total_loss"], first["tv_loss"]) == (["/styles/waves.jpg"], 2.5, None)
    assert (second["attempts"], second["content"]) == (2, "/in/\\udcff.jpg")
    assert list(first) == list(table(run / "results.csv")[0])


def test_without_pyarrow_the_csv_files_are_written_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    run = make_run(tmp_path, [record(1)])
    assert [path.name for path in write_results(run)] == ["results.csv", "failed.csv"]


def test_tables_are_replaced_whole_and_nothing_else_is_left(tmp_path):
    run = make_run(tmp_path, [record(1)])
    (run / "results.csv").write_text("old")
    written = write_results(run)
    assert {path.name for path in run.iterdir()} == {"journal.jsonl", *(path.name for path in written)}
    assert len(table(run / "results.csv")) == 1


def test_a_table_that_cannot_be_written_is_said(tmp_path):
    run = make_run(tmp_path, [record(1)])
    (run / "results.csv").mkdir()
    with pytest.raises(OutputError, match=r"results\.csv"):
        write_results(run)
    assert not list(run.glob("*.part")) and not list(run.glob(".*.part"))


def test_memory_holds_one_number_a_job_and_no_record(tmp_path):
    many = 5000
    run = make_run(tmp_path, (record(n, "failed", error="e" * 2000) for n in range(many)))
    size = (run / "journal.jsonl").stat().st_size
    tracemalloc.start()
    try:
        records = read_last_records(run)
        assert sum(len(each.result.error) for each in records) == many * 2000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(records.places) * records.places.itemsize == 8 * many
    assert peak < size / 5


def test_a_run_is_found_by_its_output_folder_and_by_itself(tmp_path):
    run = make_run(tmp_path / "out", [record(1)])
    assert find_run(tmp_path / "out") == find_run(run) == run
    with pytest.raises(UsageError, match="there is no run"):
        find_run(tmp_path)


def test_the_run_of_a_url_is_found_where_the_batch_kept_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = default_run_directory("s3://bucket/out")
    run.mkdir()
    (run / "journal.jsonl").touch()
    assert find_run("s3://bucket/out") == run


def test_the_shards_of_a_run_are_named(tmp_path):
    shard = default_run_directory(str(tmp_path), (2, 4))
    shard.mkdir(parents=True)
    (shard / "journal.jsonl").touch()
    with pytest.raises(UsageError, match="shard-2-of-4"):
        find_run(tmp_path)
    assert find_run(shard) == shard


def test_a_journal_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"journal.*cannot be read"):
        read_last_records(tmp_path)
