"""What a person sees of a batch while it runs: a live display on a terminal, plain lines in a log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gluon_nst.batch.run import BatchRun
    from gluon_nst.batch.tally import BatchProgress
    from gluon_nst.jobs import JobResult

__all__ = ["Display", "LiveDisplay", "duration", "make_display", "printable", "progress_line"]

Item = TypeVar("Item")

_LINE_EVERY = 10.0  # seconds between two lines of progress in a log
_COUNTED = 10_000  # jobs between two signs of life while the plan is made
_WORKERS_SHOWN = 8


def make_display(*, quiet: bool, as_json: bool) -> Display:
    """Return the display that fits: live on a terminal, lines elsewhere."""
    if not quiet and not as_json and sys.stderr.isatty():
        return LiveDisplay()
    return Display(quiet=quiet or as_json, as_json=as_json)


class Display:
    """Plain lines on standard error; the summary, or JSON, on standard output.

    Parameters
    ----------
    quiet
        Show failures and the summary only.
    as_json
        Print the summary as JSON.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet, self._as_json = quiet, as_json
        self._line_at = time.monotonic()
        self._known: set[tuple[str, str]] = set()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *details: object) -> None:
        """Leave the terminal as it was."""

    def say(self, text: str) -> None:
        """Show a line."""
        if not self._quiet:
            self._print(text)

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass jobs on while the plan is made, and give a sign of life now and then."""
        for number, item in enumerate(items, 1):
            if number % _COUNTED == 0:
                self.say(f"planning: {number:,} jobs")
            yield item

    def begin(self, run: BatchRun) -> None:
        """Say what lies ahead."""
        done, failed = run.done, run.failures
        before = f"; {done:,} done before" if done else ""
        before += f"; {failed:,} failed before (see --retry)" if failed else ""
        self.say(f"{run.to_do:,} to do{before}; journal in {run.path}")

    def show(self, result: JobResult) -> None:
        """Show what became of a job."""
        if result.status not in ("succeeded", "skipped"):
            line = f"{result.status.upper()} {result.content}: {result.error_type}: {result.error}"
            self._print(line.replace("\n", " "))

    def observe(self, progress: BatchProgress) -> None:
        """Show how far it is."""
        self._tell_workers(progress)
        now = time.monotonic()
        if now - self._line_at >= _LINE_EVERY:
            self._line_at = now
            self.say(progress_line(progress))

    def conclude(self, run: BatchRun, code: int) -> None:
        """Say how it ended."""
        if self._as_json:
            click.echo(json.dumps(_summary(run, code)))
            return
        if run.message:
            self._print(run.message)
        click.echo(printable("\n".join(_closing_lines(run))))

    def _tell_workers(self, progress: BatchProgress) -> None:
        """Say once of each worker that gets no work why."""
        for worker in progress.workers:
            key = (worker.name, worker.state)
            if worker.why and worker.state in ("retired", "unready", "killed") and key not in self._known:
                self._known.add(key)
                self._print(f"worker {worker.name} is {worker.state}: {worker.why}")

    def _print(self, text: str) -> None:
        click.echo(printable(text), err=True)


class LiveDisplay(Display):
    """A bar, counts and workers that stay at the foot of the terminal, failures above them."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._shown = False

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.stop()

    def observe(self, progress: BatchProgress) -> None:
        """Show how far it is."""
        self._tell_workers(progress)
        self._live.update(_panel(progress), refresh=True)

    def _print(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text that does a terminal no harm: what is no character to see, but for line ends, is spelled out.

    Names of files may hold anything: escape sequences, line ends, bytes that are no Unicode.
    """
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )


def progress_line(progress: BatchProgress) -> str:
    """Return the state of a batch in a line."""
    counts = progress.counts
    parts = [f"{progress.finished_jobs:,}/{progress.total:,}"]
    failed = progress.failed_jobs
    parts += [f"{failed:,} failed"] if failed else []
    parts += [f"{progress.retried:,} retried"] if progress.retried else []
    parts += [f"{counts['skipped']:,} there before"] if counts.get("skipped") else []
    parts += [f"{progress.images_per_hour:,.0f} images/h"] if progress.images_per_hour else []
    parts += [f"ETA {duration(progress.eta_seconds)}"] if progress.eta_seconds is not None else []
    working = sum(worker.state in ("working", "checking") for worker in progress.workers)
    return ", ".join([*parts, f"{working} worker{'s' * (working != 1)}"])


def duration(seconds: float) -> str:
    """Return a time span for people: "42 s", "7 min", "3 h 05 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _panel(progress: BatchProgress) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    bar = Table.grid(expand=True)  # which ends its line, as a bar by itself does not
    bar.add_row(ProgressBar(total=max(1, progress.total), completed=progress.finished_jobs))
    workers = Table.grid(padding=(0, 2))
    able = [each for each in progress.workers if each.state != "gone"]
    for each in able[:_WORKERS_SHOWN]:
        counts = f"{each.done} done" + (f", {each.failed} failed" if each.failed else "")
        workers.add_row(*map(Text, (each.name, each.device, each.state, counts)))
    if len(able) > _WORKERS_SHOWN:
        workers.add_row(f"and {len(able) - _WORKERS_SHOWN} more")
    return Group(bar, Text(f"{progress.state}: {progress_line(progress)}"), workers)


def _summary(run: BatchRun, code: int) -> dict[str, Any]:
    return {
        "exit_code": code, "ending": run.ending.value if run.ending else "finished", "message": run.message,
        "counts": dict(run.counts), "total": sum(run.counts.values()) + run.left, "left": run.left,
        "run_directory": str(run.path), "results": str(run.path / "results.csv"),
        "failed": str(run.path / "failed.csv") if run.failures else None,
    }  # fmt: skip


def _closing_lines(run: BatchRun) -> Iterator[str]:
    counts = run.counts
    if not run.to_do:
        yield "nothing to do"
    done = f"{run.done:,} done"
    skipped = f" ({counts['skipped']:,} were there before)" if counts.get("skipped") else ""
    failed = ", ".join(
        f"{counts[each]:,} {each}" for each in ("failed", "poison", "timeout") if counts.get(each)
    )
    left = f", {run.left:,} left" if run.left else ""
    yield f"{done}{skipped}, {failed or '0 failed'}{left}"
    if run.failures:
        yield f"those that failed: {run.path / 'failed.csv'}"
