"""The workers of one machine: a nanny for each slot, all in one process, which ends when they do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import dask

from gluon_nst.launch.joining import closed, find_scheduler, host_towards
from gluon_nst.launch.nanny import Ending, SlotNanny
from gluon_nst.launch.security import security_of
from gluon_nst.launch.settings import SETTINGS, quieten
from gluon_nst.launch.signals import StopAsked, signals_kept_off
from gluon_nst.launch.slots import Slot
from gluon_nst.launch.telling import say
from gluon_nst.launch.terms import Terms

__all__ = ["run_workers"]

EXIT_STRANDED = 5

_THREADS = 2  # one computes, one reads and writes
# A worker that dies three times in a row while it proves itself will the fourth time too.
_TRIES = 3
_PAUSE = 1.0  # seconds between two tries
# Beyond the grace: a step may take seconds, results are fetched for 10 (`attendant`), processes end.
_CLOSING = 15.0
_LEAVING = 10.0  # seconds to end where no scheduler is left
_LOOK_AGAIN = 0.2  # seconds between two looks for processes that were not yet told to leave


def run_workers(slots: Sequence[Slot], terms: Terms) -> int:
    """Run a worker in each slot until all have left, the scheduler goes, or a signal says so.

    SIGTERM, SIGINT and SIGUSR2 let all workers finish what they run, or keep a checkpoint of it after the grace; a
    Ctrl-C after that ends the process at once, and the workers with it.

    Parameters
    ----------
    slots
        Room for workers.
    terms
        What they have in common.

    Returns
    -------
    int
        Exit code: 0 in order, 5 if no worker could work.

    Raises
    ------
    ClusterError
        If no scheduler answers in time.
    UsageError
        If the TLS files are of no use, or do not go with the address.
    """
    # Numerical libraries look at these when they are loaded, which is before a nanny sets them.
    os.environ.update({key: value for key, value in slots[0].environment.items() if key.endswith("_THREADS")})
    quieten()
    with signals_kept_off(), dask.config.set({**SETTINGS, **_limits(terms)}):
        return asyncio.run(_Launcher(slots, terms).run())


def _limits(terms: Terms) -> dict[str, Any]:
    """Return the settings that make a nanny heed a memory limit; 0.95 of it is Dask's own default."""
    return {"distributed.worker.memory.terminate": 0.95} if terms.memory_limit else {}


class _Launcher:
    """Keeps the workers."""

    def __init__(self, slots: Sequence[Slot], terms: Terms) -> None:
        self._slots, self._terms = slots, terms
        self._security = security_of(terms.tls)
        self._nannies: dict[str, SlotNanny] = {}
        self._ending = False
        self._address = self._host = ""

    async def run(self) -> int:
        """Run until the end; return the exit code."""
        stop = StopAsked()
        finding = asyncio.ensure_future(find_scheduler(self._terms))
        await _first_of(finding, stop.asked)
        if stop.asked.done():
            return 0
        comm = await finding
        self._address = comm.peer_address
        self._host = host_towards(self._address, self._terms)
        keepers = asyncio.gather(*(self._keep(slot) for slot in self._slots))
        gone = asyncio.ensure_future(closed(comm))
        await _first_of(keepers, gone, stop.asked)
        if not keepers.done():
            if gone.done():
                say(f"the scheduler at {self._address} is gone")
            await self._end(keepers, _LEAVING if gone.done() else self._terms.grace + _CLOSING)
            return 0
        return 0 if Ending.LEFT in await keepers else EXIT_STRANDED

    async def _keep(self, slot: Slot) -> Ending:
        """Keep a worker in a slot; return why there is none any more."""
        name, failures = slot.name, 0
        ending = Ending.LEFT
        while not self._ending:
            nanny = self._nannies[slot.name] = self._nanny(slot, name)
            ending = await nanny.serve()
            if self._ending or ending in (Ending.LEFT, Ending.UNABLE):
                return ending
            failures = 1 if nanny.joined else failures + 1
            say(f"{name}: {ending.value} ({failures} of {_TRIES} times; exit code {nanny.exit_code})")
            if failures == _TRIES:
                say(f"{name} is given up. `gluon-nst doctor` on this machine may say more.")
                return ending
            if ending is Ending.REFUSED:
                name = f"{slot.name}-{os.getpid()}"  # for another launcher on this host may have that name
            await asyncio.sleep(_PAUSE)
        return ending

    def _nanny(self, slot: Slot, name: str) -> SlotNanny:
        scratch = self._terms.scratch and str(self._terms.scratch.resolve())
        return SlotNanny(
            self._address,
            name=name,
            nthreads=_THREADS,
            host=self._host,
            env={**slot.environment, **({"TMPDIR": scratch} if scratch else {})},
            resources={"GPU": 1} if slot.device != "cpu" else None,
            local_directory=scratch,
            memory_limit=self._terms.memory_limit,
            security=self._security,
            preload=[*_configured_preloads(), "gluon_nst.worker.preload"],
            config={
                "gluon-nst": {
                    "name": name,
                    "device": slot.device,
                    "cores": list(slot.cores),
                    "grace": self._terms.grace,
                }
            },
            silence_logs=logging.CRITICAL,
            dashboard_address="127.0.0.1:0",  # served with or without a dashboard
        )

    async def _end(self, keepers: asyncio.Future[Any], patience: float) -> None:
        """Tell all workers to leave, those that are yet being started too, and end what is left after that."""
        self._ending = True
        until, told = time.monotonic() + patience, set[int]()
        while not keepers.done() and time.monotonic() < until:
            for pid in self._processes() - told:
                _send(pid, signal.SIGTERM)
                told.add(pid)
            await asyncio.wait([keepers], timeout=_LOOK_AGAIN)
        if not keepers.done():
            await self._kill(keepers)

    async def _kill(self, keepers: asyncio.Future[Any]) -> None:
        for nanny in self._nannies.values():
            nanny.close_gracefully()
        for pid in self._processes():
            _send(pid, signal.SIGKILL)
        await asyncio.wait([keepers], timeout=_LEAVING)

    def _processes(self) -> set[int]:
        return {nanny.pid for nanny in self._nannies.values() if nanny.pid}


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _configured_preloads() -> list[str]:
    configured = dask.config.get("distributed.worker.preload")
    return [configured] if isinstance(configured, str) else list(configured)
