"""Inputs, manifests and outputs on a real S3 server, moto's, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest

from gluon_nst import storage
from gluon_nst.batch.collect import BatchRequest, collect_jobs
from gluon_nst.batch.sources import find_pictures
from gluon_nst.errors import ImageReadError, OutputError
from gluon_nst.images.header import Header, read_header
from gluon_nst.images.read import read_image
from gluon_nst.images.write import encode_image, write_image
from gluon_nst.listing import fingerprint, list_folder
from gluon_nst.recipe_files import load_recipe
from tests.batch.buckets import bucket_on, s3_server
from tests.images.builders import noise

BUCKET = "s3://gluon-nst"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bucket_on(server, BUCKET, monkeypatch):
        yield BUCKET


def put(*urls: str, **options: Any) -> None:
    for url in urls:
        write_image(url, noise(20, 30), **options)


def test_pictures_are_found_below_a_prefix_and_by_globs(bucket: str) -> None:
    put(
        f"{bucket}/in/b.JPG",
        f"{bucket}/in/deep/a é %#[1].jpg",
        f"{bucket}/in/.hidden/c.jpg",
        f"{bucket}/other.jpg",
    )
    storage.write_bytes(f"{bucket}/in/notes.txt", b"x")
    found = list(find_pictures([f"{bucket}/in"]))
    assert [source.relative for source in found] == ["b.JPG", "deep/a é %#[1].jpg"]
    assert [source.path for source in found] == [f"{bucket}/in/{source.relative}" for source in found]
    assert [source.fingerprint for source in found] == [fingerprint(source.path) for source in found]
    assert [source.relative for source in find_pictures([f"{bucket}/**/a*.jpg"])] == ["in/deep/a é %#[1].jpg"]
    assert [source.relative for source in find_pictures([f"{bucket}/in/deep/a é %#[1].jpg"])] == [
        "a é %#[1].jpg"
    ]
    assert len(list(find_pictures([bucket]))) == 3


def test_a_listing_is_never_an_old_one(bucket: str) -> None:
    put(f"{bucket}/in/a.jpg")
    assert len(list(list_folder(f"{bucket}/in"))) == 1
    client = fsspec.filesystem("s3", skip_instance_cache=True)  # somebody else
    client.pipe_file(f"{bucket}/in/b.jpg", b"x")
    assert [entry.name for entry in list_folder(f"{bucket}/in")] == ["a.jpg", "b.jpg"]
    before = fingerprint(f"{bucket}/in/b.jpg")
    client.pipe_file(f"{bucket}/in/b.jpg", b"y")
    assert fingerprint(f"{bucket}/in/b.jpg") != before
    client.rm(f"{bucket}/in/b.jpg")
    assert not storage.exists(f"{bucket}/in/b.jpg")


def test_the_fingerprint_is_the_etag_that_follows_the_content(bucket: str) -> None:
    storage.write_bytes(f"{bucket}/x", b"123")
    assert (
        fingerprint(f"{bucket}/x") == "202cb962ac59075b964b07152d234b70"
    )  # MD5 of the content, as S3 does it
    storage.write_bytes(f"{bucket}/x", b"124")
    changed = fingerprint(f"{bucket}/x")
    storage.write_bytes(f"{bucket}/x", b"123")
    assert changed != fingerprint(f"{bucket}/x") == "202cb962ac59075b964b07152d234b70"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_headers_and_pictures_are_read(bucket: str, suffix: str) -> None:
    write_image(f"{bucket}/in{suffix}", noise(200, 300), provenance={"job_id": "x"})
    assert read_header(f"{bucket}/in{suffix}") == Header(200, 300, True)
    assert read_image(f"{bucket}/in{suffix}").pixels.shape == (200, 300, 3)
    assert storage.read_bytes(f"{bucket}/in{suffix}") == encode_image(
        noise(200, 300), suffix, provenance={"job_id": "x"}
    )


def test_an_empty_object_is_no_picture(bucket: str) -> None:
    storage.write_bytes(f"{bucket}/empty.jpg", b"")
    with pytest.raises(ImageReadError, match="empty"):
        read_header(f"{bucket}/empty.jpg")
    assert storage.read_start(f"{bucket}/empty.jpg", 10) == b""


def test_jobs_from_a_manifest_in_a_bucket(bucket: str) -> None:
    put(f"{bucket}/list/in/a.jpg", f"{bucket}/list/s.jpg")
    lines = [b"content,style", b"in/a.jpg,s.jpg", f"{bucket}/list/in/a.jpg,none.jpg".encode()]
    storage.write_bytes(f"{bucket}/list/jobs.csv", b"\n".join(lines))
    request = BatchRequest((), (), f"{bucket}/out", load_recipe(), manifest=f"{bucket}/list/jobs.csv")
    first, second = collect_jobs(request)
    assert first.job.content == second.job.content == f"{bucket}/list/in/a.jpg"
    assert first.job.output == f"{bucket}/out/in/a__s.jpg"
    assert first.shape == second.shape == (20, 30)
    assert first.job.fingerprints == tuple(map(fingerprint, (first.job.content, *first.job.styles)))
    assert second.job.fingerprints[1] == ""


def test_jobs_from_a_prefix_skip_what_is_done_and_what_lies_in_the_output(bucket: str) -> None:
    put(f"{bucket}/in/a.jpg", f"{bucket}/in/out/b.jpg", f"{bucket}/s.jpg")
    put(f"{bucket}/in/done.jpg", provenance={"job_id": "x"})
    request = BatchRequest((f"{bucket}/in",), (f"{bucket}/s.jpg",), f"{bucket}/in/out", load_recipe())
    (only,) = collect_jobs(request)
    assert only.job.output == f"{bucket}/in/out/a__s.jpg"


def test_what_is_not_there_is_said(bucket: str) -> None:
    for missing in (
        f"{bucket}/none",
        f"{bucket}/none/*.jpg",
        "s3://gluon-nst-none/x",
        "s3://gluon-nst-none/*.jpg",
    ):
        with pytest.raises(ImageReadError, match="gluon-nst"):
            list(find_pictures([missing]))
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{bucket}/none")
    with pytest.raises(OutputError, match="gluon-nst-none"):
        storage.write_bytes("s3://gluon-nst-none/x", b"x")


def test_removing_an_object_twice_is_no_error(bucket: str) -> None:
    storage.write_bytes(f"{bucket}/x", b"1")
    storage.remove(f"{bucket}/x")
    storage.remove(f"{bucket}/x")
    assert not storage.exists(f"{bucket}/x")


def test_a_server_that_is_gone_is_an_error_that_may_pass(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    url = "s3://gluon-nst/x"
    monkeypatch.setattr(storage.resolve(url)[0].__class__, "retries", 1)
    storage.resolve(url)[0].__class__.clear_instance_cache()
    with pytest.raises(OSError) as caught:
        fingerprint(url)
    assert storage.may_pass(caught.value)
