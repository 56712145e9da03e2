"""A batch that reads from a real S3 server and writes to it, from worker processes, while the server has its moods."""

import itertools
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gluon_nst.batch.last_records import read_last_records
from gluon_nst.images.write import write_image
from tests.batch.buckets import bucket_on, s3_server
from tests.batch.field import run_batch, write_photo
from tests.images.builders import noise

BUCKET = "s3://gluon-nst-batch"
COUNT = 6


@pytest.fixture(scope="module")
def server():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server, monkeypatch):
    with bucket_on(server, BUCKET, monkeypatch) as system:
        for number in range(COUNT):
            write_image(f"{BUCKET}/in/deep/p{number}.png", noise(32, 32, seed=number))
        write_image(f"{BUCKET}/style.png", noise(48, 48, seed=99))
        yield system


class Moody(BaseHTTPRequestHandler):
    """Passes requests on to the server; refuses every fourth writing or reading of a whole object."""

    protocol_version = "HTTP/1.1"
    server_address, refused = "", 0
    numbers = itertools.count(1)

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/deep/" in self.path and self.command in ("PUT", "GET") and next(self.numbers) % 4 == 0:
            type(self).refused += 1
            self.reply(503, b"<Error><Code>SlowDown</Code></Error>", {})
            return
        request = urllib.request.Request(self.server_address + self.path, body or None, method=self.command)
        for name, value in self.headers.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request) as found:
                self.reply(found.status, found.read(), found.headers)
        except urllib.error.HTTPError as error:
            self.reply(error.code, error.read(), error.headers)

    def reply(self, status, body, headers):
        self.send_response(status)
        unwanted = {"connection", "transfer-encoding", "date", "server"}
        unwanted |= {"content-length"} if self.command != "HEAD" else set()
        for name, value in headers.items():
            if name.lower() not in unwanted:
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


for command in ("GET", "PUT", "HEAD", "DELETE", "POST"):
    setattr(Moody, f"do_{command}", Moody.answer)


@pytest.fixture
def moody(server, bucket, monkeypatch):
    Moody.server_address, Moody.refused = server, 0
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_port}")
    # One try by boto; s3fs and the batch try again above it.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield Moody
    proxy.shutdown()
    thread.join()
    proxy.server_close()


def arguments(folder):
    return (
        f"{BUCKET}/in",
        "--style",
        f"{BUCKET}/style.png",
        "-o",
        f"{BUCKET}/out",
        "--run-dir",
        folder / "run",
    )


def outputs(system):
    system.invalidate_cache()
    return sorted(path.rpartition("/out/")[2] for path in system.find(f"{BUCKET}/out"))


EXPECTED = [f"deep/p{number}__style.png" for number in range(COUNT)]


def test_a_batch_from_a_bucket_to_a_bucket(tmp_path, bucket):
    first = run_batch(*arguments(tmp_path))
    assert first.returncode == 0, first.stderr
    assert outputs(bucket) == EXPECTED
    written = {path: bucket.info(path)["LastModified"] for path in bucket.find(f"{BUCKET}/out")}
    again = run_batch(*arguments(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    bucket.rm_file(f"{BUCKET}/out/{EXPECTED[2]}")
    third = run_batch(*arguments(tmp_path))
    assert third.returncode == 0, third.stderr
    bucket.invalidate_cache()
    changed = [path for path, when in written.items() if bucket.info(path)["LastModified"] != when]
    assert [path.rpartition("/out/")[2] for path in changed] == [EXPECTED[2]]


def test_a_rejected_picture_is_kept_in_the_bucket_where_every_worker_can_write(tmp_path, bucket):
    write_photo(tmp_path / "black.png", "black", 1)
    bucket.put_file(str(tmp_path / "black.png"), f"{BUCKET}/in/black.png")
    ended = run_batch(*arguments(tmp_path))
    assert ended.returncode == 1, ended.stderr
    (failed,) = (each for each in read_last_records(tmp_path / "run") if each.result.status == "failed")
    assert failed.result.error_type == "SuspiciousResultError"
    assert failed.result.aside == f"{BUCKET}/out/.gluon-nst/rejected/{failed.result.job_id}.png"
    bucket.invalidate_cache()
    assert bucket.exists(failed.result.aside)
    assert not (tmp_path / "run" / "rejected").exists()


def test_what_the_store_refuses_now_and_then_is_tried_again(tmp_path, bucket, moody):
    ended = run_batch(*arguments(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert moody.refused >= 2
    assert outputs(bucket) == EXPECTED
