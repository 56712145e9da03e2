"""What is found among files, folders, globs and URLs, and in which order."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import fsspec
import pytest

from gluon_nst import storage
from gluon_nst.batch.sources import find_pictures
from gluon_nst.errors import ImageReadError
from gluon_nst.listing import fingerprint


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def relatives(*inputs: object, **options: object) -> list[str]:
    return [source.relative for source in find_pictures(map(str, inputs), **options)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make(
        tmp_path / "photos", "b.JPG", "a.jpeg", "deep/er/c.png", "deep/d.Tiff", "notes.txt", ".hidden/e.jpg",
        ".f.jpg", "a/g.webp", "2020/h.jpg", "2021/i.jpg",
    )  # fmt: skip


ALL = ["2020/h.jpg", "2021/i.jpg", "a/g.webp", "a.jpeg", "b.JPG", "deep/d.Tiff", "deep/er/c.png"]


def test_a_folder_gives_its_pictures_at_any_depth_sorted_within_each_folder(photos: Path) -> None:
    assert relatives(photos) == ALL
    assert [source.path for source in find_pictures([photos])] == [str(photos / name) for name in ALL]


def test_a_file_named_by_itself_is_taken_whatever_its_name(photos: Path) -> None:
    (source,) = find_pictures([photos / "notes.txt"])
    assert (source.relative, source.named) == ("notes.txt", True)
    assert not any(source.named for source in find_pictures([photos]))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpeg", ["a.jpeg"]),
        ("*.jp*", ["a.jpeg"]),
        ("*", ALL),
        ("**", ALL),
        ("**/*", ALL),
        ("**/*.jpg", ["2020/h.jpg", "2021/i.jpg"]),
        ("202?/*.jpg", ["2020/h.jpg", "2021/i.jpg"]),
        ("202[1-9]", ["2021/i.jpg"]),
        ("deep/**/c.*", ["er/c.png"]),
        ("**/er/**/c.png", ["deep/er/c.png"]),
        ("d*/**", ["deep/d.Tiff", "deep/er/c.png"]),
        ("[ab].*", ["a.jpeg", "b.JPG"]),
    ],
)
def test_globs(photos: Path, pattern: str, expected: list[str]) -> None:
    assert relatives(photos / pattern) == expected


def test_the_tree_of_a_glob_begins_at_its_first_part_that_is_no_name(photos: Path) -> None:
    assert relatives(photos / "deep" / "*" / "*.png") == ["er/c.png"]
    assert relatives(photos / "d*" / "er" / "*.png") == ["deep/er/c.png"]


def test_a_relative_glob_needs_no_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert relatives("*.jpeg") == ["a.jpeg"]
    assert relatives("deep") == ["d.Tiff", "er/c.png"]
    assert relatives(".") == ALL


ODD = [
    "with space.jpg", "100%.jpg", "a#b.jpg", "[x].jpg", "line\nbreak.jpg", "Zoë 雪.jpg", "star*.jpg", "q?.jpg",
    "{s}.jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_names_first(tmp_path: Path, name: str) -> None:
    make(tmp_path / "in", *ODD)
    assert relatives(tmp_path / "in" / name) == [name]


def test_odd_names_are_found_in_folders(tmp_path: Path) -> None:
    make(tmp_path / "[2020] a*", *ODD)
    assert relatives(tmp_path / "[2020] a*") == sorted(ODD)
    assert relatives(tmp_path / "[2020] a*" / "*.jpg") == sorted(ODD)


def test_names_that_are_no_unicode_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xe9.jpg")).write_bytes(b"x")
    (source,) = find_pictures([tmp_path])
    assert os.fsencode(source.relative) == b"\xff\xe9.jpg"


def test_the_output_folder_is_left_out_where_it_lies_inside_an_input(photos: Path) -> None:
    make(photos / "out", "a.jpg", "deep/b.jpg")
    assert relatives(photos, skip=photos / "out") == ALL
    (photos.parent / "alias").symlink_to(photos / "out")
    assert relatives(photos, skip=photos.parent / "alias") == ALL
    assert relatives(photos / "out", skip=photos / "out") == ["a.jpg", "deep/b.jpg"]


def test_links_are_followed_and_loops_end(photos: Path) -> None:
    (photos / "loop").symlink_to(photos)
    (photos / "deep" / "up").symlink_to(photos / "deep")
    (photos / "self").symlink_to(photos / "self")
    (photos / "gone.jpg").symlink_to(photos / "nothing.jpg")
    make(photos.parent / "far", "z.jpg")
    (photos / "zoo").symlink_to(photos.parent / "far")
    (photos / "zz.jpg").symlink_to(photos / "a.jpeg")
    assert relatives(photos) == [*ALL, "zoo/z.jpg", "zz.jpg"]
    assert relatives(photos / "**" / "*.jpg")[-2:] == ["zoo/z.jpg", "zz.jpg"]


def test_what_is_no_file_is_left_out(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    (photos / "folder.jpg").mkdir()
    assert relatives(photos) == ALL


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/*.jpg", "memory://gluon_nst_none/x", "nosuch://x/y"])
def test_an_input_that_is_missing_is_said_before_anything_is_found(photos: Path, missing: str) -> None:
    with pytest.raises(ImageReadError) as caught:
        find_pictures([photos, missing if "://" in missing else photos / missing])
    assert missing in str(caught.value)


def test_no_picture_at_all_is_said_in_the_end(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(ImageReadError, match=r"no picture in .*bare; pictures end in \.jpg"):
        list(find_pictures([tmp_path / "bare"]))
    assert relatives(tmp_path / "bare", photos) == ALL


def test_folders_are_read_as_they_are_needed(photos: Path) -> None:
    found = find_pictures([photos])
    first = list(islice(found, 2))
    make(photos, "z_late/late.jpg")
    (photos / "deep" / "d.Tiff").unlink()
    assert [source.relative for source in [*first, *found]] == [*ALL[:5], "deep/er/c.png"]


def test_the_fingerprint_of_a_file_changes_with_its_content_and_time(photos: Path) -> None:
    path = photos / "a.jpeg"
    os.utime(path, ns=(1, 5_000_000_001))
    (before,) = find_pictures([path])
    assert before.fingerprint == "1-5000000001" == fingerprint(path)
    path.write_bytes(b"longer")
    os.utime(path, ns=(1, 5_000_000_001))
    assert fingerprint(path) == "6-5000000001"
    os.utime(path, ns=(1, 5_000_000_002))
    assert fingerprint(path) == "6-5000000002"


@pytest.fixture
def memory() -> Iterator[str]:
    folder = "memory://gluon_nst_test_sources"
    for name in ("b.JPG", "deep/c.png", ".hidden/d.jpg", "x.txt", "[x] %#.jpg", "out/e.jpg"):
        storage.write_bytes(f"{folder}/{name}", b"x")
    yield folder
    fsspec.filesystem("memory").rm("/gluon_nst_test_sources", recursive=True)


def test_urls_of_files_folders_and_globs(memory: str) -> None:
    assert relatives(memory, skip=f"{memory}/out/") == ["[x] %#.jpg", "b.JPG", "deep/c.png"]
    assert relatives(f"{memory}/**/*.png") == ["deep/c.png"]
    assert relatives(f"{memory}/deep/*") == ["c.png"]
    assert relatives(f"{memory}/[x] %#.jpg") == ["[x] %#.jpg"]
    paths = [source.path for source in find_pictures([memory])]
    assert paths[-1] == f"{memory}/out/e.jpg"
    assert all(storage.read_bytes(path) == b"x" for path in paths)
    with pytest.raises(ImageReadError, match="no file or folder"):
        find_pictures(["memory://gluon_nst_test_sources/none/*.jpg"])


def test_the_fingerprint_of_a_url_changes_when_it_is_written_again(memory: str) -> None:
    (before,) = find_pictures([f"{memory}/deep"])
    storage.write_bytes(f"{memory}/deep/c.png", b"y")
    (after,) = find_pictures([f"{memory}/deep"])
    assert before.fingerprint and after.fingerprint and before.fingerprint != after.fingerprint


def test_file_urls_are_local_files(photos: Path) -> None:
    (source,) = find_pictures([f"file://{photos}/2020"])
    assert (source.path, source.relative) == (str(photos / "2020" / "h.jpg"), "h.jpg")
    assert relatives(f"file://{photos}/**/*.png") == ["deep/er/c.png"]


def test_pictures_in_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("top.jpg", "deep/er/a.jpg", "deep/b.PNG", "deep/notes.txt"):
            archive.writestr(name, name)
    url = f"zip://::{tmp_path}/p.zip"
    found = list(find_pictures([url]))
    assert [source.relative for source in found] == ["deep/b.PNG", "deep/er/a.jpg", "top.jpg"]
    assert [storage.read_bytes(source.path).decode() for source in found] == [each.relative for each in found]
    assert all(source.fingerprint for source in found)
    assert relatives(f"zip://deep::{tmp_path}/p.zip") == ["b.PNG", "er/a.jpg"]
    assert relatives(f"zip://deep/**/*.jpg::{tmp_path}/p.zip") == ["er/a.jpg"]
