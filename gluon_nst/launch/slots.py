"""The workers that a machine has room for: which device, which cores, which environment each gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from gluon_nst.machine import usable_cores
from gluon_nst.memory_limit import SHARE_VARIABLE

__all__ = ["VISIBLE", "Slot", "cpu_slots", "gpu_slots"]

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that CUDA shows to a process."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Room for one worker.

    Attributes
    ----------
    name
        For people, and for the scheduler, where no two workers may have the same.
    device
        "gpu:0", as each worker sees only its own GPU, or "cpu".
    cores
        Those that it may run on.
    environment
        Variables that must be set in its process.
    """

    name: str
    device: str
    cores: tuple[int, ...]
    environment: Mapping[str, str]


def gpu_slots(
    host: str,
    near: Sequence[frozenset[int]],
    cores: Sequence[int],
    quota: float | None = None,
    visible: str | None = None,
) -> tuple[Slot, ...]:
    """Return a slot for every GPU; those that are near the same cores share them.

    Parameters
    ----------
    host
        First part of the names.
    near
        For each GPU, in CUDA's order, the cores near it; none where that is not known.
    cores
        Those that may be used, in an order in which neighbors are near each other.
    quota
        How many cores' worth of time may be used, if less.
    visible
        What CUDA_VISIBLE_DEVICES says; its entries are kept as they are. None if it says nothing.
    """
    entries = _entries(visible, len(near))
    numbers = (
        entries if all(entry.isdecimal() for entry in entries) else [str(each) for each in range(len(near))]
    )
    usable = [[core for core in cores if core in each] or list(cores) for each in near]
    limit = usable_cores(len(cores), quota) // max(1, len(near))
    return tuple(
        _slot(f"{host}-gpu{number}", "gpu:0", _part_of(usable, place), limit, entry)
        for place, (number, entry) in enumerate(zip(numbers, entries, strict=True))
    )


def cpu_slots(host: str, workers: int, cores: Sequence[int], quota: float | None = None) -> tuple[Slot, ...]:
    """Return slots for workers that share the cores and the memory, and see no GPU.

    Parameters
    ----------
    host, cores, quota
        As in `gpu_slots`.
    workers
        How many. With more of them than cores, all use all cores.
    """
    limit = usable_cores(len(cores), quota) // workers
    slots = [
        _slot(f"{host}-cpu{place}", "cpu", _part(cores, place, workers), limit, "")
        for place in range(workers)
    ]
    share = {SHARE_VARIABLE: f"{1 / workers:.4f}"}
    return tuple(dataclasses.replace(slot, environment={**slot.environment, **share}) for slot in slots)


def _entries(visible: str | None, count: int) -> list[str]:
    """Return what each GPU is called in CUDA_VISIBLE_DEVICES; CUDA heeds no entry behind the first it cannot use."""
    if visible is None:
        return [str(index) for index in range(count)]
    return [entry.strip() for entry in visible.split(",")][:count]


def _part_of(usable: Sequence[list[int]], place: int) -> tuple[int, ...]:
    """Return the part of a GPU's cores that it gets beside the others that use the same."""
    peers = [other for other, cores in enumerate(usable) if cores == usable[place]]
    return _part(usable[place], peers.index(place), len(peers))


def _part(cores: Sequence[int], place: int, count: int) -> tuple[int, ...]:
    """Return one of `count` parts that differ by a core at most; all cores where there are too few."""
    if count > len(cores):
        return tuple(cores)
    return tuple(cores[place * len(cores) // count : (place + 1) * len(cores) // count])


def _slot(name: str, device: str, cores: tuple[int, ...], limit: int, visible: str) -> Slot:
    threads = str(max(1, min(len(cores), limit)))
    # Dask would give every worker one thread for numerical libraries. MXNet's own are OpenMP's and OpenBLAS's.
    return Slot(
        name, device, cores, {VISIBLE: visible, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    )
