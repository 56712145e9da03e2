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
from gluon_nst.errors import UsageError

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


def take_stock(plan: Plan, run: Path, *, retry: str, verify: bool, existing: str) -> None:
    """Mark in the plan what need not be done.

    Parameters
    ----------
    plan
        Every job of the batch.
    run
        The run directory; its journal says what was done.
    retry
        One of `RETRIES`: which failed jobs are tried again.
    verify
        Read every output that was done and compare it with the journal. One that differs is set aside in the run
        directory and made again.
    existing
        With "error", outputs that are there but not in the journal are refused.

    Raises
    ------
    UsageError
        If outputs exist that must not; names some.
    """
    plan.note(record.result for record in iterate_records(run))
    intact = _verified(run) if verify else _still_there
    plan.reopen(list(_failing((_Done(*row) for row in plan.done()), intact)))
    plan.retry(retry)
    if existing == "error":
        _refuse_existing(plan)


def _failing(done: Iterable[_Done], intact: Callable[[_Done], bool]) -> Iterator[str]:
    """Yield the ids of those that are not intact."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="stock") as pool:
        rows = iter(done)
        while batch := list(islice(rows, 1000)):
            yield from (
                each.key for each, good in zip(batch, pool.map(intact, batch), strict=True) if not good
            )


def _still_there(done: _Done) -> bool:
    if storage.is_url(done.output):
        return storage.exists(done.output)
    try:
        return Path(done.output).stat().st_size == done.bytes
    except OSError:
        return False


def _verified(run: Path) -> Callable[[_Done], bool]:
    def intact(done: _Done) -> bool:
        try:
            data = storage.read_bytes(done.output)
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() == done.sha256:
            return True
        kept = run / "replaced" / f"{done.key}{PurePosixPath(done.output).suffix}"
        storage.write_bytes(kept, data)
        storage.remove(done.output)
        return False

    return intact


def _refuse_existing(plan: Plan) -> None:
    found = list(islice(plan.existing_outputs(), _NAMED + 1))
    if found:
        named = "".join(f"\n  {each}" for each in found[:_NAMED]) + ("\n  ..." if len(found) > _NAMED else "")
        raise UsageError(
            f"outputs exist already, and --existing error was given:{named}\nMove them away, or give another "
            "output folder."
        )
