"""What a folder holds, and what tells that a file has changed."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gluon_nst.listing import Entry, fingerprint, folder_key, list_folder, look_up
from gluon_nst.storage import may_pass


def test_a_local_folder_is_listed_by_name_with_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c.txt").write_bytes(b"123")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    os.utime(tmp_path / "c.txt", ns=(0, 7))
    assert list(list_folder(tmp_path)) == [
        Entry(f"{tmp_path}/a", "a", True, ""),
        Entry(f"{tmp_path}/b", "b", True, ""),
        Entry(f"{tmp_path}/c.txt", "c.txt", False, "3-7"),
    ]
    assert look_up(tmp_path / "c.txt") == Entry(f"{tmp_path}/c.txt", "c.txt", False, "3-7")
    assert look_up(f"file://{tmp_path}").is_folder


def test_what_is_neither_file_nor_folder_or_vanishes_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "none")
    for name in "xyz":
        (tmp_path / name).touch()
    found = list_folder(tmp_path)
    assert next(found).name == "x"
    (tmp_path / "y").unlink()
    assert [entry.name for entry in found] == ["z"]


@pytest.mark.parametrize("path", ["/none/at/all", "memory://gluon_nst_none", "nosuch://x"])
def test_what_is_not_there_raises_an_os_error(path: str) -> None:
    for ask in (look_up, fingerprint, lambda path: list(list_folder(path))):
        with pytest.raises(OSError) as caught:
            ask(path)
        assert not may_pass(caught.value)


def test_a_folder_has_one_key_whatever_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    names = [tmp_path / "a", tmp_path / "b", f"{tmp_path}/a/", f"{tmp_path}/b/../a", f"file://{tmp_path}/a"]
    assert len({folder_key(name) for name in names}) == 1
    assert folder_key(tmp_path) != folder_key(tmp_path / "a") != folder_key(tmp_path / "none")
    assert folder_key("s3://b/x/") == folder_key("s3://b/x") != folder_key("s3://b/y")


class _Store(MemoryFileSystem):
    """A store that tells of a file what its parameters say."""

    protocol = "gluonnststore"
    told: dict[str, object] = {}

    def info(self, path, **kwargs):
        if self.told.get("error"):
            raise self.told["error"]
        return {"name": "x", "type": "file", **self.told}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"ETag": '"abc-3"', "size": 3, "LastModified": "today"}, "abc-3"),
        ({"etag": "xyz", "size": 3}, "xyz"),
        ({"ETag": None, "size": 3, "LastModified": "today"}, "3-today"),
        ({"size": 3, "mtime": 1.5}, "3-1.5"),
        ({"size": 3}, "3"),
        ({"size": None}, ""),
        ({}, ""),
    ],
)
def test_the_fingerprint_is_the_best_that_a_store_tells(told: dict[str, object], expected: str) -> None:
    fsspec.register_implementation("gluonnststore", _Store, clobber=True)
    _Store.told = told
    assert fingerprint("gluonnststore://x") == expected


def test_errors_of_a_store_are_translated() -> None:
    fsspec.register_implementation("gluonnststore", _Store, clobber=True)
    _Store.told = {"error": ValueError("slow down")}
    with pytest.raises(OSError, match="ValueError: slow down") as caught:
        fingerprint("gluonnststore://x")
    assert may_pass(caught.value)
