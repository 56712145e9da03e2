"""Workers over SSH, on hosts of their own network that really go away."""

import signal
import socket

import pytest

from tests.batch.field import (
    check_outputs,
    journal_of,
    output_names,
    records,
    statuses,
    wait_until,
    write_field,
)
from tests.cluster.far_hosts import FarHosts, need_far_hosts
from tests.cluster.ssh_field import OverSsh, far_environment, write_hosts
from tests.cluster.sshd import Sshd, client_config, make_keys, need_sshd

COUNT = 16
MANY = 180


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    need_far_hosts()
    folder = tmp_path_factory.mktemp("far")
    with FarHosts(folder, "abc", far_environment(folder, STAND_IN_SECONDS="0.15")) as hosts:
        yield hosts


@pytest.fixture(autouse=True)
def nothing_stays(request):
    """Whatever a test does to a host, nothing of the run may be left on it."""
    yield
    if "far" in request.fixturenames:
        hosts = request.getfixturevalue("far")
        for name in hosts.names:
            hosts.link(name, "up")
            wait_until(lambda name=name: not hosts.commands(name), 40)
        assert list((hosts.folder / "tmp").glob("gluon-nst-*")) == []


def test_hosts_work_together_over_tls_stop_in_order_and_go_on(far, tmp_path):
    hosts = write_hosts(tmp_path / "hosts", "a workers=1", f"root@{far.address('b')} port=2222")
    arguments, out = write_field(tmp_path, ["good"] * 2 * COUNT), tmp_path / "out"
    with OverSsh(hosts, far.ssh, *arguments) as run:
        run.wait_for(lambda: records(out) and far.commands("a") and far.commands("b"))
        assert "tls://" in " ".join(run.child("batch").cmdline())
        assert_private(far)
        run.signal(signal.SIGINT)
        assert run.end() == 75, run.said
        wait_until(lambda: not run.children(), 10)
    assert 0 < records(out) < 2 * COUNT
    with OverSsh(hosts, far.ssh, *arguments) as run:
        assert run.end() == 0, run.said
    check_outputs(out, output_names(range(2 * COUNT)))
    assert_once_each(out, 2 * COUNT)
    assert len({record["worker"].partition(":")[0] for record in journal_of(out)}) == 2


def assert_private(far):
    """The certificates are where only their owner looks, and in no list of processes."""
    folders = list((far.folder / "tmp").glob("gluon-nst-*"))
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700, 0o700]
    key = (folders[0] / "key.pem").read_text().splitlines()[1]
    assert not [each for name in "ab" for each in far.commands(name) if key in " ".join(each.cmdline())]


def test_a_host_that_is_cut_off_loses_nothing_and_may_come_back(far, tmp_path):
    hosts = write_hosts(tmp_path / "hosts", "a", "b")
    out = tmp_path / "out"
    with OverSsh(hosts, far.ssh, *write_field(tmp_path, ["good"] * MANY), patience=2) as run:
        run.wait_for(lambda: len({record["worker"] for record in read_journal(out)}) == 2)
        far.link("b", "down")
        run.wait_for(lambda: "b: no connection" in run.said)
        run.wait_for(lambda: not far.commands("b"), 40)  # though nobody can tell them
        far.link("b", "up")
        run.wait_for(lambda: far.commands("b"), 40)
        assert run.end() == 0, run.said
    check_outputs(out, output_names(range(MANY)))
    assert_once_each(out, MANY)


def read_journal(out):
    return journal_of(out) if records(out) else []


def assert_once_each(out, count):
    assert statuses(out) == {"done": count}
    assert records(out) == count


def test_a_connection_that_ends_is_made_anew(far, tmp_path):
    hosts = write_hosts(tmp_path / "hosts", "a")
    out = tmp_path / "out"
    with OverSsh(hosts, far.ssh, *write_field(tmp_path, ["good"] * COUNT), patience=1) as run:
        run.wait_for(lambda: records(out))
        before = {each.pid for each in far.commands("a")}
        far.end_sessions("a")
        run.wait_for(lambda: not {each.pid for each in far.commands("a")} & before)
        assert run.process.poll() is None  # it was not the end of all that ended them
        run.wait_for(lambda: far.commands("a"))
        assert run.end() == 0, run.said
    assert "a: no connection" in run.said
    assert_once_each(out, COUNT)


def test_hosts_that_cannot_be_used_are_named_and_the_others_do_it(far, tmp_path):
    config = far.folder / "strange_config"
    place = f"HostName {far.address('b')}\n  Port 2222\n"
    usual = (far.folder / "ssh_config").read_text().replace("Host *", "Host * !stranger")
    config.write_text(
        f"Host stranger\n  {place}  IdentityFile {far.folder / 'stranger_key'}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {far.folder / 'known_hosts'}\n"
        f"Host impostor\n  {place}  UserKnownHostsFile /dev/null\n{usual}"
    )
    far.link("c", "down")
    lines = "c", "stranger", "impostor", "b command=/no/such/gluon-nst", "no-such-host.invalid", "a"
    hosts = write_hosts(tmp_path / "hosts", *lines)
    with OverSsh(hosts, f"ssh -F {config}", *write_field(tmp_path, ["good"] * COUNT)) as run:
        run.wait_for(lambda: "c: no connection (ssh: connect to host" in run.said)
        assert run.end() == 0, run.said
    for line in (
        "stranger: cannot be reached: root@", "impostor: cannot be reached: Host key verification failed",
        "b: /no/such/gluon-nst is not found there", "no-such-host.invalid: cannot be reached: ssh: Could not resolve",
    ):  # fmt: skip
        assert line in run.said
    assert_once_each(tmp_path / "out", COUNT)


def test_nothing_stays_when_the_script_is_killed(far, tmp_path):
    hosts = write_hosts(tmp_path / "hosts", "a")
    with OverSsh(hosts, far.ssh, *write_field(tmp_path, ["good"] * MANY)) as run:
        run.wait_for(lambda: records(tmp_path / "out"))
        run.children()
        run.process.kill()
        wait_until(lambda: not run.children() and not far.commands("a"), 40)


def test_loopback_needs_no_certificates(tmp_path):
    need_sshd()
    make_keys(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ssh = f"ssh -F {client_config(tmp_path, {'near': ('127.0.0.1', port)})}"
    hosts = write_hosts(tmp_path / "hosts", "near")
    with (
        Sshd(tmp_path, "127.0.0.1", port, far_environment(tmp_path)),
        OverSsh(hosts, ssh, *write_field(tmp_path, ["good"] * COUNT)) as run,
    ):
        run.wait_for(lambda: records(tmp_path / "out"))
        assert "tcp://127.0.0.1:" in " ".join(run.child("batch").cmdline())
        assert run.end() == 0, run.said
    assert_once_each(tmp_path / "out", COUNT)
