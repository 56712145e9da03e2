"""What every job of a run has in common, and a worker must know."""

from __future__ import annotations

import dataclasses

__all__ = ["EXISTING", "WorkSettings"]

EXISTING = ("skip", "overwrite", "error")
"""What may be done about outputs that exist; see `WorkSettings`."""


@dataclasses.dataclass(frozen=True)
class WorkSettings:
    """How to run jobs.

    Attributes
    ----------
    run
        Name of the run, by which its work can be recalled.
    existing
        An output that exists and is this job's own is always kept. Another picture that gluon_nst made there
        is made anew. A file that it did not make fails the job, unless this is "overwrite". ("error" refuses
        before the start whatever exists.)
    state
        Folder or URL for checkpoints and rejected pictures; empty keeps none.
    checkpoint_seconds
        Time between two checkpoints of a job. One of 1024x768 pixels is 38 MB, written in well under a second:
        a minute keeps that below 1 % and loses a minute at most.
    together
        Jobs of one shape and style that go through the network in one pass, at most; halves of them where the
        memory is foreseen not to last. 1 on a CPU, which is busy with one.
    max_memory
        What a worker may take, see `gluon_nst.memory_limit`; larger pictures are worked on in tiles.
    keep_gps
        Keep the place of capture in the pictures.
    """

    run: str = ""
    existing: str = "skip"
    state: str = ""
    checkpoint_seconds: float = 60.0
    together: int = 1
    keep_gps: bool = False
    max_memory: str = ""
