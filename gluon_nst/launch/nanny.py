"""Dask's nanny, which tells how the worker process that it keeps came to its end."""

from __future__ import annotations

import enum
from typing import Any

from distributed import Nanny, Status

from gluon_nst.launch.endings import LEFT, UNABLE

__all__ = ["Ending", "SlotNanny"]


class Ending(enum.Enum):
    """Why a nanny has no worker any more."""

    LEFT = "it was told to"
    UNABLE = "it cannot work, and said why"
    REFUSED = "the scheduler did not take it"
    CRASHED = "its process died before it joined"
    OUTGROWN = "it held more memory than --memory-limit"


class SlotNanny(Nanny):  # type: ignore[misc]
    """A nanny that starts a worker anew once it has joined the scheduler, and ends with one that has not.

    Attributes
    ----------
    joined
        Whether any of its workers has joined the scheduler.
    exit_code
        What the last process ended with, the negative number of a signal included; None before.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.joined = self._sent_off = self._refused = self._outgrown = False
        self._joining = True
        self.exit_code: int | None = None

    async def serve(self) -> Ending:
        """Keep a worker until none is to be kept any more; return why."""
        try:
            await self
            await self.finished()
        except Exception:  # whatever it was, the worker did not join
            await self.close()
        if self._outgrown:
            return Ending.OUTGROWN
        if self._sent_off or not self._joining or self.exit_code == LEFT:
            return Ending.LEFT
        if self.exit_code == UNABLE:
            return Ending.UNABLE
        return Ending.REFUSED if self._refused else Ending.CRASHED

    async def instantiate(self) -> Status:
        """Start a worker process, and wait until its worker has joined."""
        self._joining, self._outgrown = True, False
        try:
            status = await super().instantiate()
        except Exception:  # told by the worker, before its process ends; one that dies tells nothing
            self._refused = True
            raise
        if status == Status.running:
            self.joined, self._joining = True, False
        return status

    def close_gracefully(self, reason: str = "nanny-close-gracefully") -> None:
        """Expect the worker to end; it says so itself when it leaves in order."""
        self._sent_off = True
        super().close_gracefully(reason)

    def log_event(self, topic: str | list[str], msg: Any) -> None:
        """Note that Dask ends a worker for its memory: by SIGTERM, on which it leaves as if it was told to."""
        self._outgrown = self._outgrown or topic == "worker-restart-memory"
        super().log_event(topic, msg)

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        """Take note of an end; Dask would start one that dies while it joins anew for ever."""
        self.exit_code = exitcode
        if self._joining and self.status == Status.running:
            self._ongoing_background_tasks.call_soon(self.close, reason="gluon-nst: it did not join")
        else:
            super()._on_worker_exit_sync(exitcode)
