"""``gluon-nst workers``: the workers of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gluon_nst.cli.options import option_group, place_options, tls_options
from gluon_nst.errors import BackendError, ClusterError, UsageError
from gluon_nst.memory_limit import parse_memory_limit

EXIT_STRANDED = 5


def _bytes(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Return how many bytes a size means."""
    try:
        size = 0 if value == "0" else parse_memory_limit(value).size or None
    except UsageError:
        size = None
    if size is None:
        raise click.BadParameter(f"{value!r} is no size; write 8GB or 500M, or 0 for none.")
    return size


_worker_options = option_group(
    click.option(
        "--workers", type=click.IntRange(1), default=1, show_default=True, metavar="N",
        help="Workers of a machine without GPUs, which share its cores; of one with GPUs there is one for each.",
    ),
    click.option(
        "--device", type=click.Choice(["auto", "cpu"]), default="auto", show_default=True,
        help="`cpu` leaves GPUs alone.",
    ),
    click.option(
        "--name", default="", metavar="NAME",
        help="Name of the only worker, or first part of the names of several.  [default: the machine's]",
    ),
    click.option(
        "--scratch", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
        help="Folder for temporary files.  [default: the system's]",
    ),
    click.option(
        "--memory-limit", default="0", show_default=True, metavar="SIZE", callback=_bytes,
        help="Of each worker, as 8GB; one that holds more is ended and started anew. 0 is none.",
    ),
    click.option(
        "--grace", type=click.FloatRange(0), default=20.0, show_default=True, metavar="SECONDS",
        help="Time for pictures in hand when the workers are to leave.",
    ),
    click.option(
        "--wait-for-scheduler", "wait", type=click.FloatRange(0), default=300.0, show_default=True, metavar="SECONDS",
        help="How long to wait for the scheduler, or its file.",
    ),
)  # fmt: skip


@click.command()
@click.argument("scheduler", metavar="ADDRESS|FILE")
@_worker_options
@place_options("where the scheduler is reached from")
@tls_options
def workers(workers: int, device: str, name: str, **options: Any) -> int:
    """Work for the scheduler at an address, or whose scheduler file is FILE: one worker for every GPU.

    \b
    gluon-nst workers tcp://node1:8786
    gluon-nst workers shared/scheduler.json --workers 4

    Each worker sees only its own GPU, and makes a tiny picture to prove that it can work before it joins. SIGTERM,
    Ctrl-C and SIGUSR2 let them finish what they run, or keep a checkpoint of it after the grace.

    \b
    Exit code 0: ended in order, or the scheduler went.  2: usage.  5: no worker can work.  130: a second Ctrl-C.
    """
    from gluon_nst.launch.discovery import find_slots
    from gluon_nst.launch.terms import Terms
    from gluon_nst.launch.workers import run_workers

    _make_folder(options["scratch"])
    try:
        return run_workers(find_slots(workers, device, name), Terms(**options))
    except (BackendError, ClusterError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        return EXIT_STRANDED


def _make_folder(scratch: Path | None) -> None:
    try:
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            f"--scratch {scratch} cannot be made: {error.strerror}. Give another folder."
        ) from error
