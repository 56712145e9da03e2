"""Where outputs go, and where they never go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluon_nst.batch.naming import DEFAULT_NAME, check_name, output_name, place_output
from gluon_nst.errors import UsageError


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT_NAME, "trip/day 1/cat.v2__waves.png"),
        ("{stem}", "trip/day 1/cat.v2.png"),
        ("{name}", "trip/day 1/cat.v2.JPG.png"),
        ("{ext}-{stem}", "trip/day 1/JPG-cat.v2.png"),
        ("{style}/{stem}", "trip/day 1/waves/cat.v2.png"),
        ("{style}/{folder}/{stem}", "waves/trip/day 1/cat.v2.png"),
        ("{folder}/{stem}", "trip/day 1/cat.v2.png"),
        ("{{{stem}}}", "trip/day 1/{cat.v2}.png"),
        ("all", "trip/day 1/all.png"),
    ],
)
def test_a_template_names_outputs(template: str, expected: str) -> None:
    name = output_name(check_name(template), "trip/day 1/cat.v2.JPG", ["art/waves.jpg"], ".png")
    assert name == expected


def test_a_picture_at_the_top_has_no_folder() -> None:
    assert output_name("{folder}/{stem}", "cat.jpg", ["a.jpg"], ".jpg") == "cat.jpg"
    assert output_name("{style}/{folder}/{stem}", "cat.jpg", ["a.jpg"], ".jpg") == "a/cat.jpg"


def test_stems_of_several_styles_are_joined() -> None:
    styles = ["x/a.jpg", "s3://bucket/b.c.png", "zip://in/d.jpg::/e/f.zip"]
    assert output_name(DEFAULT_NAME, "cat.jpg", styles, ".jpg") == "cat__a+b.c+d.jpg"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stm}", "Did you mean 'stem'"),
        ("{stem", "expected '}'"),
        ("stem}", "Single '}'"),
        ("{}", "field ''"),
        ("{stem.__class__}", "field 'stem.__class__'"),
        ("{stem[0]}", r"field 'stem\[0\]'"),
        ("{stem:>9}", "as they are"),
        ("{stem!r}", "as they are"),
        ("", "names no file"),
        ("/abs/{stem}", "names no file"),
        ("../{stem}", "names no file"),
        ("{stem}/", "names no file"),
        ("{stem}/..", "names no file"),
        ("{folder}", "names no file"),
        ("a\0{stem}", "as they are"),
    ],
)
def test_a_template_that_cannot_name_outputs_is_refused(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_name(template)


def test_a_name_too_long_is_shortened_and_stays_the_same_and_its_own() -> None:
    def name(stem: str) -> str:
        return output_name(DEFAULT_NAME, f"{'d' * 300}/{stem}.jpg", ["a.jpg"], ".jpg")

    first, second = name("é" * 127 + "x"), name("é" * 127 + "y")
    assert first == name("é" * 127 + "x") != second
    for part in (*first.split("/"), *second.split("/")):
        assert 240 < len(part.encode()) <= 255
    assert first.endswith(".jpg") and first.split("/")[1].startswith("é" * 100)
    assert name("x" * 248).endswith("x__a.jpg") and "~" in name("x" * 249).split("/")[1]


def test_a_shortened_name_can_be_written(tmp_path: Path) -> None:
    place = place_output(tmp_path, output_name("{stem}", "雪" * 400, [], ".jpg"))
    Path(place).write_bytes(b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_bytes_that_are_no_unicode_stay_in_the_name() -> None:
    stem = os.fsdecode(b"\xff\xe9")
    assert os.fsencode(output_name("{stem}", f"{stem}.jpg", [], ".jpg")) == b"\xff\xe9.jpg"


def test_what_a_name_cannot_hold_is_replaced() -> None:
    assert output_name("{stem}__{style}", "c\0t.jpg", ["s3://b/a\0b.jpg"], ".jpg") == "c_t__a_b.jpg"


@pytest.mark.parametrize(
    ("directory", "name", "expected"),
    [
        ("out", "a/b.jpg", "out/a/b.jpg"),
        ("out/", "a//./b.jpg", "out/a/b.jpg"),
        ("/out", "/out/b.jpg", "/out/b.jpg"),
        ("/out", "/out/x/../b.jpg", "/out/b.jpg"),
        ("/", "b.jpg", "/b.jpg"),
        ("out", "a/../b.jpg", "out/b.jpg"),
        ("out", "..b.jpg", "out/..b.jpg"),
        ("s3://bucket/out", "a/b.jpg", "s3://bucket/out/a/b.jpg"),
        ("s3://bucket/out/", "s3://bucket/out/b.jpg", "s3://bucket/out/b.jpg"),
    ],
)
def test_an_output_is_placed_in_its_directory(directory: str, name: str, expected: str) -> None:
    assert place_output(directory, name) == expected


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/out", "../b.jpg"),
        ("/out", "a/../../b.jpg"),
        ("/out", "/etc/b.jpg"),
        ("/out", "/out/../b.jpg"),
        ("/out", "/outer/b.jpg"),
        ("/out", ""),
        ("/out", "."),
        ("/out", "/out"),
        ("/out", "a/"),
        ("/out", "a\0b.jpg"),
        ("/out", "s3://bucket/b.jpg"),
        ("s3://bucket/out", "/out/b.jpg"),
        ("s3://bucket/out", "s3://bucket/outer/b.jpg"),
        ("s3://bucket/out", "s3://bucket/out/../b.jpg"),
        ("s3://bucket/out", "../b.jpg"),
    ],
)
def test_an_output_that_would_escape_is_refused(directory: str, name: str) -> None:
    with pytest.raises(UsageError, match="below the output directory"):
        place_output(directory, name)


PARTS = st.lists(st.sampled_from(["a", "b.jpg", ".", "..", "...", "", " ", "é"]), max_size=6)


@given(PARTS, st.booleans())
def test_no_name_at_all_leads_outside(parts: list[str], rooted: bool) -> None:
    name = "/" * rooted + "/".join(parts)
    try:
        placed = place_output("/srv/out", name)
    except UsageError:
        return
    assert os.path.realpath(placed).startswith("/srv/out/")


@given(st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1))
def test_any_name_of_a_picture_gives_an_output_below_the_directory(stem: str) -> None:
    placed = place_output("/srv/out", output_name(DEFAULT_NAME, f"{stem}.jpg", [f"{stem}.jpg"], ".jpg"))
    folder, _, name = placed.rpartition("/")
    assert folder == "/srv/out" and len(name.encode()) <= 255
