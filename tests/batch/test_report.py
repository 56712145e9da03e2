from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gluon_nst.batch.gallery import MAX_ROWS, choose_records, make_gallery
from gluon_nst.batch.last_records import read_last_records
from gluon_nst.batch.report import watch_report, write_report
from gluon_nst.batch.run_state import read_state
from gluon_nst.batch.summary import summarize
from gluon_nst.batch.thumbnail_cache import open_cache
from gluon_nst.batch.thumbnails import Look, choose_look, make_thumbnail, make_thumbnails
from gluon_nst.cli import cli
from gluon_nst.errors import OutputError, UsageError
from tests.batch.runs import make_run, picture, record

DATA = Path(__file__).parents[2] / "data"
LOOK = Look(64, 80)
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "\u2028\u2029",
    "{{ 7*7 }}",
]


def page_of(run: Path) -> str:
    return (run / "report.html").read_text()


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def decoded(thumbnail) -> Image.Image:
    data = base64.b64decode(thumbnail) if isinstance(thumbnail, str) else thumbnail.data
    return Image.open(io.BytesIO(data))


def test_a_row_tells_of_its_job_and_shows_its_pictures(tmp_path):
    content, style = picture(tmp_path / "c.png"), picture(tmp_path / "s.png")
    output = picture(tmp_path / "out" / "o.png")
    run = make_run(tmp_path / "out", [record(1, content=content, styles=(style,), output=output, steps=9)])
    write_report(tmp_path / "out")
    data = data_of(page_of(run))
    (row,) = data["rows"]
    assert (row["steps"], row["losses"]["total"], row["status"]) == (9, 3.5, "succeeded")
    shown = [
        data["pictures"][row["content"]],
        data["pictures"][row["styles"][0]],
        data["pictures"][row["stylized"]],
    ]
    assert [(each["path"], each["link"]) for each in shown] == [
        (content, "../../c.png"), (style, "../../s.png"), (output, "../o.png"),
    ]  # fmt: skip
    assert all(decoded(each["thumbnail"]).format == "WEBP" for each in shown)


def test_a_style_that_all_jobs_share_is_in_the_page_once(tmp_path):
    run = make_run(tmp_path, [record(n) for n in range(50)])
    write_report(tmp_path)
    assert page_of(run).count("/styles/waves.jpg") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_text_everywhere(tmp_path, text):
    fields = {
        "content": f"/in/{text}.jpg",
        "styles": (text,),
        "error": text,
        "error_type": text,
        "worker": text,
    }
    status = {"state": "running", "total": 9, "message": text, "workers": [{"name": text, "state": text}]}
    run = make_run(tmp_path, [record(1, "failed", **fields)], status=status)
    (run / "run.json").write_text(json.dumps({"identity": {text: text}}))
    write_report(tmp_path)
    page = page_of(run)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<!--" not in page and "<img src" not in page
    data_block = re.search(r'id="data">(.*?)</script>', page, re.S)[1]
    assert data_block.isascii() and not set("<>&") & set(data_block)
    assert data_of(page)["rows"][0]["error"] == text
    assert text in html.unescape(page)


def test_the_page_may_load_nothing_and_run_only_its_own_script(tmp_path):
    run = make_run(tmp_path, [record(1)])
    write_report(tmp_path)
    page = page_of(run)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inline = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_no_numbers_do_not_break_the_page(tmp_path, value):
    run = make_run(tmp_path, [record(1, losses={"total": value, "tv": 1.0})])
    write_report(tmp_path)
    assert data_of(page_of(run))["rows"][0]["losses"] == {"total": None, "tv": 1.0}


def test_a_picture_that_vanished_is_said_and_not_linked(tmp_path):
    output = picture(tmp_path / "o.png")
    run = make_run(tmp_path, [record(1, output=output)])
    Path(output).unlink()
    write_report(tmp_path)
    data = data_of(page_of(run))
    gone = data["pictures"][data["rows"][0]["stylized"]]
    assert (gone["thumbnail"], gone["link"], gone["problem"]) == ("", "", "file not found")


def test_a_failed_job_shows_what_was_kept_aside_and_never_an_older_output(tmp_path):
    older, aside = picture(tmp_path / "o.png"), picture(tmp_path / "aside.png")
    run = make_run(
        tmp_path, [record(1, "failed", output=older), record(2, "failed", output=older, aside=aside)]
    )
    write_report(tmp_path)
    data = data_of(page_of(run))
    assert "stylized" not in data["rows"][0]
    assert data["pictures"][data["rows"][1]["stylized"]]["path"] == aside


def test_links_survive_signs_that_mean_something_in_addresses(tmp_path):
    odd = os.fsdecode(b"a b#c?d%e:f\xff.png")
    run = make_run(tmp_path, [record(1, output=picture(tmp_path / odd))])
    write_report(tmp_path)
    data = data_of(page_of(run))
    assert data["pictures"][data["rows"][0]["stylized"]]["link"] == "../a%20b%23c%3Fd%25e%3Af%FF.png"


def test_a_page_elsewhere_links_from_where_it_lies(tmp_path):
    make_run(tmp_path / "out", [record(1, output=picture(tmp_path / "out" / "o.png"))])
    page = tmp_path / "pages" / "deep" / "p.html"
    write_report(tmp_path / "out", str(page))
    text = page.read_text()
    assert '"../../out/o.png"' in text and 'href="../../out/.gluon-nst/results.csv"' in text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnails_are_upright_for_every_orientation(tmp_path, orientation):
    # What a camera stores so that the picture, undone as EXIF 2.32 says, has its red corner top left.
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (255, 0, 0)
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, 3),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.jpg", exif=exif, quality=95, subsampling=0)
    small = np.asarray(decoded(make_thumbnail(str(tmp_path / "x.jpg"), LOOK)).convert("RGB")).astype(int)
    assert small.shape == (40, 60, 3)
    assert small[5:15, 5:25, 0].min() > 200 and small[25:, :, 0].max() < 60 and small[:, 35:, 0].max() < 60


@pytest.mark.parametrize(
    ("kind", "mode"), [("png", "I;16"), ("png", "P"), ("png", "LA"), ("jpeg", "CMYK"), ("tiff", "L")]
)
def test_pictures_of_every_mode_get_a_thumbnail_that_fits(tmp_path, kind, mode):
    Image.new("L", (300, 100), 128).convert(mode).save(tmp_path / "x", kind)
    assert decoded(make_thumbnail(str(tmp_path / "x"), LOOK)).size == (64, 21)


def test_transparency_stays_transparent(tmp_path):
    Image.new("RGBA", (30, 10), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert decoded(make_thumbnail(str(tmp_path / "x.png"), LOOK)).getchannel("A").getextrema() == (0, 0)


def test_what_is_no_picture_has_a_reason_instead(tmp_path):
    (tmp_path / "x.jpg").write_text("hello")
    thumbnail = make_thumbnail(str(tmp_path / "x.jpg"), LOOK)
    assert thumbnail.data == b"" and "it is a text file" in thumbnail.problem


def test_a_thumbnail_is_kept_until_its_picture_changes(tmp_path):
    path = Path(picture(tmp_path / "x.png", color=(255, 0, 0)))
    with open_cache(tmp_path) as cache:
        first = make_thumbnails({str(path): ""}, LOOK, cache)[str(path)]
    times = path.stat()
    # Other bytes, but the size and time of before: only the cache can still say red.
    path.write_bytes(bytes(times.st_size))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with open_cache(tmp_path) as cache:
        assert make_thumbnails({str(path): ""}, LOOK, cache)[str(path)] == first
        picture(path, color=(0, 0, 255))
        os.utime(path, ns=(1, 1))
        changed = make_thumbnails({str(path): ""}, LOOK, cache)[str(path)]
    red, _, blue = decoded(changed).convert("RGB").getpixel((5, 5))
    assert blue > 200 and red < 60


def test_a_damaged_cache_hinders_no_report(tmp_path):
    run = make_run(tmp_path, [record(1, output=picture(tmp_path / "o.png"))])
    (run / "thumbnails.sqlite").write_bytes(b"no database at all" * 100)
    write_report(tmp_path)
    data = data_of(page_of(run))
    assert data["pictures"][data["rows"][0]["stylized"]]["thumbnail"]


def test_pictures_on_other_file_systems_are_shown_and_not_linked(tmp_path):
    import fsspec

    with fsspec.open("memory://gluon_nst_test_report/o.png", "wb") as file:
        Image.new("RGB", (20, 10)).save(file, "png")
    run = make_run(tmp_path, [record(1, output="memory://gluon_nst_test_report/o.png")])
    write_report(tmp_path)
    fsspec.filesystem("memory").rm("/gluon_nst_test_report", recursive=True)
    data = data_of(page_of(run))
    shown = data["pictures"][data["rows"][0]["stylized"]]
    assert shown["thumbnail"] and shown["link"] == ""


def test_thumbnails_shrink_as_rows_grow():
    looks = [choose_look(rows) for rows in (1, 501, 1501, 4001, MAX_ROWS)]
    assert looks == sorted(looks, reverse=True) and len(set(looks)) == len(looks)


def test_a_page_of_ten_thousand_photographs_stays_below_40_mb(tmp_path):
    photos, paintings = (sorted((DATA / name).glob("*.jpg")) for name in ("photos", "styles"))

    def job(number):
        # Another name for the same file: each gets a thumbnail of its own.
        content, output = tmp_path / f"c{number}.jpg", tmp_path / f"o{number}.jpg"
        content.symlink_to(photos[number % len(photos)])
        output.symlink_to(paintings[number % len(paintings)])
        return record(number, content=str(content), output=str(output), seconds=12.3456)

    # The size of a row, from two short pages of a run that is to have ten thousand.
    sizes = []
    for first, end in ((0, 30), (30, 330)):
        out = tmp_path / f"run{first}"
        run = make_run(out, map(job, range(first, end)), status={"state": "running", "total": 10_000})
        write_report(out)
        sizes.append((run / "report.html").stat().st_size)
    assert (sizes[1] - sizes[0]) / (300 - 30) * 10_000 < 40e6 - sizes[0]


def test_thumbnails_have_their_final_look_while_a_run_grows(tmp_path):
    run = make_run(tmp_path, [record(1, output=picture(tmp_path / "o.png", size=(600, 400)))])
    with open_cache(run) as cache:
        gallery = make_gallery(read_last_records(run), cache, run, expected=10_000)
    assert decoded(gallery.pictures[-1]["thumbnail"]).size == (96, 64)


def test_too_many_rows_leave_room_for_failures_first(tmp_path):
    run = make_run(tmp_path, [record(n, "failed" if n % 3 == 2 else "succeeded") for n in range(9)])
    chosen = choose_records(read_last_records(run), most=5)
    assert [int(each.result.job_id, 16) for each in chosen] == [0, 1, 2, 5, 8]


def test_errors_that_differ_in_names_and_numbers_are_one_kind(tmp_path):
    errors = [
        record(n, "failed", error_type="E", error=f"/photos/{n:05d}.jpg has {n} pixels") for n in range(4)
    ]
    other = record(9, "timeout", error="no answer")
    summary = summarize(read_last_records(make_run(tmp_path, [record(8), other, *errors])))
    assert [(group.count, group.pattern) for group in summary.errors] == [
        (4, "E: … has # pixels"), (1, "timeout: no answer"),
    ]  # fmt: skip
    assert summary.errors[0].example.content == "/photos/00000.jpg"
    assert (summary.total, summary.failures, summary.counts["succeeded"]) == (6, 5, 1)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"total": "x", "workers": [1, {"done": null}], "eta_seconds": NaN}']
)
def test_a_status_that_makes_no_sense_does_no_harm(tmp_path, text):
    run = make_run(tmp_path, [record(1)])
    (run / "status.json").write_text(text)
    write_report(tmp_path)
    assert not read_state(run).over


def test_progress_is_told_while_the_run_goes_on(tmp_path):
    worker = {"name": "node-7:0", "state": "busy", "device": "gpu:0", "done": 3, "failed": 1}
    status = {
        "state": "running",
        "total": 400,
        "images_per_hour": 1234.5,
        "eta_seconds": 3900,
        "workers": [worker],
    }
    run = make_run(tmp_path, [record(1)], status=status)
    write_report(tmp_path, reload_seconds=3)
    page = page_of(run)
    for text in ("1 of 400", "1,234", "1 h 05 min", "node-7:0", "this page refreshes itself"):
        assert text in page
    assert data_of(page)["reload"] == 3


def test_a_page_of_a_finished_run_never_reloads(tmp_path):
    run = make_run(tmp_path, [record(1)], status={"state": "finished", "total": 1})
    write_report(tmp_path, reload_seconds=3)
    assert data_of(page_of(run))["reload"] is None and 'id="progress"' not in page_of(run)


def test_watching_ends_with_the_run_and_has_seen_its_last_job(tmp_path):
    run = make_run(tmp_path, [record(1)], status={"state": "running", "total": 2})
    seen = []
    for report in watch_report(tmp_path, every=0.01):
        seen.append(report.summary.total)
        if len(seen) == 2:
            make_run(tmp_path, [record(1), record(2)], status={"state": "finished", "total": 2})
    assert seen == [1, 1, 2]
    assert data_of(page_of(run))["reload"] is None and len(data_of(page_of(run))["rows"]) == 2
    assert "0000000000000002" in (run / "results.csv").read_text()


def test_watching_that_is_stopped_leaves_a_page_that_stands_still(tmp_path):
    run = make_run(tmp_path, [record(1)], status={"state": "running", "total": 2})
    watching = watch_report(tmp_path, every=0.01)
    next(watching)
    assert data_of(page_of(run))["reload"] == 0.01
    watching.close()
    assert data_of(page_of(run))["reload"] is None


def test_a_journal_that_is_being_written_can_be_reported(tmp_path):
    run = make_run(tmp_path, [])
    done = threading.Event()

    def write() -> None:
        with (run / "journal.jsonl").open("a", buffering=1) as file:
            for number in range(300):
                file.write(json.dumps(record(number)) + "\n")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    totals = []
    while not (totals and done.is_set()):
        totals.append(write_report(tmp_path).summary.total)
    writer.join()
    assert totals == sorted(totals)
    assert write_report(tmp_path).summary.total == 300


def test_the_command_says_what_was_found_and_where_it_wrote(tmp_path):
    run = make_run(
        tmp_path, [record(1), record(2, "failed", error_type="ImageReadError", error="bad\x1b[31m file")]
    )
    result = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert result.exit_code == 0
    assert "2 jobs: 1 succeeded, 1 failed" in result.output
    assert (
        "1 x ImageReadError: bad\\x1b[31m file" in result.output
        and "such as /photos/00002.jpg" in result.output
    )
    assert f"wrote {run / 'report.html'}" in result.output and f"wrote {run / 'failed.csv'}" in result.output


def test_the_command_gives_json(tmp_path):
    make_run(tmp_path, [record(1), record(2, "poison", error="died")], status={"state": "stopped"})
    result = CliRunner().invoke(
        cli, ["report", str(tmp_path), "--json", "-o", str(tmp_path / "p.html"), "--watch"]
    )
    found = json.loads(result.stdout)
    assert (found["counts"]["poison"], found["state"], found["page"]) == (
        1,
        "stopped",
        str(tmp_path / "p.html"),
    )
    assert found["errors"][0]["error"] == "died" and (tmp_path / "p.html").is_file()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no run in"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_is_said(tmp_path):
    make_run(tmp_path, [record(1)])
    with pytest.raises(OutputError):
        write_report(tmp_path, str(tmp_path))
