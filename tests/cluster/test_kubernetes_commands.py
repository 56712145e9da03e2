"""What the pods would run, run here: the commands of the rendered manifests, each as a process of this machine.

Paths of volumes become folders, the Service's address one of the loopback interface, the image's variables those of
the Dockerfile. The engine is the stand-in; TLS, files, S3, signals and exit codes are real.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import fsspec

from gluon_nst.launch.certificates import make_certificates
from tests.batch.buckets import bucket_on, s3_server
from tests.batch.field import (
    check_outputs,
    environment,
    output_names,
    records,
    statuses,
    wait_until,
    workers_below,
    write_field,
    write_photo,
)
from tests.cluster.manifests import container, image_environment, of_kind, option

COUNT = 12
SMALL = ("--format", ".png", "--size", "32", "--steps", "1")


class Pods:
    """Processes in place of pods, in a folder in place of the volumes; all ended with the context."""

    def __init__(self, variant: str, folder: Path, **more: str) -> None:
        self._variant, self._folder, self._more = variant, folder, more
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = str(probe.getsockname()[1])
        (service,) = of_kind(variant, "Service")
        self._host = service["metadata"]["name"]
        make_certificates(folder / "tls", days=1)

    def __enter__(self) -> Pods:
        return self

    def __exit__(self, *details: object) -> None:
        for each in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()

    def start(self, component: str, *more: str) -> subprocess.Popen[bytes]:
        """Start a component's container."""
        (self._folder / "scratch").mkdir(exist_ok=True)
        arguments = [self._here(component, word) for word in container(self._variant, component)["args"]]
        image = {
            key: self._here(component, value)
            for key, value in image_environment("Dockerfile.cpu").items()
            if key != "PATH"
        }
        with self.log(component).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gluon_nst", *arguments, *more],
                env=environment(**image, **self._more),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log(self, component: str) -> Path:
        """Return what a component says."""
        return self._folder / f"{component}.log"

    def address(self) -> tuple[str, int]:
        """Return where the scheduler listens."""
        return "127.0.0.1", int(self._port)

    def _here(self, component: str, word: str) -> str:
        """Return a word of a command line with places of this machine in place of the cluster's."""
        for mount in container(self._variant, component)["volumeMounts"]:
            if Path(word).is_relative_to(mount["mountPath"]):
                return str(self._folder / word.removeprefix("/"))
        for there, here in ((self._host, "127.0.0.1"), ("8786", self._port), ("0.0.0.0", "127.0.0.1")):
            word = word.replace(there, here)
        return word


def end_of(process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> int:
    """Return a process's exit code."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(log.read_text()) from None


def put_data(pods_folder: Path, field: Path, marks: list[str]) -> Path:
    """Put photographs and a painting where the manifests' commands look for them; return where results come."""
    write_field(field, marks)
    data = pods_folder / "data"
    data.mkdir()
    (field / "photos").rename(data / "photos")
    (field / "style.png").rename(data / "painting.jpg")
    return data / "stylized"


def painted(count: int) -> set[str]:
    return {name.replace("__style", "__painting") for name in output_names(range(count))}


def test_pods_do_a_batch_on_a_volume(tmp_path):
    out = put_data(tmp_path, tmp_path, ["good"] * COUNT)
    with Pods("volume", tmp_path) as pods:
        scheduler = pods.start("scheduler")
        workers = [
            pods.start("worker", "--name", f"pod-{number}") for number in range(2)
        ]  # as each has its own
        batch = pods.start("batch", *SMALL)
        assert end_of(batch, pods.log("batch")) == 0, pods.log("batch").read_text()
        check_outputs(out, painted(COUNT))
        wait_until(lambda: {"pod-0", "pod-1"} <= set(re.findall(r"pod-\d", doctor(pods, tmp_path / "tls"))))
        scheduler.terminate()
        assert [end_of(each, pods.log("worker")) for each in (scheduler, *workers)] == [0, 0, 0]


def doctor(pods, tls):
    host, port = pods.address()
    command = ["doctor", "--scheduler", f"tls://{host}:{port}", "--tls-dir", str(tls)]
    words = [sys.executable, "-m", "gluon_nst", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def test_pods_that_must_go_lose_nothing(tmp_path):
    began = tmp_path / "began"
    began.mkdir()
    out = put_data(tmp_path, tmp_path, ["slow", *["good"] * COUNT])
    with Pods("cpu", tmp_path, STAND_IN_BEGAN=str(began), STAND_IN_PACE="0.005") as pods:
        pods.start("scheduler")
        first = pods.start("worker")
        batch = pods.start("batch", *SMALL)
        wait_until(lambda: list(began.iterdir()))
        second = pods.start("worker")
        wait_until(lambda: workers_below(second.pid))
        first.terminate()  # as for a node that is drained
        assert end_of(first, pods.log("worker")) == 0
        assert end_of(batch, pods.log("batch")) == 0, pods.log("batch").read_text()
    check_outputs(out, painted(COUNT + 1))
    assert statuses(out) == {"done": COUNT + 1}


def test_a_job_that_must_go_is_tried_again_and_goes_on(tmp_path):
    out = put_data(tmp_path, tmp_path, ["good"] * 100)
    with Pods("cpu", tmp_path, STAND_IN_SECONDS="0.05") as pods:
        pods.start("scheduler")
        pods.start("worker")
        batch = pods.start("batch", *SMALL)
        wait_until(lambda: records(out))
        batch.terminate()
        code = end_of(batch, pods.log("batch"))
        (job,) = of_kind("cpu", "Job")
        rules = job["spec"]["podFailurePolicy"]["rules"]
        actions = [each["action"] for each in rules if code in each.get("onExitCodes", {}).get("values", ())]
        assert (code, actions) == (75, ["Count"])
        done = records(out)
        assert 0 < done < 100
        assert end_of(pods.start("batch", *SMALL), pods.log("batch")) == 0
    check_outputs(out, painted(100))
    assert records(out) == 100


def test_the_probes_harm_nothing(tmp_path):
    with Pods("volume", tmp_path) as pods:
        scheduler = pods.start("scheduler")
        wait_until(lambda: can_connect(pods.address()))
        for _ in range(20):
            assert can_connect(pods.address())
        assert scheduler.poll() is None
        assert "Traceback" not in pods.log("scheduler").read_text()


def can_connect(address):
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=5):
        return True
    return False


def test_pods_do_a_batch_in_a_store(tmp_path, monkeypatch):
    arguments = container("s3", "batch")["args"]
    bucket = arguments[1].rpartition("/")[0]
    with s3_server() as server, bucket_on(server, bucket, monkeypatch), Pods("s3", tmp_path) as pods:
        store = fsspec.filesystem("s3")
        for number in range(4):
            write_photo(tmp_path / "photo.png", "good", number)
            store.put_file(tmp_path / "photo.png", f"{arguments[1]}/p{number}.png")
        store.put_file(tmp_path / "photo.png", option(arguments, "--style"))
        pods.start("scheduler")
        pods.start("worker")
        batch = pods.start("batch", *SMALL)
        assert end_of(batch, pods.log("batch")) == 0, pods.log("batch").read_text()
        store.invalidate_cache()
        made = {Path(each).name for each in store.find(option(arguments, "-o"))}
    assert made == {f"p{number}__painting.png" for number in range(4)}
    assert (tmp_path / "run-dir" / "stylized" / "journal.jsonl").exists()
