"""A real sshd with keys and configuration of its own, that lets in the one user's key made with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.batch.field import wait_until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_PRIVILEGES = Path("/run/sshd")  # root's sshd demands it, whatever its configuration


def need_sshd() -> None:
    """Skip a test where OpenSSH is not there."""
    for tool in ("ssh", "ssh-keygen", SSHD):
        if shutil.which(tool) is None:
            pytest.skip(f"{Path(tool).name} is not installed")


def make_keys(folder: Path) -> None:
    """Make keys of hosts, of a user that they let in, and of one that they do not."""
    for key in ("host_key", "user_key", "stranger_key"):
        if not (folder / key).exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(words, check=True)


def client_config(folder: Path, places: dict[str, tuple[str, int]]) -> Path:
    """Write what an SSH client needs to reach hosts, by names, at addresses and ports; return the file."""
    key = (folder / "host_key.pub").read_text().strip()
    known = folder / "known_hosts"
    known.write_text("".join(f"[{address}]:{port} {key}\n" for address, port in places.values()))
    hosts = "".join(
        f"Host {name}\n  HostName {address}\n  Port {port}\n" for name, (address, port) in places.items()
    )
    path = folder / "ssh_config"
    path.write_text(
        f"{hosts}Host *\n  IdentityFile {folder / 'user_key'}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n"
    )
    return path


class Sshd:
    """One sshd, until the context ends; what it started is not ended with it.

    Parameters
    ----------
    folder
        With the keys of `make_keys`; for the configuration and the log.
    address, port
        Where it listens.
    environment
        What commands find in their environment.
    within
        Words of a command that starts it somewhere else, such as in a network namespace.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        port: int,
        environment: dict[str, str] | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        self._config = folder / f"sshd_config_{address}"
        self._log = folder / f"sshd_{address}.log"
        given = " ".join(f'"{key}={value}"' for key, value in (environment or {}).items())
        self._config.write_text(
            f"Port {port}\nListenAddress {address}\nHostKey {folder / 'host_key'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'user_key.pub'}\nStrictModes no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            + (f"SetEnv {given}\n" if given else "")
        )
        self._command = [*within, SSHD, "-D", "-e", "-f", str(self._config)]
        self._made_folder = False

    def __enter__(self) -> Sshd:
        if os.geteuid() == 0 and not _PRIVILEGES.exists():
            _PRIVILEGES.mkdir(mode=0o755)
            self._made_folder = True
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(
            lambda: b"Server listening" in self._log.read_bytes() or self.process.poll() is not None, 20
        )
        assert self.process.poll() is None, self._log.read_text()
        return self

    def __exit__(self, *details: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._made_folder:
            _PRIVILEGES.rmdir()
