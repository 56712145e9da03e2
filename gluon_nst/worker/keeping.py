"""Checkpoints of a job in hand: kept now and then, and when the job is broken off."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import gluon_nst.worker.departure as departure
from gluon_nst import storage
from gluon_nst.batch.settings import WorkSettings
from gluon_nst.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from gluon_nst.errors import GluonNSTError, Interrupted

__all__ = ["Keeper"]


class Keeper:
    """Keeps the checkpoint of one job, and breaks the job off when its worker must stop.

    A checkpoint that cannot be written costs time later, not the job now: such errors are passed over.
    """

    def __init__(self, key: str, settings: WorkSettings) -> None:
        self._key, self._settings = key, settings
        self._place = storage.join(settings.state, "checkpoints", f"{key}.npz") if settings.state else ""
        self._kept_at, self._kept = time.monotonic(), False

    def found(self) -> Checkpoint | None:
        """Return what an interrupted run of this job left, if there is any and it is sound."""
        if not self._place:
            return None
        with contextlib.suppress(OSError):
            data = storage.read_bytes(self._place)
            self._kept = True
            return decode_checkpoint(data, self._key)
        return None

    def tick(self, fraction: float, take: Callable[[], Checkpoint]) -> None:
        """Look, between two steps, whether it is time to keep a checkpoint or to break off.

        Raises
        ------
        Interrupted
            If the work must stop now.
        """
        stop = departure.must_stop(self._settings.run)
        due = time.monotonic() - self._kept_at >= self._settings.checkpoint_seconds
        if self._place and (stop or due):
            self._keep(take())
        if stop:
            raise Interrupted(f"job {self._key} was broken off at {fraction:.0%}; it goes on from there.")

    def drop(self) -> None:
        """Remove the checkpoint, if one was found or kept: of a job that is done, or that cannot go on from it."""
        if self._kept:
            self._kept = False
            with contextlib.suppress(OSError):
                storage.remove(self._place)

    def _keep(self, checkpoint: Checkpoint) -> None:
        self._kept_at, self._kept = time.monotonic(), True
        with contextlib.suppress(OSError, GluonNSTError):
            storage.write_bytes(self._place, encode_checkpoint(checkpoint, self._key))
