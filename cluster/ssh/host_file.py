"""The file that names the hosts, a line each."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from gluon_nst.errors import UsageError

__all__ = ["Host", "parse_hosts", "read_hosts"]

# Those that `gluon-nst workers` takes under the same name.
_WORKERS_OPTIONS = ("workers", "device", "host", "interface", "scratch", "memory-limit", "grace")
_NUMBERS = ("port", "workers", "grace")
_GRACE = 20.0  # what `gluon-nst workers` has as its default
_KEYS = ("user", "port", "command", "gpus", *_WORKERS_OPTIONS)


@dataclasses.dataclass(frozen=True)
class Host:
    """A line of the file.

    Attributes
    ----------
    name
        What ssh is given: a name, an address, user@name, or a name of the user's ~/.ssh/config.
    settings
        What else the line says, by its keys.
    """

    name: str
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def grace(self) -> float:
        """Seconds that its workers have for pictures in hand."""
        return float(self.settings.get("grace", _GRACE))

    def ssh_options(self) -> list[str]:
        """Return what ssh needs to know beside the name."""
        flags = {"user": "-l", "port": "-p"}
        return [
            word for key, flag in flags.items() if key in self.settings for word in (flag, self.settings[key])
        ]

    def command(self, address: str, number: int) -> list[str]:
        """Return what brings up the workers there.

        Parameters
        ----------
        address
            Of the scheduler.
        number
            Of the attempt, from 1 on. It is in their names, which must not be those of workers that a lost
            connection may have left there for a while.
        """
        gpus = self.settings.get("gpus")
        start = ["env", f"CUDA_VISIBLE_DEVICES={gpus}"] if gpus is not None else []
        given = [key for key in _WORKERS_OPTIONS if key in self.settings]
        options = [word for key in given for word in (f"--{key}", self.settings[key])]
        program = shlex.split(self.settings.get("command", "gluon-nst"))
        name = self.name.rpartition("@")[2] + (f"-{number}" if number > 1 else "")
        return [*start, *program, "workers", address, "--name", name, *options]


def read_hosts(path: Path) -> list[Host]:
    """Return the hosts of a file.

    Raises
    ------
    UsageError
        If it cannot be read, names no host or one twice, or a line is not understood.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the host file {path} cannot be read: {error}") from None
    return parse_hosts(text, str(path))


def parse_hosts(text: str, origin: str) -> list[Host]:
    """Return the hosts that a text names; `origin` is said in messages.

    Raises
    ------
    UsageError
        As `read_hosts` does.
    """
    hosts: dict[str, Host] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        host = _parse_line(line, f"{origin}, line {number}")
        if host is not None and hosts.setdefault(host.name, host) is not host:
            raise UsageError(
                f"{origin}, line {number}: {host.name} is there twice; one line starts all its workers."
            )
    if not hosts:
        raise UsageError(f"{origin} names no host; write one on each line.")
    return list(hosts.values())


def _parse_line(line: str, where: str) -> Host | None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise UsageError(f"{where}: {error}.") from None
    if not words:
        return None
    name, *rest = words
    if name.startswith("-") or "=" in name:
        raise UsageError(f"{where}: it begins with {name!r}; a line begins with the name of a host.")
    return Host(name, dict(_parse_setting(word, where) for word in rest))


def _parse_setting(word: str, where: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or key not in _KEYS:
        raise UsageError(
            f"{where}: {word!r} is not understood; a line takes {', '.join(_KEYS)}, each as key=value."
        )
    if key in _NUMBERS and not value.replace(".", "", 1).isdecimal():
        raise UsageError(f"{where}: {word!r} is not understood; {key} is a number.")
    return key, value
