"""What the operating system tells of this machine: cores, their instruction sets, and memory.

Standard library only, and nothing is loaded or changed. Where a fact cannot be had, as on systems without
/proc, the answer says so (None, or an empty one) instead of failing.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "available_memory",
    "cpu_cores",
    "cpu_flags",
    "cpu_model",
    "cpu_quota",
    "cpu_vendor",
    "instruction_sets",
    "resident_memory",
    "usable_cores",
]

_ROOT = Path("/")

# Flags of /proc/cpuinfo that decide how fast oneDNN's convolutions are -> what people call them.
_INSTRUCTION_SETS = {
    "avx2": "avx2", "avx512f": "avx512", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16",
}  # fmt: skip


def cpu_cores() -> int:
    """Return the number of cores that this process may run on (its affinity)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' worth of time the control groups allow, or None if they set no limit.

    Parameters
    ----------
    root
        The directory that holds ``proc`` and ``sys``.
    """
    quotas = [
        *(_v2_quota(folder) for folder in _group_folders(root, "")),
        *(_v1_quota(folder) for folder in _group_folders(root, "cpu")),
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def usable_cores(cores: int, quota: float | None) -> int:
    """Return how many threads can run at once: at least 1, at most `cores`, the quota rounded up."""
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_model(root: Path = _ROOT) -> str:
    """Return the processor's name, or the architecture where there is none."""
    return _cpuinfo(root, "model name") or platform.machine() or "unknown processor"


def cpu_vendor(root: Path = _ROOT) -> str:
    """Return the word by which x86 processors name their maker ("AuthenticAMD"), empty for others."""
    return _cpuinfo(root, "vendor_id")


def cpu_flags(root: Path = _ROOT) -> frozenset[str]:
    """Return what the processor can do, in Linux's words; empty where that is not known."""
    return frozenset(_cpuinfo(root, "flags").split())


def instruction_sets(root: Path = _ROOT) -> tuple[str, ...]:
    """Return which of avx2, avx512, avx512_bf16 and amx_bf16 the processor offers, in that order."""
    flags = cpu_flags(root)
    return tuple(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags)


def available_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes that can still be used, the control groups' limits included; None if not known.

    What a group holds as inactive file cache counts as free: the kernel gives it up before it kills.
    """
    candidates = [
        _free_memory(root),
        *(_v2_memory(folder) for folder in _group_folders(root, "")),
        *(_v1_memory(folder) for folder in _group_folders(root, "memory")),
    ]
    return min((free for free in candidates if free is not None), default=None)


def resident_memory(root: Path = _ROOT) -> int:
    """Return the bytes that this process holds in memory; 0 if that cannot be told."""
    pages = _read(root / "proc" / "self" / "statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0


def _cpuinfo(root: Path, key: str) -> str:
    """Return the first value of a key of /proc/cpuinfo; empty if there is none."""
    for line in _read(root / "proc" / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _free_memory(root: Path) -> int | None:
    kibibytes = _entry(root / "proc" / "meminfo", "MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those above it, whose limits hold as well.

    The controller "" means version 2, where one hierarchy serves all. Inside a container the group's path
    may be the host's, which cannot be seen from there; the top of the mount is then the container's own.
    """
    mount = root / "sys" / "fs" / "cgroup" / controller
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            folder = mount / path.strip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(mount))


def _v2_quota(folder: Path) -> float | None:
    """Read ``cpu.max``: microseconds of running time (or "max") per period of so many microseconds."""
    with contextlib.suppress(ValueError):
        quota, period = (int(word) for word in _read(folder / "cpu.max").split())
        return quota / period
    return None


def _v1_quota(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _v2_memory(folder: Path) -> int | None:
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    return _left(limit, used, _entry(folder / "memory.stat", "inactive_file"))


def _v1_memory(folder: Path) -> int | None:
    limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
    return _left(limit, used, _entry(folder / "memory.stat", "total_inactive_file"))


def _left(limit: int | None, used: int | None, cache: int | None) -> int | None:
    return None if limit is None or used is None else max(0, limit - used + (cache or 0))


def _entry(path: Path, key: str) -> int | None:
    """Return the number behind a key in a file of lines ``key number``."""
    for line in _read(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == key:
            return int(words[1])
    return None


def _number(path: Path) -> int | None:
    """Return the number that a file holds; None if there is no file, or a word such as "max" in it."""
    with contextlib.suppress(ValueError):
        return int(_read(path))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
