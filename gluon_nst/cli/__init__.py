"""The command line: thin. Each command parses, makes a recipe, and calls the library once.

Neither MXNet nor Dask is loaded before a command needs it, so ``--help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback

import click

from gluon_nst._version import __version__
from gluon_nst.cli.batch import batch
from gluon_nst.cli.bench import bench
from gluon_nst.cli.certificates import certificates
from gluon_nst.cli.doctor import doctor
from gluon_nst.cli.features import features
from gluon_nst.cli.provenance import provenance
from gluon_nst.cli.recipes import recipes
from gluon_nst.cli.report import report
from gluon_nst.cli.scheduler import scheduler
from gluon_nst.cli.stopping import end_process
from gluon_nst.cli.stylize import stylize
from gluon_nst.cli.weights import weights
from gluon_nst.cli.workers import workers
from gluon_nst.errors import GluonNSTError, UsageError

__all__ = ["cli", "main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gluon-nst")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Paint photographs in the style of a painting, one or a whole collection.

    \b
    gluon-nst stylize photo.jpg painting.jpg -o out.png
    gluon-nst batch photos/ --style painting.jpg -o stylized/
    """


for command in (
    stylize, batch, report, recipes, features, weights, provenance, doctor, bench, certificates, scheduler, workers,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command line; the one place where errors become exit codes."""
    end_process(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        result = cli.main(arguments, prog_name="gluon-nst", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped.", err=True)
        return EXIT_INTERRUPTED
    except GluonNSTError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(f"{type(error).__name__}: {error}", err=True)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
