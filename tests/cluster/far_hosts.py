"""Hosts with addresses of their own, each with a real sshd, in network namespaces behind one bridge.

What a host sees of the network goes when its link is set down, as when a cable is pulled; processes and files are
those of this machine. Everything made here has this process's id in its name, and is gone when the context ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.cluster.sshd import Sshd, client_config, make_keys, need_sshd

PORT = 2222


def need_far_hosts() -> None:
    """Skip a test where namespaces or sshd cannot be had."""
    need_sshd()
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made as root")
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed")
    if subprocess.run(["ip", "netns", "add", _name("try")], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no network namespaces")
    _run("ip", "netns", "delete", _name("try"))


class FarHosts:
    """Some hosts, `a`, `b`, ..., and the configuration of an SSH client that reaches them by these names.

    Parameters
    ----------
    folder
        For keys, configurations and logs.
    names
        The hosts, a letter each.
    environment
        What commands find in their environment over there.
    """

    def __init__(self, folder: Path, names: str, environment: dict[str, str]) -> None:
        self.folder, self.names = folder, names
        self._environment = environment
        self._network = f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self._sshd: dict[str, Sshd] = {}
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> FarHosts:
        with contextlib.ExitStack() as undo:
            make_keys(self.folder)
            self._make_bridge(undo)
            for name in self.names:
                self._make_host(name, undo)
            places = {name: (self.address(name), PORT) for name in self.names}
            self.ssh = f"ssh -F {client_config(self.folder, places)}"
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._undo.close()

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"{self._network}.{2 + self.names.index(name)}"

    def link(self, name: str, state: str) -> None:
        """Set a host's link "down" or "up"."""
        _run("ip", "link", "set", _name(f"v{name}"), state)

    def end_sessions(self, name: str) -> None:
        """End all SSH sessions of a host at once; sshd itself stays."""
        for process in self._processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "sshd" and process.pid != self._sshd[name].process.pid:
                    process.kill()

    def commands(self, name: str) -> list[psutil.Process]:
        """Return the processes of a host that are not sshd's."""
        found = []
        for process in self._processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() != "sshd":
                    found.append(process)
        return found

    def _processes(self, name: str) -> list[psutil.Process]:
        found = []
        for pid in map(int, _run("ip", "netns", "pids", _name(name)).split()):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    # ---- how they are made

    def _make_bridge(self, undo: contextlib.ExitStack) -> None:
        bridge = _name("br")
        _run("ip", "link", "add", bridge, "type", "bridge")
        undo.callback(_run, "ip", "link", "delete", bridge)
        _run("ip", "address", "add", f"{self._network}.1/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")

    def _make_host(self, name: str, undo: contextlib.ExitStack) -> None:
        space, outer, inner = _name(name), _name(f"v{name}"), _name(f"w{name}")
        _run("ip", "netns", "add", space)
        undo.callback(_run, "ip", "netns", "delete", space)
        undo.callback(self._end_all, name)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        _run("ip", "link", "set", outer, "master", _name("br"), "up")
        _run("ip", "-n", space, "link", "set", "lo", "up")
        _run("ip", "-n", space, "address", "add", f"{self.address(name)}/24", "dev", inner)
        _run("ip", "-n", space, "link", "set", inner, "up")
        # With a name of its own, as a machine has.
        named = ("unshare", "--uts", "sh", "-c", f'hostname host-{name} && exec "$@"', "sh")
        within = ("ip", "netns", "exec", space, *named)
        sshd = Sshd(self.folder, self.address(name), PORT, self._environment, within)
        self._sshd[name] = undo.enter_context(sshd)

    def _end_all(self, name: str) -> None:
        """End what still runs on a host: nothing but the test put a process there."""
        deadline = time.monotonic() + 10
        while (left := self._processes(name)) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)


def _name(what: str) -> str:
    """Return a name that no other test run uses; the kernel allows an interface 15 characters."""
    return f"gn{os.getpid()}{what}"


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
