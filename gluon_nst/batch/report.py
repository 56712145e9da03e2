"""The report of a batch: tables, a gallery page, and a summary, from what lies in its run directory."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from gluon_nst import storage
from gluon_nst.batch.exports import TABLES, write_results
from gluon_nst.batch.gallery import choose_records, link_to, make_gallery
from gluon_nst.batch.last_records import LastRecords, find_run, read_last_records, read_mapping
from gluon_nst.batch.page import Page, render_page
from gluon_nst.batch.run_directory import FOLDER
from gluon_nst.batch.run_state import RunState, read_state
from gluon_nst.batch.summary import Summary, summarize
from gluon_nst.batch.thumbnail_cache import open_cache
from gluon_nst.batch.thumbnails import local_path

__all__ = ["Report", "watch_report", "write_report"]

# Pause after a page, as a multiple of the time that it took: a fifth of one core at most.
_REST = 4

_Tables: TypeAlias = Callable[[Path, LastRecords], list[Path]]


@dataclasses.dataclass(frozen=True)
class Report:
    """What was reported, and where.

    Attributes
    ----------
    page
        Path or URL of the HTML file.
    tables
        The other files written.
    summary, state
        The run's numbers, and how it goes.
    skipped
        Lines of the journal that were no record.
    """

    page: str
    tables: tuple[Path, ...]
    summary: Summary
    state: RunState
    skipped: int


def write_report(
    directory: str | os.PathLike[str], page: str | None = None, *, reload_seconds: float | None = None
) -> Report:
    """Write the tables and the page of a run.

    Parameters
    ----------
    directory : str or os.PathLike
        The output folder of a batch, or the run directory in it.
    page : str, optional
        Path or URL of the HTML file; ``report.html`` in the run directory if not given.
    reload_seconds : float, optional
        How often the page is to load itself again while the run goes on; never if not given.

    Returns
    -------
    Report
        What was written.

    Raises
    ------
    UsageError
        If there is no run in the directory.
    OutputError
        If a file cannot be written.
    """
    return _write(find_run(directory), page, reload_seconds, write_results)


def watch_report(
    directory: str | os.PathLike[str], page: str | None = None, *, every: float
) -> Iterator[Report]:
    """Write the report again and again until the run is over; yield what was written each time.

    When the caller stops before that, the page is left as it is at the last time, and loads itself no more.

    Parameters
    ----------
    directory, page
        As `write_report` takes them.
    every : float
        Seconds between the end of one writing and the beginning of the next; more when a writing takes long.

    Raises
    ------
    UsageError, OutputError
        As `write_report` does.
    """
    run = find_run(directory)
    begun = time.monotonic()
    # The tables of a large run take longer than its page: they are made at the beginning and at the end.
    report = _write(run, page, every, write_results)
    try:
        yield report
        while not report.state.over:
            # A large page is made less often: neither this nor the browser shall do nothing else.
            pause = max(every, _REST * (time.monotonic() - begun))
            time.sleep(pause)
            begun = time.monotonic()
            tables = write_results if read_state(run).over else _tables_there
            report = _write(run, page, pause, tables)
            yield report
    finally:
        if not report.state.over:
            _write(run, page, None, write_results)


def _write(run: Path, page: str | None, reload_seconds: float | None, tables: _Tables) -> Report:
    # Told first: a run that ends while this reads is reported as going on, and looked at once more.
    state = read_state(run)
    records = read_last_records(run)
    target = str(run / "report.html") if page is None else page
    report = Report(target, tuple(tables(run, records)), summarize(records), state, records.skipped)
    folder = _folder(target)
    with open_cache(run) as cache:
        gallery = make_gallery(choose_records(records), cache, folder, expected=state.total)
    shown = Page(
        title=_title(run),
        gallery=gallery,
        summary=report.summary,
        state=state,
        skipped=records.skipped,
        about=read_mapping(run / "run.json"),
        tables=tuple((each.name, link_to(str(each), folder)) for each in report.tables),
        reload_seconds=None if state.over else reload_seconds,
    )
    storage.write_bytes(target, render_page(shown))
    return report


def _tables_there(run: Path, _: LastRecords) -> list[Path]:
    return [run / name for name in TABLES if (run / name).is_file()]


def _folder(page: str) -> Path | None:
    """Return the local folder of the page, None if it has another address."""
    place = local_path(page)
    return None if place is None else place.absolute().parent


def _title(run: Path) -> str:
    absolute = run.absolute()
    return str(absolute.parent if absolute.name == FOLDER else absolute)
