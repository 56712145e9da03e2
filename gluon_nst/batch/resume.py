"""Taking stock before a start: what was done before and is still there, and what failed and is tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gluon_nst import storage
from gluon_nst.batch.last_records import iterate_records
from gluon_nst.batch.plan import Plan
from gluon_nst.batch.settings import EXISTING
from gluon_nst.errors import OutputError, UsageError, did_you_mean

__all__ = ["RETRIES", "take_stock"]

RETRIES = ("none", "failed", "poison", "all")
"""What may be tried again."""

# Looking at outputs means waiting for storage, not computing.
_THREADS = 16
_NAMED = 5


class _Done(NamedTuple):
    """A job that the journal says is done."""

    key: str
    output: str
    bytes: int
    sha256: str


def take_stock(
    plan: Plan, run: Path, *, retry: str, verify: bool, existing: str, look_only: bool = False
) -> None:
    """Mark in the plan what need not be done.

    An output that is gone, or not as long as it was written, is made again; what is in its place is kept in the
    run directory, under ``replaced``.

    Parameters
    ----------
    plan
        Every job of the batch.
    run
        The run directory; its journal says what was done.
    retry
        One of `RETRIES`: which failed jobs are tried again.
    verify
        Read every output that was done and compare it with the journal, to the byte.
    existing
        With "error", outputs that are there but not in the journal are refused.
    look_only
        Change no file: for a dry run.

    Raises
    ------
    UsageError
        If outputs exist that must not; names some. Or if a setting has no such value.
    OutputError
        If outputs cannot be looked at, or not be kept in the run directory.
    """
    _check(retry=retry, existing=existing)
    plan.note(record.result for record in iterate_records(run))
    failing = _failing((_Done(*row) for row in plan.done()), _is_intact if verify else _is_there)
    plan.reopen(each.key for each in failing if look_only or _cleared(each, run))
    plan.retry(retry)
    if existing == "error":
        _refuse_existing(plan)


def _check(*, retry: str, existing: str) -> None:
    for name, value, allowed in (("retry", retry, RETRIES), ("existing", existing, EXISTING)):
        if value not in allowed:
            raise UsageError(
                f"{name} is {value!r}; it takes {', '.join(allowed)}.{did_you_mean(value, allowed)}"
            )


def _failing(done: Iterable[_Done], intact: Callable[[_Done], bool]) -> Iterator[_Done]:
    """Yield those that are not intact."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="stock") as pool:
        rows = iter(done)
        while batch := list(islice(rows, 1000)):
            yield from (each for each, good in zip(batch, pool.map(intact, batch), strict=True) if not good)


def _is_there(done: _Done) -> bool:
    """Return whether there is an output, of the right length where looking takes no request for it."""
    try:
        if storage.is_url(done.output):
            return storage.exists(done.output)
        return Path(done.output).stat().st_size == done.bytes
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise OutputError(f"cannot look at {done.output}: {error.strerror or error}") from error


def _is_intact(done: _Done) -> bool:
    data = _read(done.output)
    return data is not None and hashlib.sha256(data).hexdigest() == done.sha256


def _cleared(done: _Done, run: Path) -> bool:
    """Move what is in an output's place into the run directory; return True once the place is free."""
    data = _read(done.output)
    if data is not None:
        storage.write_bytes(run / "replaced" / f"{done.key}{PurePosixPath(done.output).suffix}", data)
        try:
            storage.remove(done.output)
        except OSError as error:
            raise OutputError(f"cannot remove {done.output}: {error.strerror or error}") from error
    return True


def _read(output: str) -> bytes | None:
    """Return what is in a file, None if there is none."""
    try:
        return storage.read_bytes(output)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"cannot read {output}: {error.strerror or error}") from error


def _refuse_existing(plan: Plan) -> None:
    try:
        found = list(islice(plan.existing_outputs(), _NAMED + 1))
    except OSError as error:
        raise OutputError(f"cannot look at the outputs: {error.strerror or error}") from error
    if found:
        named = "".join(f"\n  {each}" for each in found[:_NAMED]) + ("\n  ..." if len(found) > _NAMED else "")
        raise UsageError(
            f"outputs exist already, and --existing error was given:{named}\nMove them away, or give another "
            "output folder."
        )
