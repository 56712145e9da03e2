"""``gluon-nst doctor``: what this machine or a cluster has, and what it lacks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gluon_nst.cli.options import json_option, tls_options
from gluon_nst.errors import ClusterError, UsageError
from gluon_nst.launch.tls import Tls

if TYPE_CHECKING:
    from gluon_nst.doctor import Finding

EXIT_PROBLEM = 1
EXIT_STRANDED = 5


@click.command()
@click.option("--scheduler", metavar="ADDRESS|FILE", help="Examine the workers of a Dask scheduler instead.")
@tls_options
@click.option(
    "--reads",
    multiple=True,
    metavar="PATH",
    help="See whether all workers can read this; may be given again.",
)
@click.option(
    "--writes", default="", metavar="DIR", help="See whether all workers can write to this folder or URL."
)
@json_option
def doctor(scheduler: str | None, tls: Tls | None, reads: tuple[str, ...], writes: str, as_json: bool) -> int:
    """Tell what this machine has, what will be used, what is missing and how to get it.

    \b
    gluon-nst doctor
    gluon-nst doctor --scheduler tcp://node1:8786 --reads photos/ --writes stylized/

    Exit code 1 if nothing can be stylized here, or something is wrong with the cluster; 5 if no worker is there.
    """
    if scheduler:
        return _examine_cluster(scheduler, tls, reads, writes, as_json)
    if reads or writes:
        raise UsageError("--reads and --writes ask the workers of a cluster; give --scheduler too.")
    from gluon_nst.doctor import as_mapping, examine, usable

    findings = examine()
    if as_json:
        click.echo(json.dumps(as_mapping(findings)))
    else:
        _show(findings)
    return 0 if usable(findings) else EXIT_PROBLEM


def _examine_cluster(
    scheduler: str, tls: Tls | None, reads: tuple[str, ...], writes: str, as_json: bool
) -> int:
    from gluon_nst.batch.local_cluster import connect
    from gluon_nst.doctor import as_mapping, usable
    from gluon_nst.doctor.cluster import examine_cluster

    try:
        with connect(scheduler, tls) as client:
            report = examine_cluster(client, reads, writes)
    except ClusterError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        return EXIT_STRANDED
    if as_json:
        workers = [dataclasses.asdict(each) for each in report.workers]
        click.echo(json.dumps({**as_mapping(report.findings), "workers": workers}))
    else:
        _show(report.findings)
    if not report.workers:
        return EXIT_STRANDED
    return 0 if usable(report.findings) else EXIT_PROBLEM


def _show(findings: Sequence[Finding]) -> None:
    """Print a line for each finding, and one for what to do about it."""
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.state:<8} {finding.topic:<{width}}  {finding.text}")
        if finding.remedy:
            click.echo(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
