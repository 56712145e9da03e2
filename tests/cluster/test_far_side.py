"""What runs on a host that is reached over SSH, without the SSH."""

import subprocess
import time

import pytest

from gluon_nst.launch.certificates import make_certificates
from tests.batch.field import ROOT

SCRIPT = ROOT / "cluster" / "ssh" / "far_side.sh"
# Says what it was given, and how it was ended.
WORKERS = ("sh", "-c", 'trap "exit 7" TERM; echo "$@"; while :; do sleep 0.1; done', "workers")


@pytest.fixture
def far_side(tmp_path):
    """Start the script as sshd does, its text first in its input; all is ended with the test."""
    started = []

    def start(*command, silence=60):
        words = [
            "sh",
            "-c",
            f'eval "$(head -c {SCRIPT.stat().st_size})"',
            "gluon-nst",
            str(silence),
            *command,
        ]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        process.stdin.write(SCRIPT.read_bytes())
        process.stdin.flush()
        return process

    yield start
    for process in started:
        process.stdin.close()
        assert process.wait(10) is not None
        process.stdout.close()


def send(process, data):
    process.stdin.write(data)
    process.stdin.flush()


def folders(tmp_path):
    return list(tmp_path.glob("gluon-nst-*"))


def test_certificates_arrive_whole_and_are_removed(far_side, tmp_path):
    make_certificates(tmp_path / "tls", days=1)
    process = far_side(*WORKERS, "tls://here:1")
    files = {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    for name, content in files.items():
        send(process, f"file {name}\n".encode() + content)
    send(process, b".\n.")
    said = process.stdout.readline().decode().split()
    (folder,) = folders(tmp_path)
    assert said == ["tls://here:1", "--tls-dir", str(folder)]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    process.stdin.close()
    assert process.wait(10) == 7
    assert folders(tmp_path) == []


def test_silence_ends_the_workers(far_side, tmp_path):
    process = far_side(*WORKERS, silence=2)
    send(process, b".\n")
    assert process.stdout.readline() == b"\n"
    for _ in range(4):
        send(process, b".")
        time.sleep(0.5)
    assert process.poll() is None
    assert process.wait(10) == 7
    assert folders(tmp_path) == []


def test_a_signal_to_the_script_is_one_to_the_workers(far_side, tmp_path):
    process = far_side(*WORKERS)
    send(process, b".\n")
    process.stdout.readline()
    process.terminate()
    assert process.wait(10) == 7
    assert folders(tmp_path) == []


@pytest.mark.parametrize(("command", "code"), [(("/no/such/command",), 127), (("sh", "-c", "exit 5"), 5)])
def test_the_exit_code_is_that_of_the_workers(far_side, tmp_path, command, code):
    process = far_side(*command)
    send(process, b".\n")
    assert process.wait(10) == code
    assert folders(tmp_path) == []
