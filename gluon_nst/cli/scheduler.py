"""``gluon-nst scheduler``: what workers and batches meet at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gluon_nst.cli.options import place_options, tls_options


@click.command()
@place_options("127.0.0.1: only this machine reaches it")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8786,
    show_default=True,
    metavar="PORT",
    help="0 takes any free one.",
)
@click.option(
    "--scheduler-file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File on a shared disk to leave the address in, for workers and batches; its name must end in .json.",
)
@tls_options
@click.option(
    "--insecure", is_flag=True, help="Listen where others can reach it without TLS: they can run programs."
)
def scheduler(**options: Any) -> None:
    """Run a scheduler, at which `gluon-nst workers` and `gluon-nst batch --scheduler` meet; print its address.

    \b
    gluon-nst scheduler
    gluon-nst scheduler --interface ib0 --tls-dir certificates/ --scheduler-file shared/scheduler.json

    SIGTERM and Ctrl-C end it once batches that still run have let go of it; a second Ctrl-C at once.
    """
    from gluon_nst.launch.scheduler import SchedulerTerms, run_scheduler

    file = options["file"]
    if file is not None and file.suffix != ".json":
        raise click.BadParameter(f"{str(file)!r} must end in .json; batches and workers know it by that.")
    run_scheduler(SchedulerTerms(**options), announce=click.echo)
