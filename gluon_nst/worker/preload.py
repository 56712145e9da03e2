"""What a worker of `gluon-nst workers` does before it joins the scheduler: it proves that it can work, or ends.

Loaded by Dask in the worker's process. An error here would only be logged, and the worker would join.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import dask

import gluon_nst.worker.departure as departure
from gluon_nst.batch.attendant import attend
from gluon_nst.errors import GluonNSTError
from gluon_nst.jobs import Job
from gluon_nst.launch.endings import LEFT, UNABLE
from gluon_nst.launch.settings import quieten
from gluon_nst.launch.telling import say
from gluon_nst.recipe_files import load_recipe
from gluon_nst.worker.readiness import Readiness, prove_ready

__all__ = ["dask_setup", "dask_teardown"]

# As in `dask_runner`: loading MXNet and the network from a cold network disk takes a minute or two.
_PROOF_SECONDS = 300.0


async def dask_setup(worker: Any) -> None:
    """Bind a Dask worker to its cores, prove it ready, and let it leave in order when it is told to.

    Parameters
    ----------
    worker
        The worker; which slot is its own, the setting ``gluon-nst`` says.
    """
    quieten()
    mine = dask.config.get("gluon-nst")
    _keep_to(mine["cores"])
    _leave_at_once()
    ready = await _prove(mine["name"], mine["device"])
    say(f"{mine['name']} is ready: {ready.device}, {ready.precision}, process {ready.pid}")
    attend(mine["grace"], worker)
    worker.gluon_nst_attended = True  # the grace of a batch, which others may run after it, does not count


def dask_teardown(worker: Any) -> None:
    """Break off what still runs when the worker closes: nobody waits for it any more, but a checkpoint is kept."""
    departure.leave(0.0)


async def _prove(name: str, device: str) -> Readiness:
    try:
        job = Job("", (), "", load_recipe(), device=device)
        return await asyncio.wait_for(asyncio.to_thread(prove_ready, job), _PROOF_SECONDS)
    except asyncio.TimeoutError:
        _end(f"{name} cannot work: no answer from {device} within {_PROOF_SECONDS:g} seconds.")
    except GluonNSTError as error:
        _end(f"{name} cannot work: {type(error).__name__}: {error}")
    except Exception as error:
        _end(f"{name} cannot work: {type(error).__name__}: {error}. `gluon-nst doctor` may say more.")


def _end(why: str) -> NoReturn:
    say(why)
    os._exit(UNABLE)  # at once: a thread may hang in the device


def _keep_to(cores: Collection[int]) -> None:
    """Bind all threads that there are to some cores; those to come are bound as what starts them."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended; cores that were taken away meanwhile
            os.sched_setaffinity(int(thread.name), cores)


def _leave_at_once() -> None:
    """End on a signal as long as there is nothing to finish."""
    loop = asyncio.get_running_loop()
    told = (signal.SIGTERM, signal.SIGUSR2)
    for each in told:
        loop.add_signal_handler(each, os._exit, LEFT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
