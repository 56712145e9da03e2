"""``gluon-nst report``: what became of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gluon_nst.cli.options import json_option

if TYPE_CHECKING:
    from gluon_nst.batch.report import Report

# Kinds of errors named on the terminal; the page and failed.csv have them all.
ERRORS_NAMED = 5


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("-o", "--output", metavar="FILE", help="The page; DIR/.gluon-nst/report.html if not given.")
@click.option("--watch", is_flag=True, help="Write it again and again until the run is over.")
@click.option(
    "--every", type=click.FloatRange(0.2), default=5.0, show_default=True, metavar="SECONDS",
    help="Pause between two writings with --watch.",
)  # fmt: skip
@json_option
def report(directory: str, output: str | None, watch: bool, every: float, as_json: bool) -> None:
    """Make a gallery page, tables and a summary of the batch in DIR.

    \b
    gluon-nst report stylized/
    gluon-nst report stylized/ --watch

    The page is one HTML file that shows every job: content, style and stylized image side by side, failures
    first. Beside it lie results.csv (and results.parquet, if pyarrow is installed) and failed.csv, which
    `gluon-nst batch --manifest` takes as it is, with a --run-dir of its own.
    """
    from gluon_nst.batch.report import watch_report, write_report

    if not watch:
        _show(write_report(directory, output), as_json=as_json)
        return
    for number, each in enumerate(watch_report(directory, output, every=every)):
        if number == 0:
            click.echo(f"watching; open {each.page}, stop with Ctrl-C", err=True)
        if each.state.over:
            _show(each, as_json=as_json)


def _show(report: Report, *, as_json: bool) -> None:
    click.echo(json.dumps(_mapping(report)) if as_json else "\n".join(_lines(report)))


def _mapping(report: Report) -> dict[str, Any]:
    errors = [
        {"pattern": group.pattern, "count": group.count, "job_id": group.example.job_id,
         "content": group.example.content, "error": group.example.error}
        for group in report.summary.errors
    ]  # fmt: skip
    return {
        "page": report.page,
        "tables": [str(path) for path in report.tables],
        "state": report.state.state,
        "counts": dict(report.summary.counts),
        "skipped_lines": report.skipped,
        "errors": errors,
    }


def _lines(report: Report) -> list[str]:
    summary = report.summary
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items() if count)
    lines = [f"{summary.total:,} jobs: {counts}" if summary.total else "no job has ended yet"]
    for group in summary.errors[:ERRORS_NAMED]:
        example = group.example
        lines.append(
            f"  {group.count:,} x {example.error_type or example.status}: {example.error or '(no message)'}"
        )
        lines.append(f"      such as {example.content}")
    if len(summary.errors) > ERRORS_NAMED:
        lines.append(f"  and {len(summary.errors) - ERRORS_NAMED:,} more kinds of error")
    if report.skipped:
        lines.append(f"{report.skipped:,} lines of the journal are no record and were left out")
    lines += [f"wrote {path}" for path in (report.page, *report.tables)]
    return [_printable(line) for line in lines]


def _printable(text: str) -> str:
    """Return a text without what would steer the terminal, or cannot be written at all."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
