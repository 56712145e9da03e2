"""What the workers of one machine have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gluon_nst.launch.tls import Tls

__all__ = ["Terms"]


@dataclasses.dataclass(frozen=True)
class Terms:
    """What the workers of one machine have in common.

    Attributes
    ----------
    scheduler
        Its address, or the path of its scheduler file, which ends in ".json".
    host, interface
        Where to listen; None: where the scheduler is reached from.
    scratch
        Folder for Dask's files and for temporary ones; None: the system's.
    memory_limit
        Bytes that each worker may hold; one that holds more is ended and started anew. 0 is none.
    grace
        Seconds that workers told to leave have for the jobs in hand.
    wait
        Seconds to wait for the scheduler, or its file.
    tls
        With what to speak TLS; None does not.
    """

    scheduler: str
    host: str | None = None
    interface: str | None = None
    scratch: Path | None = None
    memory_limit: int = 0
    grace: float = 20.0
    wait: float = 300.0
    tls: Tls | None = None
