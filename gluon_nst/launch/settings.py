"""Dask's settings in a cluster of gluon_nst, and its silence."""

from __future__ import annotations

import logging

__all__ = ["SETTINGS", "SHORT_LOGS", "quieten"]

# Every connection keeps its last 1000 messages for debugging: a chunk of 64 jobs is 30 KB, so 30 MB a worker.
SHORT_LOGS = {"distributed.admin.low-level-log-length": 20}

# Dispatching is ours: a job that kills its worker must not be tried on every other one, nor take its neighbors
# with it. Dask's memory manager would pause a worker for what MXNet holds.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.diagnostics.nvml": False,
    **SHORT_LOGS,
}


def quieten() -> None:
    """Let distributed be silent: what is lost is said once, and what to do about it; it would add pages of traces."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
