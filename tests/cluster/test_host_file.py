"""Host files."""

import importlib.util
import sys
from pathlib import Path

import pytest

from gluon_nst.errors import UsageError

FILE = Path(__file__).parent.parent.parent / "cluster" / "ssh" / "host_file.py"


@pytest.fixture(scope="module")
def host_file():
    spec = importlib.util.spec_from_file_location("host_file", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["host_file"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["host_file"]


def test_a_line_says_how_a_host_is_reached_and_what_is_run_there(host_file):
    text = """
    # the good ones
    node1                     # as ~/.ssh/config has it
    ann@10.0.0.7 port=2222 workers=3 command='/opt/nst/bin/python -m gluon_nst' memory-limit=16GB
    node3 gpus=0,2 user=bob interface=ib0
    """
    first, second, third = host_file.parse_hosts(text, "hosts.txt")
    assert (first.name, first.ssh_options()) == ("node1", [])
    assert first.command("tcp://here:1", 1) == ["gluon-nst", "workers", "tcp://here:1", "--name", "node1"]
    assert second.ssh_options() == ["-p", "2222"]
    assert second.command("tcp://here:1", 1) == [
        "/opt/nst/bin/python", "-m", "gluon_nst", "workers", "tcp://here:1", "--name", "10.0.0.7", "--workers", "3",
        "--memory-limit", "16GB",
    ]  # fmt: skip
    assert third.ssh_options() == ["-l", "bob"]
    assert third.grace == 20 and host_file.parse_hosts("a grace=90", "")[0].grace == 90
    assert third.command("tcp://here:1", 4) == [
        "env", "CUDA_VISIBLE_DEVICES=0,2", "gluon-nst", "workers", "tcp://here:1", "--name", "node3-4", "--interface",
        "ib0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("# none", "names no host"),
        ("a\na gpus=1", "line 2: a is there twice"),
        ("a gpu=1", "line 1: 'gpu=1' is not understood; a line takes user, port,"),
        ("a grace=long", "'grace=long' is not understood; grace is a number"),
        ("a b", "'b' is not understood"),
        ("gpus=1", "begins with the name of a host"),
        ("-oProxyCommand=x", "begins with the name of a host"),
        ("a command='x", "line 1: No closing quotation"),
    ],
)
def test_what_is_not_understood_is_said_with_its_line(host_file, text, said):
    with pytest.raises(UsageError, match=said):
        host_file.parse_hosts(text, "hosts.txt")


def test_a_file_that_is_not_there_is_named(host_file, tmp_path):
    with pytest.raises(UsageError, match=r"hosts\.txt cannot be read"):
        host_file.read_hosts(tmp_path / "hosts.txt")


def test_the_example_is_understood_by_the_command_too(host_file):
    from gluon_nst.cli import cli

    for host in host_file.read_hosts(FILE.with_name("hosts.example")):
        words = host.command("tls://here:1", 1)
        name, *arguments = words[words.index("workers") :]
        assert cli.commands[name].make_context(name, arguments).params["scheduler"] == "tls://here:1"
