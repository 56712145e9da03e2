"""What this machine offers to workers."""

from __future__ import annotations

import dataclasses
import os
import socket

from gluon_nst.errors import BackendError
from gluon_nst.gpu_driver import Gpu, driver_from
from gluon_nst.launch.slots import VISIBLE, Slot, cpu_slots, gpu_slots
from gluon_nst.launch.topology import cores_near, cores_together
from gluon_nst.machine import cpu_quota
from gluon_nst.mxnet_builds import installed_builds
from gluon_nst.probe import call_apart

__all__ = ["find_slots", "slots_of_batch"]

# Workers of a batch on a machine without GPUs. Each takes about 1 GB beside its pictures; on a CPU more of them make
# nothing faster.
_WORKERS = 2


def slots_of_batch(workers: int | None, device: str, jobs: int) -> tuple[Slot, ...]:
    """Return slots for the workers that a batch starts for itself.

    Parameters
    ----------
    workers
        How many, at most; None: one for every GPU, or two where there is none.
    device
        As `gluon_nst.backend.choose_device` takes it. GPUs count for "auto" only, and only where MXNet is a build that
        can use them. With one of them named, all workers use that.
    jobs
        How much there is to do, 1 or more: there is no slot that would stay idle.

    Raises
    ------
    BackendError
        If there is a driver that fails.
    """
    alone = device == "auto" and set(installed_builds()) != {"mxnet"}
    slots = find_slots(min(workers or _WORKERS, jobs), "auto" if alone else "cpu")[
        : min(workers or jobs, jobs)
    ]
    return tuple(map(_seeing_all, slots)) if device.startswith("gpu") else slots


def _seeing_all(slot: Slot) -> Slot:
    environment = {name: value for name, value in slot.environment.items() if name != VISIBLE}
    return dataclasses.replace(slot, environment=environment)


def find_slots(workers: int, device: str = "auto", name: str = "") -> tuple[Slot, ...]:
    """Return a slot for every GPU that can be seen, else for as many workers on the CPU.

    Parameters
    ----------
    workers
        How many, where there is no GPU.
    device
        "auto", or "cpu" to leave GPUs alone.
    name
        Name of the only worker, or first part of the names of several; that of the machine if empty.

    Raises
    ------
    BackendError
        If there is a driver that fails: nobody wants a CPU's pace of a machine that has GPUs.
    """
    slots = _slots(workers, device, name or _machine())
    return (dataclasses.replace(slots[0], name=name),) if name and len(slots) == 1 else slots


def _slots(workers: int, device: str, host: str) -> tuple[Slot, ...]:
    cores, quota = cores_together(os.sched_getaffinity(0)), cpu_quota()
    if gpus := _gpus() if device == "auto" else ():
        near = [cores_near(gpu.bus) for gpu in gpus]
        return gpu_slots(host, near, cores, quota, os.environ.get(VISIBLE))
    return cpu_slots(host, workers, cores, quota)


def _machine() -> str:
    """Return what people call this machine: Slurm's name of it, which is not always that of the host."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname().partition(".")[0]


def _gpus() -> tuple[Gpu, ...]:
    reply = call_apart("gluon_nst.gpu_driver:describe_driver")
    driver = driver_from(reply.answer) if reply.answer else None
    if trouble := reply.failure or (driver.error if driver else ""):
        raise BackendError(
            f"the NVIDIA driver of this machine fails: {trouble}. `gluon-nst doctor` says more; --device cpu does "
            "without it."
        )
    return driver.gpus if driver else ()
