"""Hosts with addresses of their own, each with a real sshd, in network namespaces behind one bridge.

What a host sees of the network goes when its link is set down, as when a cable is pulled; processes and files are
those of this machine. Everything made here has this process's id in its name, and is gone when the context ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.batch.field import wait_until

PORT = 2222
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_PRIVILEGES = Path("/run/sshd")  # sshd demands it, whatever its configuration


def need_far_hosts() -> None:
    """Skip a test where namespaces or sshd cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made as root")
    for tool in ("ip", "ssh", "ssh-keygen", SSHD):
        if shutil.which(tool) is None:
            pytest.skip(f"{Path(tool).name} is not installed")
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

    def __init__(self, folder: Path, names: str = "ab", environment: dict[str, str] | None = None) -> None:
        self.folder, self.names = folder, names
        self._environment = environment or {}
        self._network = f"10.{90 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self._cleaning = contextlib.ExitStack()
        self.client_config = folder / "ssh_config"

    def __enter__(self) -> FarHosts:
        with contextlib.ExitStack() as undo:
            self._make_keys()
            self._make_bridge(undo)
            for number, name in enumerate(self.names, start=2):
                self._make_host(name, number, undo)
            self._write_client_config()
            self._cleaning = undo.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._cleaning.close()

    @property
    def here(self) -> str:
        """This machine's address on the bridge."""
        return f"{self._network}.1"

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"{self._network}.{2 + self.names.index(name)}"

    @property
    def ssh(self) -> str:
        """The command that reaches them."""
        return f"ssh -F {self.client_config}"

    def link(self, name: str, state: str) -> None:
        """Set a host's link "down" or "up"."""
        _run("ip", "link", "set", _name(f"v{name}"), state)

    def cut_connections(self, name: str) -> None:
        """End all SSH sessions of a host at once, as a restart of its network would; sshd itself stays."""
        for process in self.processes(name):
            if process.name() == "sshd" and process.pid != self._sshd[name].pid:
                process.kill()

    def processes(self, name: str) -> list[psutil.Process]:
        """Return all processes of a host, sshd included."""
        pids = _run("ip", "netns", "pids", _name(name)).split()
        found = []
        for pid in map(int, pids):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def commands(self, name: str) -> list[psutil.Process]:
        """Return the processes of a host that are not sshd's."""
        found = []
        for process in self.processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() != "sshd":
                    found.append(process)
        return found

    # ---- how they are made

    def _make_keys(self) -> None:
        self._sshd: dict[str, subprocess.Popen[bytes]] = {}
        for key in ("host_key", "user_key", "stranger_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))

    def _make_bridge(self, undo: contextlib.ExitStack) -> None:
        bridge = _name("br")
        _run("ip", "link", "add", bridge, "type", "bridge")
        undo.callback(_run, "ip", "link", "delete", bridge)
        _run("ip", "address", "add", f"{self.here}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")

    def _make_host(self, name: str, number: int, undo: contextlib.ExitStack) -> None:
        space, outer, inner = _name(name), _name(f"v{name}"), _name(f"w{name}")
        _run("ip", "netns", "add", space)
        undo.callback(_run, "ip", "netns", "delete", space)
        undo.callback(self._end_all, name)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        _run("ip", "link", "set", outer, "master", _name("br"), "up")
        inside = ("ip", "-n", space)
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "address", "add", f"{self._network}.{number}/24", "dev", inner)
        _run(*inside, "link", "set", inner, "up")
        self._start_sshd(name, undo)

    def _start_sshd(self, name: str, undo: contextlib.ExitStack) -> None:
        if not _PRIVILEGES.exists():
            _PRIVILEGES.mkdir(mode=0o755)
            undo.callback(_PRIVILEGES.rmdir)
        config = self.folder / f"sshd_config_{name}"
        given = " ".join(f'"{key}={value}"' for key, value in self._environment.items())
        config.write_text(
            f"Port {PORT}\nListenAddress {self.address(name)}\nHostKey {self.folder / 'host_key'}\n"
            f"AuthorizedKeysFile {self.folder / 'user_key.pub'}\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            + (f"SetEnv {given}\n" if given else "")
        )
        command = ["ip", "netns", "exec", _name(name), SSHD, "-D", "-e", "-f", str(config)]
        with (self.folder / f"sshd_{name}.log").open("wb") as log:
            self._sshd[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: b"Server listening" in (self.folder / f"sshd_{name}.log").read_bytes(), 20)

    def _end_all(self, name: str) -> None:
        """End what still runs on a host: nothing but this test put a process there."""
        deadline = time.monotonic() + 10
        while (left := self.processes(name)) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            self._sshd[name].poll()
            time.sleep(0.05)
        self._sshd[name].wait()

    def _write_client_config(self) -> None:
        key = (self.folder / "host_key.pub").read_text().strip()
        known = self.folder / "known_hosts"
        known.write_text("".join(f"[{self.address(name)}]:{PORT} {key}\n" for name in self.names))
        hosts = "".join(f"Host {name}\n  HostName {self.address(name)}\n" for name in self.names)
        self.client_config.write_text(
            f"{hosts}Host *\n  Port {PORT}\n  User root\n  IdentityFile {self.folder / 'user_key'}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n"
        )


def _name(what: str) -> str:
    """Return a name that no other test run uses; the kernel allows an interface 15 characters."""
    return f"gn{os.getpid()}{what}"


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
