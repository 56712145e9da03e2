"""``gluon-nst batch``: a collection."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gluon_nst.cli.batch_call import BatchCall
from gluon_nst.cli.options import engine_options, json_option, option_group, recipe_options, tls_options
from gluon_nst.errors import BackendError, ClusterError, ImageError, OutputError, ParametersError

if TYPE_CHECKING:
    from gluon_nst.batch.plan import Plan
    from gluon_nst.batch.run import BatchRun
    from gluon_nst.batch.runner import Runner
    from gluon_nst.cli.batch_display import Display

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3
EXIT_FAILURES = 4
EXIT_STRANDED = 5
EXIT_STOPPED = 75

_STYLES_TRIED = 20  # a style that cannot be read would fail a whole collection


def _part(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return (K, N) for "K/N"."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r} is no part; write K/N, such as 2/8, with K from 1 to N.")
    return int(match[1]), int(match[2])


_what_options = option_group(
    click.option(
        "--style", "styles", multiple=True, metavar="IMAGE",
        help="Style image, or a folder or glob of them; may be given again.",
    ),
    click.option(
        "-o", "--output", required=True, metavar="DIR", help="Folder or URL for the results; the tree is kept."
    ),
    click.option(
        "--manifest", metavar="FILE",
        help="CSV, JSON Lines or Parquet file of jobs: content, style, output, recipe fields.",
    ),
    click.option("--blend", metavar="W,W,...", help="Mix all styles in each picture, with these weights."),
    click.option("--name", metavar="TEMPLATE", help="Names of the results.  [default: {stem}__{style}]"),
    click.option(
        "--format", "suffix", default=".jpg", show_default=True, help="Kind of file written.",
        type=click.Choice([".jpg", ".png", ".webp", ".tif"]),
    ),
    click.option("--keep-gps", is_flag=True, help="Keep the place of capture in the results."),
    click.option(
        "--shard", metavar="K/N", callback=_part,
        help="Do part K of N only; every picture is in exactly one part.",
    ),
)  # fmt: skip

_course_options = option_group(
    click.option("-n", "--dry-run", is_flag=True, help="Show the plan and what it will take; touch nothing."),
    click.option(
        "--existing", type=click.Choice(["skip", "overwrite", "error"]), default="skip", show_default=True,
        help="Files in the way that gluon-nst did not make: fail the job, replace them, or refuse to start.",
    ),
    click.option(
        "--retry", type=click.Choice(["none", "failed", "poison", "all"]), default="none", show_default=True,
        help="Which of the jobs that failed before to try again.",
    ),
    click.option("--verify", is_flag=True, help="Read every finished output; make damaged ones again."),
    click.option("--max-failures", default="", metavar="N|P%", help="Stop after more failures than this."),
    click.option(
        "--timeout", type=click.FloatRange(1), metavar="SECONDS",
        help="Longest time for one picture.  [default: 20 times what is usual, 10 minutes at least]",
    ),
    click.option(
        "--grace", type=click.FloatRange(0), default=20.0, show_default=True, metavar="SECONDS",
        help="Time for pictures in hand when the batch is to stop.",
    ),
    click.option(
        "--run-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
        help="Where the journal is kept.  [default: .gluon-nst in the output folder]",
    ),
    click.option(
        "--new-run", is_flag=True, help="Begin a new run where there was another; pictures that match stay."
    ),
)  # fmt: skip

_worker_options = option_group(
    click.option(
        "--workers", type=click.IntRange(0), metavar="N",
        help="Worker processes on this machine, at most; 0 works in this process.  [default: one for each GPU, "
        "or 2 that share the cores]",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS|FILE", help="Use the workers of a running Dask scheduler instead."
    ),
    click.option(
        "--wait-for-workers", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS",
        help="How long to wait while there is no worker.",
    ),
    click.option(
        "--together", type=click.IntRange(1), default=1, show_default=True, metavar="N",
        help="Photographs of one shape made together, at most; fewer if they would not fit. CPUs gain nothing.",
    ),
)  # fmt: skip


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@_what_options
@recipe_options
@engine_options
@_course_options
@_worker_options
@tls_options
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Show failures and the summary only.")
def batch(**options: Any) -> int:
    """Stylize every picture of files, folders, globs and URLs with every style.

    \b
    gluon-nst batch photos/ --style painting.jpg -o stylized/
    gluon-nst batch --manifest jobs.csv -o stylized/
    gluon-nst batch photos/ --style painting.jpg -o stylized/ --scheduler tcp://node1:8786

    A picture that fails stops none of the others. Ctrl-C stops in order; the same command goes on where it
    stopped, and does nothing when all is done. `gluon-nst report DIR` shows the results.

    \b
    Exit code 0: all done.  1: finished, some failed.  2: usage, bad manifest, or another run's folder.
    3: inputs unreadable before the start.  4: stopped by --max-failures.  5: no usable worker.
    75: stopped early, the same command goes on.  130: stopped at once by a second Ctrl-C.
    """
    call = BatchCall(**options)
    try:
        return _run(call)
    except (ImageError, ParametersError) as error:
        return _refused(error, EXIT_UNREADABLE)
    except OutputError as error:
        return _refused(error, EXIT_USAGE)
    except (BackendError, ClusterError) as error:
        return _refused(error, EXIT_STRANDED)


def _refused(error: Exception, code: int) -> int:
    click.echo(f"{type(error).__name__}: {error}", err=True)
    return code


def _run(call: BatchCall) -> int:
    from gluon_nst.batch.plan import Plan
    from gluon_nst.cli.batch_display import make_display
    from gluon_nst.parameters import load_parameters
    from gluon_nst.storage import check_writable, join

    if call.tls:
        call.tls.check()  # before a large collection is gone through
    parameters = load_parameters(call.weights, call.recipe.network).sha256
    display = make_display(quiet=call.quiet, as_json=call.as_json)
    with Plan() as plan:
        _fill(plan, call, parameters, display)
        if call.dry_run:
            from gluon_nst.cli.batch_plan import show_plan

            return show_plan(plan, call)
        check_writable(join(call.output, "picture"))
        return _start(plan, call, parameters, display)


def _fill(plan: Plan, call: BatchCall, parameters: str, display: Display) -> None:
    """Put every job into the plan."""
    from gluon_nst.batch.collect import Tally, collect_jobs
    from gluon_nst.batch.sources import find_pictures
    from gluon_nst.inputs import take_input

    for style in itertools.islice(find_pictures(call.styles) if call.styles else (), _STYLES_TRIED):
        take_input(style.path)
    skipped = Tally()
    plan.add(display.counted(collect_jobs(call.request(parameters), skipped)))
    if skipped.stylized:
        display.say(f"left out {skipped.stylized} pictures that gluon-nst made itself")


def _start(plan: Plan, call: BatchCall, parameters: str, display: Display) -> int:
    from gluon_nst.batch.run import begin_run

    directory, identity = call.run_directory(), call.identity(parameters)
    with begin_run(plan, directory, identity, call.run_options(), base=call.recipe) as run:
        display.begin(run)
        if run.to_do:
            _drive(run, call, display)
        return _conclude(run, display)


def _drive(run: BatchRun, call: BatchCall, display: Display) -> None:
    from gluon_nst.cli.stopping import stop_on_signals

    with stop_on_signals(display.say) as stop, _runner(run, call, display) as runner, display:
        for result in run.results(runner, observe=display.observe, stop=stop):
            display.show(result)


@contextlib.contextmanager
def _runner(run: BatchRun, call: BatchCall, display: Display) -> Iterator[Runner]:
    """Yield what runs the jobs; Dask is loaded only where it is used."""
    if call.scheduler is None and call.workers == 0:
        from gluon_nst.batch.runner import SerialRunner

        with contextlib.closing(SerialRunner()) as serial:
            yield serial
        return
    from gluon_nst.batch.dask_runner import DaskRunner
    from gluon_nst.batch.local_cluster import connect, dashboard_link, local_client

    clients = (
        connect(call.scheduler, call.tls) if call.scheduler else local_client(call.slots(run.to_do), call.tls)
    )
    with clients as client, contextlib.closing(DaskRunner(client, grace=call.grace)) as runner:
        if link := dashboard_link(client):
            display.say(f"dashboard: {link}")
        yield runner


def _conclude(run: BatchRun, display: Display) -> int:
    """Say how it ended; return the exit code."""
    code = _exit_code(run)
    display.conclude(run, code)
    return code


def _exit_code(run: BatchRun) -> int:
    from gluon_nst.batch.drive import Ending

    codes = {
        Ending.STOPPED: EXIT_STOPPED, Ending.LOST: EXIT_STOPPED, Ending.FAILURES: EXIT_FAILURES,
        Ending.STRANDED: EXIT_STRANDED,
    }  # fmt: skip
    if run.ending in codes:
        return codes[run.ending]
    return EXIT_SOME_FAILED if run.failures else 0
