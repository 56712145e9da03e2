"""The run directory: where a batch keeps what it is, what became of its jobs, and what it was about to do.

::

    OUT/.gluon-nst/
        run.json        what this run is: inputs, recipe, parameters, version
        journal.jsonl   what became of each job
        status.json     how far it is, renewed while it runs
        lock            who runs it
        results.csv     the journal as a table; failed.csv: those that failed, as a manifest to run again
        report.html     the gallery, made by `gluon-nst report`
        checkpoints/    of jobs that are being made
        rejected/       pictures that failed their check
        replaced/       outputs that were not as they were written, and have been made again
        run-1.json, journal-1.jsonl, ...    runs that were there before --new-run
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gluon_nst.batch.journal import JOURNAL, Journal
from gluon_nst.batch.run_lock import RunLock
from gluon_nst.errors import OutputError, RunMismatchError
from gluon_nst.storage import is_url, open_binary, write_bytes

__all__ = ["FOLDER", "RunDirectory", "default_run_directory", "file_digest", "identity_changes", "open_run"]

FOLDER = ".gluon-nst"
"""Name of the run directory in an output folder; it begins with a dot, so that it is never taken for input."""

_RUN, _STATUS = "run.json", "status.json"
_ASIDE = re.compile(r"(?:run|journal)-(\d+)\.jsonl?")


class RunDirectory:
    """A run directory that this process holds.

    Attributes
    ----------
    path
        The folder.
    journal
        Open for appending.
    resumed
        Whether there was a run in it before.
    """

    def __init__(self, path: Path, journal: Journal, *, resumed: bool) -> None:
        self.path, self.journal, self.resumed = path, journal, resumed

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace status.json; a full disk does not stop a run here."""
        with contextlib.suppress(OutputError):
            write_bytes(self.path / _STATUS, json.dumps(status).encode())


def default_run_directory(output: str, shard: tuple[int, int] | None = None) -> Path:
    """Return where the run of an output folder is kept: in it, or, for a URL, in the working directory.

    A journal is appended to, which object stores cannot do.
    """
    if is_url(output):
        readable = re.sub(r"[^A-Za-z0-9]+", "-", output).strip("-")[:60]
        folder = Path(f"{FOLDER}-{readable}-{hashlib.sha256(output.encode()).hexdigest()[:8]}")
    else:
        folder = Path(output) / FOLDER
    return folder if shard is None else folder / f"shard-{shard[0]}-of-{shard[1]}"


@contextlib.contextmanager
def open_run(path: Path, identity: Mapping[str, Any], *, new_run: bool = False) -> Iterator[RunDirectory]:
    """Hold a run directory, begun now or before, until the context ends.

    Parameters
    ----------
    path
        The folder; made if it is missing.
    identity
        What the run is, as plain JSON values: inputs, recipe, parameters, version. Another one is refused.
    new_run
        Begin a new run where there was another; the old journal is kept under another name.

    Raises
    ------
    RunHeldError
        If another process runs a batch there.
    RunMismatchError
        If there is another run in it; says how it differs.
    OutputError
        If nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the run directory {path}: {error.strerror}") from error
    lock = RunLock(path)
    try:
        resumed = _begin(path, identity, new_run=new_run)
        with Journal(path / JOURNAL) as journal:
            yield RunDirectory(path, journal, resumed=resumed)
    finally:
        lock.release()


def file_digest(path: str) -> str:
    """Return the sha256 of a file of any size, in hex; empty for standard input, which can be read once only.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if path == "-":
        return ""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def identity_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return how two identities differ, a line each: "size was 512, is 256"."""
    old, new = _flat(before), _flat(now)
    return [
        f"{name} was {_shown(old.get(name))}, is {_shown(new.get(name))}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]


def _begin(path: Path, identity: Mapping[str, Any], *, new_run: bool) -> bool:
    """Write down what the run is, or compare; return whether it goes on with an earlier one."""
    plain = json.loads(json.dumps(identity))
    known = None if new_run else _read_identity(path / _RUN)
    if known is not None:
        _refuse_another(path, known, plain)
        return True
    _set_aside(path)
    record = {"identity": plain, "started_at": time.time()}
    write_bytes(path / _RUN, json.dumps(record, indent=1).encode())
    return False


def _refuse_another(path: Path, known: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changes = identity_changes(known, now)
    if changes:
        shown = "".join(f"\n  {line}" for line in changes[:12])
        more = f"\n  and {len(changes) - 12} more" if len(changes) > 12 else ""
        raise RunMismatchError(
            f"{path} holds another run:{shown}{more}\nGive the settings of that run to go on with it, another "
            "output folder, or --new-run to begin a new run there (pictures that it would make in the same way "
            "are kept)."
        )


def _set_aside(path: Path) -> None:
    """Rename what there is of an earlier run; a journal without a run is one, left by a kill between two renames."""
    taken = [int(found[1]) for each in path.iterdir() if (found := _ASIDE.fullmatch(each.name))]
    number = 1 + max(taken, default=0)
    try:
        for old in (path / JOURNAL, path / _RUN):
            if old.exists():
                old.rename(old.with_stem(f"{old.stem}-{number}"))
    except OSError as error:
        raise OutputError(f"cannot set the earlier run in {path} aside: {error.strerror}") from error


def _read_identity(path: Path) -> dict[str, Any] | None:
    """Return what run a file tells of; None if there is no file."""
    try:
        identity = json.loads(path.read_bytes())["identity"]
        return dict(identity.items())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunMismatchError(
            f"{path} cannot be read ({error}), so nobody knows what run this is. Give another output folder, or "
            "--new-run to begin a new run there."
        ) from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
