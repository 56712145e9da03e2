from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gluon_nst.errors import OutputError
from gluon_nst.storage import (
    absolute,
    check_writable,
    exists,
    is_url,
    join,
    may_pass,
    open_binary,
    read_bytes,
    read_start,
    remove,
    write_bytes,
)
from tests.limits import files_at_most

DATA = bytes(range(256)) * 40


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def memory_folder() -> Iterator[str]:
    folder = "memory://gluon_nst_test_storage"
    yield folder
    if fsspec.filesystem("memory").exists(folder):
        fsspec.filesystem("memory").rm(folder, recursive=True)


@pytest.mark.parametrize("as_url", [False, True])
def test_local_round_trip_makes_parents_and_leaves_no_other_file(tmp_path: Path, as_url: bool) -> None:
    target = tmp_path / "a" / "b" / "out.bin"
    write_bytes(f"file://{target}" if as_url else target, DATA)
    assert read_bytes(f"file://{target}" if as_url else target) == DATA
    assert _names(target.parent) == ["out.bin"]


def test_memory_url_round_trip(memory_folder: str) -> None:
    check_writable(f"{memory_folder}/x/out.bin")
    write_bytes(f"{memory_folder}/x/out.bin", DATA)
    assert read_bytes(f"{memory_folder}/x/out.bin") == DATA


def test_existing_file_is_replaced_and_gets_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    target = tmp_path / "out"
    target.write_bytes(b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "real")
    write_bytes(tmp_path / "link", DATA)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "real").read_bytes() == DATA


def test_a_name_as_long_as_allowed_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    check_writable(target)
    write_bytes(target, DATA)
    assert target.read_bytes() == DATA


def test_a_write_that_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="File too large") as caught, files_at_most(4096):
        write_bytes(target, DATA)
    assert may_pass(caught.value)
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["out"]


def test_ctrl_c_during_a_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def interrupt(descriptor: int) -> None:
        seen.append(_names(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "out", DATA)
    assert len(seen[0]) == 1
    assert seen[0] != ["out"]
    assert _names(tmp_path) == []


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"x")
    return folder / "file" / "deeper" / "out"


def _a_directory(folder: Path) -> Path:
    return folder


def _a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _too_long(folder: Path) -> Path:
    return folder / ("n" * 256)


def _a_circle(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop" / "out"


def _kernel_files(folder: Path) -> Path:
    return Path("/proc/gluon_nst_out")


@pytest.mark.parametrize(
    "obstacle", [_below_a_file, _a_directory, _a_pipe, _too_long, _a_circle, _kernel_files]
)
def test_what_cannot_be_written_is_known_beforehand_and_will_not_pass(tmp_path: Path, obstacle) -> None:
    target = obstacle(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for attempt in (lambda: check_writable(target), lambda: write_bytes(target, DATA)):
        with pytest.raises(OutputError) as caught:
            attempt()
        assert str(target) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not may_pass(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_not_a_plain_file_survives_an_attempt_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a plain file"):
        write_bytes(_a_pipe(tmp_path), b"x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_permissions_bind(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        read_bytes(tmp_path / "secret")
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(tmp_path / "out")
    tmp_path.chmod(0o700)


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deep" / "out.png")
    check_writable(tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_a_bare_name_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable("out.bin")
    write_bytes("out.bin", DATA)
    assert (tmp_path / "out.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("no/such/file", FileNotFoundError),
        ("memory://gluon_nst_test_storage/no/such", FileNotFoundError),
        (".", IsADirectoryError),
        ("nosuchprotocol://x/y", OSError),
        ("zero\0byte", OSError),
    ],
)
def test_reading_what_is_not_there_raises_os_errors_that_will_not_pass(
    path: str, kind: type[OSError]
) -> None:
    with pytest.raises(kind) as caught:
        read_bytes(path)
    assert not may_pass(caught.value)


@pytest.mark.parametrize("path", ["nosuchprotocol://x/y.png", "https://example.invalid/y.png", "zero\0byte"])
def test_places_that_can_never_be_written(path: str) -> None:
    with pytest.raises(OutputError):
        check_writable(path)


class _Flaky(MemoryFileSystem):
    """A file system of a plugin with errors of its own, as cloud storage has."""

    protocol = "gluonnstflaky"

    class ServiceError(Exception):
        pass

    def cat_file(self, path, start=None, end=None, **kwargs):
        if path.endswith("forbidden"):
            raise PermissionError("Forbidden")
        raise self.ServiceError("slow down")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        raise self.ServiceError("slow down")


def test_errors_of_a_plugin_are_translated_and_may_pass() -> None:
    fsspec.register_implementation("gluonnstflaky", _Flaky, clobber=True)
    with pytest.raises(OSError, match="ServiceError: slow down") as caught:
        read_bytes("gluonnstflaky://a/b")
    assert may_pass(caught.value)
    with pytest.raises(PermissionError) as forbidden:
        read_bytes("gluonnstflaky://a/forbidden")
    assert not may_pass(forbidden.value)
    with pytest.raises(OutputError, match="ServiceError: slow down") as refused:
        write_bytes("gluonnstflaky://a/b", b"x")
    assert may_pass(refused.value)


def test_only_errors_of_storage_may_pass() -> None:
    assert may_pass(OSError(errno.EIO, "input/output error"))
    assert may_pass(TimeoutError(errno.ETIMEDOUT, "timed out"))
    assert not may_pass(OSError("image file is truncated"))
    assert not may_pass(ValueError("x"))
    assert not may_pass(OutputError("x"))


@pytest.fixture(params=["local", "file", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, memory_folder: str) -> str:
    """Return a folder: a path, its URL, or one in memory."""
    return {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": memory_folder}[request.param]


def test_the_start_of_a_file_and_pieces_of_it_can_be_read(anywhere: str) -> None:
    path = join(anywhere, "a", "x")
    write_bytes(path, DATA)
    assert read_start(path, 100) == DATA[:100]
    assert read_start(path, 10**6) == DATA
    with open_binary(path) as file:
        file.seek(1000)
        assert file.read(7) == DATA[1000:1007]


def test_what_is_removed_is_gone_and_may_be_removed_again(anywhere: str) -> None:
    path = join(anywhere, "a", "x")
    assert not exists(path)
    write_bytes(path, b"")
    assert exists(path) and exists(join(anywhere, "a"))
    remove(path)
    remove(path)
    assert not exists(path)


@pytest.mark.parametrize("read", [lambda path: read_start(path, 9), open_binary])
def test_missing_files_and_odd_protocols_raise_os_errors(read, anywhere: str) -> None:
    with pytest.raises(FileNotFoundError):
        read(join(anywhere, "none"))
    for path in ("nosuchprotocol://x/y", "zero\0byte"):
        with pytest.raises(OSError) as caught:
            read(path)
        assert not may_pass(caught.value)


def test_a_link_that_points_nowhere_and_a_name_too_long_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "none")
    assert not exists(tmp_path / "link")
    assert not exists(tmp_path / ("n" * 256))


def test_a_folder_is_not_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        remove(tmp_path)
    assert not may_pass(caught.value)
    assert tmp_path.is_dir()


@pytest.mark.parametrize(
    ("base", "parts", "expected"),
    [
        ("a", ("b", "c.jpg"), "a/b/c.jpg"),
        ("a/", ("b/c", ""), "a/b/c"),
        ("", ("a",), "a"),
        ("/", ("a",), "/a"),
        ("a::b", ("c",), "a::b/c"),
        ("s3://bucket", ("a", "b"), "s3://bucket/a/b"),
        ("memory://", ("a",), "memory://a"),
        ("zip://in::/x/y.zip", ("a", "b"), "zip://in/a/b::/x/y.zip"),
        ("zip://::s3://b/y.zip", ("a",), "zip://a::s3://b/y.zip"),
    ],
)
def test_paths_and_urls_are_joined_alike(base: str, parts: tuple[str, ...], expected: str) -> None:
    assert join(base, *parts) == expected


def test_absolute_paths_keep_what_links_could_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/../b") == f"{tmp_path}/a/../b"
    assert absolute("./a//b") == f"{tmp_path}/a/b"
    assert absolute("/a") == "/a"
    assert absolute("s3://a/./b") == "s3://a/./b"
    assert is_url("s3://a") and not is_url("/a:/b")


def test_errors_of_a_plugin_are_translated_wherever_it_is_asked() -> None:
    fsspec.register_implementation("gluonnstflaky", _Flaky, clobber=True)
    with pytest.raises(OSError, match="ServiceError: slow down") as caught:
        read_start("gluonnstflaky://a/b", 9)
    assert may_pass(caught.value)
