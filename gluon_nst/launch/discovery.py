"""What this machine offers to workers."""

from __future__ import annotations

import os
import socket

from gluon_nst.errors import BackendError
from gluon_nst.gpu_driver import Gpu, driver_from
from gluon_nst.launch.slots import Slot, cpu_slots, gpu_slots
from gluon_nst.launch.topology import cores_near, cores_together
from gluon_nst.machine import cpu_quota
from gluon_nst.probe import call_apart

__all__ = ["find_slots"]


def find_slots(workers: int, device: str = "auto") -> tuple[Slot, ...]:
    """Return a slot for every GPU that can be seen, else for as many workers on the CPU.

    Parameters
    ----------
    workers
        How many, where there is no GPU.
    device
        "auto", or "cpu" to leave GPUs alone.

    Raises
    ------
    BackendError
        If there is a driver that fails: nobody wants a CPU's pace of a machine that has GPUs.
    """
    host = socket.gethostname().partition(".")[0]
    cores, quota = cores_together(os.sched_getaffinity(0)), cpu_quota()
    if gpus := _gpus() if device == "auto" else ():
        near = [cores_near(gpu.bus) for gpu in gpus]
        return gpu_slots(host, near, cores, quota, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return cpu_slots(host, workers, cores, quota)


def _gpus() -> tuple[Gpu, ...]:
    reply = call_apart("gluon_nst.gpu_driver:describe_driver")
    driver = driver_from(reply.answer) if reply.answer else None
    if trouble := reply.failure or (driver.error if driver else ""):
        raise BackendError(
            f"the NVIDIA driver of this machine fails: {trouble}. `gluon-nst doctor` says more; --device cpu does "
            "without it."
        )
    return driver.gpus if driver else ()
