"""What a manifest may say, in every kind of file, and how its mistakes are told."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from gluon_nst import storage
from gluon_nst.batch.columns import IGNORED_COLUMNS
from gluon_nst.batch.manifest import Row, read_manifest
from gluon_nst.errors import ManifestError
from gluon_nst.recipe_files import load_recipe, override, tailor, to_toml

RECIPE = load_recipe()
OUT = "/srv/out"


def rows(path: Path | str, **options: Any) -> list[Row]:
    return list(read_manifest(path, recipe=RECIPE, output=OUT, **options))


def one(path: Path | str) -> Row:
    (row,) = rows(path)
    return row


def refusal(path: Path | str) -> str:
    with pytest.raises(ManifestError) as caught:
        rows(path)
    return str(caught.value)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_csv(path: Path, *lines: Sequence[object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def write_json(path: Path, *objects: object) -> Path:
    return write(path, "\n".join(map(json.dumps, objects)))


RECORDS = [
    {"content": "a.jpg", "style": "s.jpg", "size": 512, "output": "one.jpg", "style_weight": 2.5},
    {"content": "/x/b.jpg", "style": "s.jpg", "clip": False, "optimizer": "lbfgs"},
]


def _as_csv(folder: Path, suffix: str = ".csv", delimiter: str = ",") -> Path:
    columns = list(dict.fromkeys(key for record in RECORDS for key in record))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(columns)
    writer.writerows(
        [str(record.get(name, "")).replace("False", "false") for name in columns] for record in RECORDS
    )
    return write(folder / f"jobs{suffix}", text.getvalue())


def _as_json(folder: Path, suffix: str = ".jsonl") -> Path:
    return write_json(folder / f"jobs{suffix}", *RECORDS)


def _as_parquet(folder: Path) -> Path:
    parquet.write_table(pa.Table.from_pylist(RECORDS, schema=_schema()), folder / "jobs.parquet")
    return folder / "jobs.parquet"


def _schema() -> pa.Schema:
    kinds = {"size": pa.int64(), "style_weight": pa.float64(), "clip": pa.bool_()}
    names = dict.fromkeys(key for record in RECORDS for key in record)
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def _packed(path: Path) -> Path:
    return write(path.with_name(f"{path.name}.gz"), gzip.compress(path.read_bytes()))


@pytest.mark.parametrize(
    "make",
    [
        _as_csv,
        lambda folder: _as_csv(folder, ".tsv", "\t"),
        lambda folder: _as_csv(folder, ".CSV"),
        lambda folder: _packed(_as_csv(folder)),
        _as_json,
        lambda folder: _as_json(folder, ".ndjson"),
        lambda folder: _packed(_as_json(folder)),
        _as_parquet,
    ],
)
def test_every_kind_of_file_says_the_same(tmp_path: Path, make: Any) -> None:
    first, second = rows(make(tmp_path))
    assert (first.content, first.styles, first.blend) == (
        str(tmp_path / "a.jpg"),
        (str(tmp_path / "s.jpg"),),
        (),
    )
    assert (first.output, second.output) == (f"{OUT}/one.jpg", None)
    assert (second.content, first.relative, second.relative) == ("/x/b.jpg", "a.jpg", "b.jpg")
    assert first.recipe == tailor(RECIPE, size=512).replace(style_weight=2.5)
    assert second.recipe == RECIPE.replace(clip=False, optimizer="lbfgs")


def test_rows_say_where_they_come_from(tmp_path: Path) -> None:
    path = write(tmp_path / "jobs.csv", 'content,style\n"two\nlines.jpg",s\n\n,\nb.jpg,s\n')
    assert [(row.line, row.origin) for row in rows(path)] == [
        (2, f"line 2 of {path}"),
        (6, f"line 6 of {path}"),
    ]
    path = write(tmp_path / "jobs.jsonl", '{"content": "a", "style": "s"}\n\n{"content": "b", "style": "s"}')
    assert [row.line for row in rows(path)] == [1, 3]
    assert [row.origin for row in rows(_as_parquet(tmp_path))][1] == f"row 2 of {tmp_path}/jobs.parquet"


STYLES = [
    (["a.jpg", "b;=2.jpg"], ("a.jpg", "b;=2.jpg"), ()),
    ({"a.jpg": 2, "b.jpg": 0.5}, ("a.jpg", "b.jpg"), (2.0, 0.5)),
    ([["a.jpg", 2], ["a.jpg", 1]], ("a.jpg", "a.jpg"), (2.0, 1.0)),
    ([{"style": "a.jpg", "weight": 3}, {"style": "b.jpg"}], ("a.jpg", "b.jpg"), (3.0, 1.0)),
    (["a.jpg"], ("a.jpg",), ()),
    ({"a.jpg": 7}, ("a.jpg",), ()),
]


@pytest.mark.parametrize(("given", "styles", "blend"), STYLES)
def test_several_styles_and_weights(
    tmp_path: Path, given: object, styles: tuple[str, ...], blend: object
) -> None:
    paths = [
        write_csv(tmp_path / "jobs.csv", ("content", "styles"), ("/c.jpg", json.dumps(given))),
        write_json(tmp_path / "a.jsonl", {"content": "/c.jpg", "styles": given}),
        write_json(tmp_path / "b.jsonl", {"content": "/c.jpg", "styles": json.dumps(given)}),
        write_json(tmp_path / "c.jsonl", {"content": "/c.jpg", "style": given}),
    ]
    for path in paths:
        row = one(path)
        assert row.styles == tuple(str(tmp_path / style) for style in styles)
        assert row.blend == blend


def test_styles_in_parquet_may_be_lists_maps_and_structures(tmp_path: Path) -> None:
    path = tmp_path / "jobs.parquet"
    kinds = [
        (pa.list_(pa.string()), ["a", "b"], ()),
        (pa.map_(pa.string(), pa.float64()), [("a", 2.0), ("b", 1.0)], (2.0, 1.0)),
        (pa.struct([("a", pa.float64()), ("b", pa.float64())]), {"a": 2.0, "b": 1.0}, (2.0, 1.0)),
    ]
    for kind, value, blend in kinds:
        schema = pa.schema([("content", pa.string()), ("styles", kind)])
        parquet.write_table(pa.Table.from_pylist([{"content": "/c", "styles": value}], schema=schema), path)
        assert one(path).styles == (str(tmp_path / "a"), str(tmp_path / "b"))
        assert one(path).blend == blend


def test_the_path_in_the_column_style_is_taken_as_it_is(tmp_path: Path) -> None:
    names = ['["a"]', "a=2;b.jpg", "{x}", " lead.jpg", "Zoë 雪,\n%#.jpg"]
    path = write_csv(tmp_path / "jobs.csv", ("content", "style"), *(("/c", name) for name in names))
    assert [row.styles for row in rows(path)] == [(str(tmp_path / name),) for name in names]


def test_relative_paths_begin_at_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    write_csv(tmp_path / "lists" / "jobs.csv", ("content", "style"), ("../in/./a.jpg", "s3://b/s.jpg"))
    monkeypatch.chdir(tmp_path)
    row = one("lists/jobs.csv")
    assert (row.content, row.relative, row.styles) == (
        f"{tmp_path}/lists/../in/a.jpg",
        "a.jpg",
        ("s3://b/s.jpg",),
    )


@pytest.mark.parametrize(
    ("content", "relative"),
    [
        ("a/b/c.jpg", "a/b/c.jpg"),
        ("./a//c.jpg", "a/c.jpg"),
        ("a/../../c.jpg", "c.jpg"),
        ("/a/c.jpg", "c.jpg"),
        ("s3://bucket/a/c.jpg", "c.jpg"),
        ("zip://a/c.jpg::/x/y.zip", "c.jpg"),
    ],
)
def test_the_tree_below_the_manifest_is_kept(tmp_path: Path, content: str, relative: str) -> None:
    assert one(write_csv(tmp_path / "jobs.csv", ("content", "style"), (content, "s"))).relative == relative


def test_a_manifest_may_be_a_url() -> None:
    url = "memory://gluon_nst_test_manifest/lists"
    storage.write_bytes(f"{url}/jobs.csv", b"content,style\nin/a.jpg,/s.jpg\n")
    storage.write_bytes(f"{url}/jobs.jsonl.gz", gzip.compress(b'{"content": "in/a.jpg", "style": "/s.jpg"}'))
    for name in ("jobs.csv", "jobs.jsonl.gz"):
        row = one(f"{url}/{name}")
        assert (row.content, row.styles, row.relative) == (f"{url}/in/a.jpg", ("/s.jpg",), "in/a.jpg")
    fsspec.filesystem("memory").rm("/gluon_nst_test_manifest", recursive=True)


@pytest.mark.parametrize(
    "text", ["content,style\na.jpg,s.jpg\n", '{"content": "a.jpg", "style": "s.jpg"}\n'], ids=["csv", "json"]
)
def test_a_manifest_may_come_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    row = one("-")
    assert (row.content, row.styles) == (f"{tmp_path}/a.jpg", (f"{tmp_path}/s.jpg",))
    assert row.origin.endswith("of standard input")


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfcontent , style\r\n/Zo\xc3\xab.jpg,/s.jpg\r\n"
    assert one(write(tmp_path / "jobs.csv", text)).content == "/Zoë.jpg"
    assert (
        one(write(tmp_path / "j.jsonl", b'\xef\xbb\xbf{"content": "/a", "style": "/s"}\r\n')).content == "/a"
    )


def test_settings_mean_what_the_options_of_the_command_mean(tmp_path: Path) -> None:
    columns = (
        "content",
        "style",
        "size",
        "steps",
        "style_layers.relu1_1",
        "content_layers",
        "shape",
        "pooling",
    )
    cells = ("/c", "/s", "original", "600", "0.25", "relu3_1,relu4_2", "", "average")
    expected = override(
        tailor(RECIPE, size="original", steps=600),
        ["style_layers.relu1_1=0.25", "content_layers=relu3_1,relu4_2", "pooling=average"],
    )
    assert one(write_csv(tmp_path / "jobs.csv", columns, cells)).recipe == expected
    record = {**dict(zip(columns, cells, strict=True)), "steps": 600, "shape": None}
    record["style_layers.relu1_1"], record["content_layers"] = 0.25, {"relu3_1": 1, "relu4_2": 1.0}
    assert one(write_json(tmp_path / "jobs.jsonl", record)).recipe == expected


def test_whole_numbers_may_be_written_as_pandas_writes_them(tmp_path: Path) -> None:
    columns = ("content", "style", "size", "steps", "seed")
    expected = tailor(RECIPE, size=512, steps=100, seed=3)
    for size, steps, seed in (("512.0", "100.0", "3.0"), (512.0, 100.0, 3.0)):
        assert one(write_csv(tmp_path / "j.csv", columns, ("/c", "/s", size, steps, seed))).recipe == expected
    record = dict(zip(columns, ("/c", "/s", 512.0, 100.0, float("nan")), strict=True))
    assert one(write_json(tmp_path / "j.jsonl", record)).recipe == tailor(RECIPE, size=512, steps=100)


def test_a_row_may_name_another_recipe(tmp_path: Path) -> None:
    write(tmp_path / "mine.toml", to_toml(RECIPE.replace(style_weight=9)))
    path = write_csv(
        tmp_path / "jobs.csv", ("content", "style", "recipe", "steps"),
        ("/c", "/s", "d2l", ""), ("/c", "/s", "mine.toml", ""), ("/c", "/s", "", ""),
    )  # fmt: skip
    assert [row.recipe for row in rows(path)] == [load_recipe("d2l"), RECIPE.replace(style_weight=9), RECIPE]


def test_equal_recipes_are_one_object(tmp_path: Path) -> None:
    cells = ["", "2", "2.0", str(RECIPE.style_weight), "2"]
    path = write_csv(
        tmp_path / "jobs.csv", ("content", "style", "style_weight"), *(("/c", "/s", cell) for cell in cells)
    )
    recipes = [row.recipe for row in rows(path)]
    assert recipes[0] is recipes[3] is RECIPE
    assert recipes[1] is recipes[2] is recipes[4] is not RECIPE


def test_a_list_of_failed_jobs_is_a_manifest(tmp_path: Path) -> None:
    told = sorted(IGNORED_COLUMNS - {""})
    columns = ["content", "style", "styles", "output", *told, "style_weight"]
    styles = json.dumps([{"style": "/s", "weight": 2}, {"style": "/t", "weight": 1}])
    path = write_csv(
        tmp_path / "failed.csv", columns,
        ["/c", "/s", "", f"{OUT}/deep/c.jpg", *("odd" for _ in told), "3"],
        ["/d", "", styles, f"{OUT}/d.jpg", *("" for _ in told), ""],
    )  # fmt: skip
    first, second = rows(path)
    assert (first.styles, first.output, first.recipe.style_weight) == (("/s",), f"{OUT}/deep/c.jpg", 3)
    assert (second.styles, second.blend) == (("/s", "/t"), (2.0, 1.0))


def test_a_style_may_be_left_out_where_the_batch_has_its_own(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "jobs.csv", ("content",), ("/c",))
    assert rows(path, needs_style=False)[0].styles == ()
    assert f"line 2 of {path}: it has no style" in refusal(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("content,stile\n/c,/s\n", "line 1 of .*no column 'stile'.*Did you mean 'style'?"),
        ("content,style,style_wieght\n", "Did you mean 'style_weight'?"),
        ("content,style,style\n/c,/s,/t\n", "several columns 'style'"),
        ("style,output\n/s,x.jpg\n", "line 1 of .*no column 'content'; the columns are style, output"),
        ("content;style\n/c;/s\n", "separated by commas"),
        ("", "it is empty"),
        ("content,style\n", "no rows"),
        ("content,style\n,/s\n", "line 2 of .*no content"),
        ("content,style\n/c,\n", "line 2 of .*no style"),
        ("content,style\n/c\n", "line 2 of .*1 cells under 2 columns"),
        ('content,style\n/c,/s\n/c,"open\n' + "x\n" * 90_000, "line 3 of .*quotation mark left open"),
        ("content,style,size\n/c,/s,big\n", "line 2 of .*size is 'big'.*longer side"),
        ("content,style,steps\n/c,/s,1.5\n", "line 2 of .*steps is '1.5'.*whole number"),
        ("content,style,steps\n/c,/s,0\n", "line 2 of .*steps is 0.*from 1"),
        ("content,style,pooling\n/c,/s,averag\n", "line 2 of .*Did you mean 'average'"),
        ("content,style,recipe\n/c,/s,defalt\n", "line 2 of .*Did you mean 'default'"),
        ("content,style,recipe\n/c,/s,no.toml\n", "line 2 of .*cannot read the recipe"),
        ("content,style,output\n/c,/s,../x.jpg\n", "line 2 of .*below the output directory"),
        ("content,style,output\n/c,/s,/etc/x.jpg\n", "line 2 of .*below the output directory"),
        ("content,style,output\n/c,/s,x.gif\n", "line 2 of .*no ending of a picture.*jpg"),
        ("content,style,styles\n/c,/s,/t\n", "line 2 of .*both style and styles"),
        ("content,styles\n/c,/t\n", "line 2 of .*takes JSON.*column style"),
        ("content,styles\n/c,[]\n", "line 2 of .*a style is"),
        ("content,styles\n/c,[3]\n", "line 2 of .*a style is 3"),
        ('content,styles\n/c,"{""a"": -1}"\n', "line 2 of .*weight of the style 'a' is -1"),
        ('content,styles\n/c,"{""a"": 0, ""b"": 0}"\n', "line 2 of .*weight 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_csv_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "jobs.csv", text)
    with pytest.raises(ManifestError, match=f"(?s){message}") as caught:
        rows(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"content": "/c", "style": "/s"\n', "line 1 of .*no valid JSON"),
        ('["/c", "/s"]\n', "line 1 of .*no JSON object"),
        ('\n\n{"content": 3, "style": "/s"}\n', "line 3 of .*content is 3; it takes text"),
        ('{"content": "/c", "style": 3}\n', "line 1 of .*a style is 3"),
        ('{"content": "/c", "style": "/s", "stule": 1}\n', "line 1 of .*Did you mean 'style'"),
        ('{"content": "/c", "style": "/s", "clip": 3}\n', "line 1 of .*clip is 3; it takes true or false"),
        ('{"content": "/c", "style": "/s", "steps": true}\n', "line 1 of .*steps is True"),
        ("[" * 100_000 + "\n", "line 1 of .*no valid JSON"),
        ("", "no rows"),
    ],
)
def test_what_is_wrong_in_json_lines_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=f"(?s){message}"):
        rows(write(tmp_path / "jobs.jsonl", text))


def test_problems_are_told_together(tmp_path: Path) -> None:
    lines = [("/c", "/s") if number % 2 else ("/c", "") for number in range(2, 100)]
    path = write_csv(tmp_path / "jobs.csv", ("content", "style"), *lines)
    told = refusal(path).splitlines()
    assert "the first 20" in told[0]
    assert [line.split(":")[0].strip() for line in told[1:]] == [
        f"line {n} of {path}" for n in range(2, 42, 2)
    ]
    path = write_csv(tmp_path / "jobs.csv", ("content", "style"), *lines[:3])
    assert refusal(path).splitlines()[0].endswith("here 2:")


def test_rows_before_the_first_problem_are_given(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "jobs.csv", ("content", "style"), ("/a", "/s"), ("", "/s"), ("/b", "/s"))
    found = read_manifest(path, recipe=RECIPE, output=OUT)
    assert next(found).content == "/a"
    with pytest.raises(ManifestError, match="line 3"):
        next(found)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    latin = "content,style\n/c,/s\n/Zoë.jpg,/s\n".encode("latin-1")
    assert "line 3 of" in refusal(write(tmp_path / "jobs.csv", latin))
    assert "save the manifest as UTF-8" in refusal(tmp_path / "jobs.csv")
    wide = "content,style\n/c,/s\n".encode("utf-16")
    assert "it is UTF-16; save it as UTF-8" in refusal(write(tmp_path / "jobs.csv", wide))


def test_a_file_name_that_is_no_utf_8_is_accepted_if_it_is_there(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xe9.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    row = one(write(tmp_path / "jobs.csv", b"content,style\n" + raw + b",/s\n"))
    assert os.fsencode(row.content) == raw


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "No such file"),
        ("jobs.txt", b"content,style\n", "kind of the manifest .* is unknown"),
        ("jobs.csv.gz", b"content,style\n/c,/s\n", "cannot be read"),
        ("jobs.jsonl.gz", gzip.compress(b'{"content": "/c", "style": "/s"}\n' * 9000)[:-20], "read further"),
        ("jobs.parquet", b"PAR1 is what I am not", "cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(ManifestError, match=message) as caught:
        rows(tmp_path / name)
    assert name in str(caught.value)


def test_parquet_without_pyarrow_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _as_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'gluon-nst[parquet]'" in refusal(path)


def _peak_of_reading(path: Path) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_manifest(path, recipe=RECIPE, output=OUT)) == 20_000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_reading_takes_no_memory_for_rows_that_are_done(tmp_path: Path) -> None:
    tail = "x" * 200
    write_csv(tmp_path / "j.csv", ("content", "style"), *((f"/{n}/{tail}.jpg", "/s") for n in range(20_000)))
    write_json(tmp_path / "j.jsonl", *({"content": f"/{n}/{tail}.jpg", "style": "/s"} for n in range(20_000)))
    for path in (tmp_path / "j.csv", tmp_path / "j.jsonl"):
        assert _peak_of_reading(path) < path.stat().st_size / 8


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "jobs.csv", ("content", "style"), *(("/c", "/s") for _ in range(99_999)), ("/c",)
    )
    found = read_manifest(path, recipe=RECIPE, output=OUT)
    assert [row.line for row in itertools.islice(found, 3)] == [2, 3, 4]
