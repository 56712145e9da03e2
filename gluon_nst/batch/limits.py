"""The numbers that dispatching goes by."""

from __future__ import annotations

import dataclasses

__all__ = ["Limits"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much, how long, how often.

    Attributes
    ----------
    in_flight
        Chunks at one worker: the second is read while the first computes. Measured with jobs of 50 ms: two give
        97 % of the ideal, one 87 %.
    chunk_seconds, chunk_jobs
        How long a chunk should last, and how many jobs it holds at most. At a second the cost of a round trip,
        some milliseconds, is below 1 %; a lost chunk of 64 is run again one by one within a second or two.
    prefetch_seconds
        A job that lasts longer than this is not sent ahead of its time: reading it early would save nothing.
    kills, overruns
        Workers that a job must kill, or times that it must overrun, alone, before it is given up.
    passes, pause
        Tries of a job while storage fails, and the seconds before the second one, doubled for each further.
        What fails at the last of them is in doubt: it may be that worker's way to the storage.
    strikes, refuted
        Failures in doubt in a row that bring a check; jobs that others did instead that retire a worker.
    timeout
        Seconds that one job may take; None leaves it to the next two, infinity sets no limit.
    patience, least_timeout
        How many times longer than foreseen a job may take, and never less than so many seconds, which is
        also what a check may take. Between a
        photograph alone and the same beside a busy neighbor a factor of 2 to 3 was seen.
    """

    in_flight: int = 2
    chunk_seconds: float = 1.0
    chunk_jobs: int = 64
    prefetch_seconds: float = 30.0
    kills: int = 2
    overruns: int = 2
    passes: int = 3
    pause: float = 1.0
    strikes: int = 3
    refuted: int = 3
    timeout: float | None = None
    patience: float = 20.0
    least_timeout: float = 600.0

    def seconds_allowed(self, jobs: int, cost: float, pace: float | None) -> float:
        """Return the seconds within which something must come back from a worker that holds so much.

        Parameters
        ----------
        jobs, cost
            Number of its jobs and their work together.
        pace
            Its seconds per unit of work; None if nobody knows.
        """
        foreseen = None if pace is None else self.patience * cost * pace
        if self.timeout is None:
            return float("inf") if foreseen is None else max(self.least_timeout, foreseen)
        if jobs == 1:
            return self.timeout
        return self.timeout * jobs if foreseen is None else self.timeout + min(foreseen, self.timeout * jobs)
